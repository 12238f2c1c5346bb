"""Find CIFAR-10 in any supported format, or download it."""

import contextlib
import logging
import os
from pathlib import Path

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.download import download
from imgrec_jax.data.formats import cifar, cifar_python
from imgrec_jax.data.formats.cifar10_tfds import VERSION, write_cifar10
from imgrec_jax.data.formats.tfds import find_prepared, open_tfds, tfds_home
from imgrec_jax.data.sources.source import Splits

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

_logger = logging.getLogger(__name__)


def find_cifar10(data_dir: str = "") -> Splits:
    """Return CIFAR-10 as `train` and `test`, from the first of these that exists.

    1. a TFDS set `cifar10` prepared as ArrayRecord in `data_dir`;
    2. the official binary archive, or its unpacked folder, in `data_dir` or `./data`;
    3. torchvision's `cifar-10-batches-py` in `data_dir` or `./data`;
    4. the official binary archive from the network (or from IMGREC_JAX_CIFAR10_URL), which is
       written as a TFDS set as in 1.

    Labels and names are the same for every source; the order of the examples is not.

    Args:
        data_dir: the folder to search and to download to; empty = `tfds_home()`.

    Raises:
        UserError: the files are damaged, or nothing was found and the download failed.
    """
    home = tfds_home(data_dir)
    for folder, formats in find_prepared("cifar10", home):
        if "array_record" not in formats:
            _logger.warning("%s: skipped, its format needs TensorFlow: %s", folder, formats[0])
    return _find(home) or _fetch_alone(home)


def _find(home: Path) -> Splits | None:
    if any("array_record" in formats for _, formats in find_prepared("cifar10", home)):
        return _open_prepared(home)
    places = (home, Path("data"))
    for place in places:
        if archive := cifar.find_cifar10_binary(place):
            return cifar.open_cifar10(str(archive))
    for place in places:
        if (place / cifar_python.FOLDER).is_dir():
            return cifar_python.open_cifar10_python(place / cifar_python.FOLDER)
    return None


def _open_prepared(home: Path) -> Splits:
    splits = open_tfds("cifar10", str(home))
    for source in splits.values():
        if source.label_names != cifar.CIFAR10_NAMES:
            raise UserError(
                f"expected {home / 'cifar10'} to have the labels {' '.join(cifar.CIFAR10_NAMES)}, "
                f"got {' '.join(source.label_names)}; try --config.data.source=tfds:cifar10 to "
                "take the set as it is"
            )
    return splits


def _fetch_alone(home: Path) -> Splits:
    """Fetch the set; if several processes start together, one fetches it and the others wait."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / ".cifar10.lock").open("w")
    except OSError as error:
        raise _not_to_be_had(home, f"{home} cannot be written ({error.strerror})") from error
    with lock:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network disks do not support locks
                fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        return _find(home) or _fetch(home)


def _fetch(home: Path) -> Splits:
    url = os.environ.get("IMGREC_JAX_CIFAR10_URL") or URL
    try:
        archive = download(url, home / cifar.CIFAR10_ARCHIVE, sha256=SHA256)
    except UserError as error:
        raise _not_to_be_had(home, str(error)) from error
    if (home / "cifar10" / VERSION).exists():  # in another format: keep it and the archive
        return cifar.open_cifar10(str(archive))
    write_cifar10(cifar.read_cifar10(archive), home)
    archive.unlink()
    return _open_prepared(home)  # not the archive: the second start gets the same order


def _not_to_be_had(home: Path, reason: str) -> UserError:
    archives = f"{cifar.CIFAR10_ARCHIVE}, {cifar.CIFAR10_FOLDER} or {cifar_python.FOLDER}"
    return UserError(
        f"""\
CIFAR-10 is not on this machine and could not be downloaded.
What failed: {reason}
Looked for:
  {home / "cifar10"}: a set prepared by TFDS as ArrayRecord
  {home}: {archives}
  {Path("data").absolute()}: {archives}
Other ways in:
  --config.data.dir=DIR              another folder with one of these
  --config.data.source=cifar10:PATH  the official binary archive, packed or unpacked
  --config.data.source=folder:PATH   images in one sub-folder for each class
  --config.data.source=npz:PATH      arrays in one file"""
    )
