"""Write CIFAR-10 as the data set that TFDS itself, with TensorFlow, would have prepared."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.cifar import CIFAR10_NAMES
from imgrec_jax.data.sources.source import Source

VERSION = "3.0.2"


def write_cifar10(splits: Mapping[str, Source], home: Path) -> Path:
    """Write the splits as `home/cifar10/3.0.2` in the format ArrayRecord and return that folder.

    Stock `tfds.data_source("cifar10", data_dir=home)` reads it: the same name, version and
    features (`id`, `image` as PNG, `label`), and the examples in TFDS's own shuffled order. The
    set appears complete or not at all, because it is written to a temporary folder first. Only
    one process may write at a time.

    Raises:
        UserError: the folder cannot be written, or exists already.
    """
    target = home / "cifar10" / VERSION
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left_over in target.parent.glob(".unfinished_*"):  # left by a killed process
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=target.parent) as unfinished:
            _prepare(splits, Path(unfinished))
            os.rename(Path(unfinished) / "cifar10" / VERSION, target)
    except OSError as error:
        raise UserError(
            f"expected to write {target}, got {error}; try --config.data.dir=DIR with room for "
            "200 MiB"
        ) from error
    return target


def _prepare(splits: Mapping[str, Source], home: Path) -> None:
    """Let TFDS write the set; without TensorFlow it accepts images only as encoded bytes."""
    import tensorflow_datasets as tfds

    class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """CIFAR-10."""

        VERSION = tfds.core.Version(VERSION)

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="CIFAR-10: 60,000 colour images of 32x32 pixels in 10 classes.",
                homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
                supervised_keys=("image", "label"),
                features=tfds.features.FeaturesDict(
                    {
                        "id": tfds.features.Text(),
                        "image": tfds.features.Image(shape=(32, 32, 3)),
                        "label": tfds.features.ClassLabel(names=CIFAR10_NAMES),
                    }
                ),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            return _examples(split, splits[split])

    # TFDS prints to standard output, which is reserved for the results of our commands.
    with contextlib.redirect_stdout(io.StringIO()):
        tfds.disable_progress_bar()
        try:
            Cifar10(data_dir=home, file_format="array_record").download_and_prepare()
        finally:
            tfds.enable_progress_bar()


def _examples(split: str, source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    import cv2
    from tqdm import tqdm

    for row in tqdm(range(len(source)), desc=f"writing {split}", disable=None):
        example = source[row]
        _, png = cv2.imencode(".png", cv2.cvtColor(example["image"], cv2.COLOR_RGB2BGR))
        yield (
            row,
            {
                "id": f"{split}_{row:05d}",
                "image": png.tobytes(),
                "label": int(example["label"]),
            },
        )
