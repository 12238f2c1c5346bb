"""The plain PyTorch program that `configs/cifar10_reference.py` is held against.

As a user writes it: a Dataset that turns one image at a time into a tensor, a DataLoader with
two workers, a small ConvNet, Adam. `--preloaded` is the same with all images turned into
tensors beforehand and in channels-last layout: the quickest that plain torch does on a CPU.
It knows nothing of imgrec_jax, and runs where only torch, numpy and Pillow are installed.
"""

import argparse
import json
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

BATCH = 64


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Return the image as float [c, h, w] in 0 .. 1, as the transform of this name does."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    pixels = pixels.view(image.size[1], image.size[0], len(image.getbands()))
    return pixels.permute((2, 0, 1)).contiguous().to(torch.float32).div(255)


def normalize(image: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Return the image less the mean, over the standard deviation of each channel."""
    means = torch.as_tensor(mean, dtype=image.dtype).view(-1, 1, 1)
    stds = torch.as_tensor(std, dtype=image.dtype).view(-1, 1, 1)
    return image.clone().sub_(means).div_(stds)


class Images(Dataset):
    """Images one at a time, as torchvision's data set with its two usual transforms gives them.

    torchvision itself has no build for the CPU alone.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        tensor = to_tensor(Image.fromarray(self.images[row]))
        return normalize(tensor, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]), int(self.labels[row])


class Preloaded:
    """Batches cut out of one tensor."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, shuffle: bool) -> None:
        tensor = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        self.images = tensor.contiguous(memory_format=torch.channels_last)
        self.labels, self.shuffle = torch.from_numpy(labels.astype(np.int64)), shuffle

    def __iter__(self):
        count = len(self.labels)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for rows in order.split(BATCH):
            yield self.images[rows], self.labels[rows]


def network() -> nn.Module:
    """Return the ConvNet with 545,098 parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def accuracy(model: nn.Module, batches: object) -> float:
    """Return the share of images that the model names rightly."""
    correct = total = 0
    with torch.no_grad():
        for images, labels in batches:  # pyright: ignore
            correct += int((model(images).argmax(1) == labels).sum())
            total += len(labels)
    return correct / total


def main() -> None:
    """Train as the flags say; print one JSON line an epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--npz", required=True, help="x_train, y_train, x_test, y_test")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preloaded", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    arrays = np.load(options.npz, allow_pickle=False)
    splits = [(arrays[f"x_{s}"], arrays[f"y_{s}"]) for s in ("train", "test")]
    if options.preloaded:
        train, test = (Preloaded(*s, shuffle=i == 0) for i, s in enumerate(splits))
    else:
        train, test = (
            DataLoader(Images(*s), BATCH, shuffle=i == 0, num_workers=2)
            for i, s in enumerate(splits)
        )
    model = network()
    if options.preloaded:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    started = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        running_loss = 0.0
        for images, labels in train:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        line = {"epoch": epoch, "loss": running_loss, "test_accuracy": accuracy(model, test)}
        print(json.dumps({**line, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
