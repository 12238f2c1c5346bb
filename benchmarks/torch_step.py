"""Training steps of plain torch networks, timed in blocks: the other side of train_step.py.

Answers each line on its standard input with the seconds of a block. The networks are written as
their papers and torchvision have them. It knows nothing of imgrec_jax.
"""

import argparse
import functools
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """The basic block of ResNet-18, or with `bottleneck` the block of ResNet-50 (v1.5)."""

    def __init__(self, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        convolve = functools.partial(nn.Conv2d, bias=False)
        if bottleneck:
            layers = [convolve(inputs, width, 1), convolve(width, width, 3, stride, 1)]
            layers.append(convolve(width, outputs, 1))
        else:
            layers = [convolve(inputs, width, 3, stride, 1), convolve(width, width, 3, 1, 1)]
        body: list[nn.Module] = []
        for layer in layers:
            body += [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*body[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                convolve(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet(depths: list[int], *, bottleneck: bool, cifar: bool, classes: int) -> nn.Module:
    """Return a ResNet with the stem of ImageNet or of CIFAR."""
    stem: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False) if cifar else nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    if not cifar:
        stem.append(nn.MaxPool2d(3, 2, 1))
    blocks, inputs = [], 64
    for stage, depth in enumerate(depths):
        for number in range(depth):
            width, stride = 64 << stage, 2 if stage and not number else 1
            blocks.append(Residual(inputs, width, stride, bottleneck=bottleneck))
            inputs = 4 * width if bottleneck else width
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return nn.Sequential(*stem, *blocks, *end)


class Block(nn.Module):
    """Attention, then an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        gathered = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(gathered.transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """The vision transformer with a class token and learned positions."""

    def __init__(self, size: int, patch: int, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(12)])
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def convnet() -> nn.Module:
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


def network(name: str, size: int) -> nn.Module:
    """Return a network by the name that imgrec_jax gives it."""
    cifar, classes = size == 32, 10 if size == 32 else 1000
    if name == "convnet":
        return convnet()
    if name.startswith("resnet"):
        depths, bottleneck = {
            "resnet18": ([2, 2, 2, 2], False),
            "resnet50": ([3, 4, 6, 3], True),
        }[name]
        return resnet(depths, bottleneck=bottleneck, cifar=cifar, classes=classes)
    width, heads, patch = {
        "vit_ti4": (192, 3, 4),
        "vit_s16": (384, 6, 16),
        "vit_b16": (768, 12, 16),
    }[name]
    return ViT(size, patch, width, heads, classes)


def main() -> None:
    """Answer each line with the seconds of a block of steps, each on another batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    model = network(options.model, options.size)
    model = model.to(device=device, memory_format=torch.channels_last)  # pyright: ignore
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=cuda)
    forward = torch.compile(model) if cuda else model
    shape = (options.batch, 3, options.size, options.size)
    channels_last = torch.channels_last
    images = [torch.randn(shape).to(device, memory_format=channels_last) for _ in range(4)]
    labels = torch.randint(10, (options.batch,), device=device)

    def take(steps: int) -> float:
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for number in range(steps):
            with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
                loss = functional.cross_entropy(forward(images[number % 4]), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in sys.stdin:
        take(1)  # a program that waits has its free memory taken away
        print(json.dumps({"seconds": take(options.steps)}), flush=True)


if __name__ == "__main__":
    main()
