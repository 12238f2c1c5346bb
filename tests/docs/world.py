"""A folder where the commands of the pages can run: made data under the names that the pages use.

Commands run as they are written. What makes them quick is `bin/python`, a stand-in that puts these
flags in front of those of a training command, which therefore has the last word:
"""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile

import numpy as np
from made_voc import LABELS, made_image, make_voc
from PIL import Image

from imgrec_jax.config import parse_command_line
from imgrec_jax.data.formats.cifar import CIFAR10_NAMES

SMALL = [
    "--config.epochs=1",
    "--config.model.convnet.hidden=8",
    "--config.model.fcos.width=8",
    "--config.model.unet.encoder=plain(width=4, depth=2)",
]

STAND_IN = f"""#!{sys.executable}
import os, sys
words = sys.argv[1:]
small = {SMALL!r}
if any(word.startswith("--config.parallel.") for word in words):
    small.append("--config.parallel.cpu_devices=4")  # for those that speak of four
if words[:2] == ["-m", "imgrec_jax.main"]:
    words[2:2] = small
elif words[:2] == ["-m", "imgrec_jax"] and words[2:3] in (["train"], ["sweep"]):
    words[3:3] = small
os.execv(sys.executable, [sys.executable, *words])
"""

RUNS = {
    "digits": "--config=digits",
    "cifar10": "--config=cifar10",
    "bccd_fcos": "--config=bccd_fcos --config.data.source=voc:bccd.tar",
    "known": "--config=folder --config.data.source=folder:my_images --config.model.name=resnet18 "
    "--config.model.resnet18.stem=cifar --config.model.resnet18.width=16",
}
"""What trains the runs that pages speak of without training them."""


def make_world(root, repository):
    """Make the folder: data, runs, and what of the repository commands are given from."""
    for name in ("benchmarks", "configs", "constraints.txt", "examples", "launch"):
        (root / name).symlink_to(repository / name)
    for place in ("bin", ".venv/bin"):
        for name in ("python", "python3"):
            make_executable(root / place / name, STAND_IN)
    make_images(root)
    for name, flags in RUNS.items():
        done = run_bash(root, f"python -m imgrec_jax.main {flags} --workdir=runs/{name}")
        assert done.returncode == 0, done.stdout + done.stderr


def make_executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def make_images(root):
    """Write every image and archive that some page names."""
    generator = np.random.default_rng(0)

    def noise(*shape):
        return generator.integers(0, 256, shape).astype(np.uint8)

    def save(path, pixels):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path)

    for kind, colour in (("cat", 40), ("dog", 200)):
        for plant in range(12):
            pixels = (noise(32, 32, 3) // 4 + colour // 2).astype(np.uint8)
            for folder in ("my_images", "IMAGES"):
                save(f"{folder}/{kind}/plant{plant}.png", pixels)
            save(f"flat/{kind}_{plant}.png", pixels)
    for path in ("cat.jpg", "holiday/1.jpg", "holiday/2.jpg"):
        save(path, noise(40, 48, 3))
    for number in range(2):
        save(f"slides/images/{number}.png", noise(260, 280, 3))
        save(f"slides/masks/{number}.png", noise(260, 280) % 2)
    write_cifar10(root / "data/cifar-10-binary.tar.gz", noise)
    mask = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 2
    for name in ("camvid", "cells"):
        for number in range(8):
            for split in ("train", "test"):
                save(f"{name}/{split}/{number}.png", noise(32, 32, 3))
                save(f"{name}/{split}annot/{number}.png", mask)
        pack(root / name)
    for folder in ("T91", "Set5", "Set14", "BSD100"):
        save(f"superres/{folder}/1.png", noise(78, 84, 3))
    pack(root / "superres")
    make_voc(root / "bccd")
    pack(root / "bccd")
    write_coco(root / "shop", generator)


def write_coco(folder, generator):
    """Write a set of two splits in the layout of COCO, with the labels of the other one."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        pixels, found = made_image(generator)
        Image.fromarray(pixels).save(folder / split / "a.jpg")
        height, width, _ = pixels.shape
        annotations = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
            "categories": [{"id": 1 + k, "name": name} for k, name in enumerate(LABELS)],
            "annotations": [
                {
                    "id": number,
                    "image_id": 1,
                    "category_id": 1 + LABELS.index(name),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                }
                for number, (name, (x0, y0, x1, y1)) in enumerate(found, start=1)
            ],
        }
        path = folder / f"annotations/instances_{split}.json"
        path.write_text(json.dumps(annotations), encoding="utf-8")


def write_cifar10(path, noise):
    """Write the official archive with 8 images in each of its files."""
    path.parent.mkdir(parents=True)
    files = {f"data_batch_{i}.bin": noise(8, 3073) for i in range(1, 6)}
    files["test_batch.bin"] = noise(8, 3073)
    for number, records in enumerate(files.values()):
        records[:, 0] = (8 * number + np.arange(8)) % 10  # train has every class
    contents = {name: records.tobytes() for name, records in files.items()}
    contents["batches.meta.txt"] = "\n".join(CIFAR10_NAMES).encode() + b"\n\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def pack(folder):
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, arcname=folder.name)


def copy_world(world, root, page_commands):
    """Copy the folder, without the runs that the commands of a page train themselves."""
    shutil.copytree(world, root, symlinks=True)
    for words in page_commands:
        if "imgrec_jax.main" in words or "train" in words:
            verb = words.index("imgrec_jax.main" if "imgrec_jax.main" in words else "train")
            begun = parse_command_line(words[verb + 1 :]).workdir
            shutil.rmtree(root / begun, ignore_errors=True)


def run_bash(root, text):
    """Run commands in the folder as a shell would that stops at the first one that fails."""
    here = {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=root,
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
