"""The augmentations of imgrec_jax, written with torch operations on batches, and timed.

What a torch user would write: one batched operation where torch has one, with random numbers per
image; RandAugment and TrivialAugment image by image, as torchvision has them (for which
there is no build for the CPU alone). It knows nothing of imgrec_jax.
"""

import argparse
import json
import math
import time
from collections.abc import Callable

import torch
from torch.nn import functional

Stage = Callable[[torch.Tensor], torch.Tensor]


def per_image(values: torch.Tensor) -> torch.Tensor:
    """Return one number per image, ready to meet [n, c, h, w]."""
    return values.view(-1, 1, 1, 1)


def coins(x: torch.Tensor, probability: float = 0.5) -> torch.Tensor:
    """Return one yes or no per image."""
    return per_image(torch.rand(len(x)) < probability)


def flip(x: torch.Tensor) -> torch.Tensor:
    """Mirror half of the images."""
    return torch.where(coins(x), x.flip(3), x)


def vertical_flip(x: torch.Tensor) -> torch.Tensor:
    """Mirror half of the images upside down."""
    return torch.where(coins(x), x.flip(2), x)


def pad_crop(x: torch.Tensor, pad: int = 4) -> torch.Tensor:
    """Pad by reflection and cut out, by fancy indexing."""
    n, _, h, w = x.shape
    padded = functional.pad(x, (pad,) * 4, mode="reflect")
    rows = torch.randint(2 * pad + 1, (n, 1)) + torch.arange(h)
    columns = torch.randint(2 * pad + 1, (n, 1)) + torch.arange(w)
    picked = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def warp(x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Sample by affine matrices [n, 2, 3]."""
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", align_corners=False)


def affine(a: torch.Tensor, b: torch.Tensor, x0: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Return matrices ((a, b, x0), (-b, d, x0))."""
    return torch.stack([a, b, x0, -b, d, x0], 1).view(-1, 2, 3)


def scale(x: torch.Tensor) -> torch.Tensor:
    """Zoom by 0.8 to 1.2."""
    step, zero = 1 / (0.8 + 0.4 * torch.rand(len(x))), torch.zeros(len(x))
    return warp(x, affine(step, zero, zero, step))


def rotation(x: torch.Tensor) -> torch.Tensor:
    """Turn by up to 15 degrees."""
    angle = (torch.rand(len(x)) * 2 - 1) * math.radians(15)
    return warp(x, affine(angle.cos(), angle.sin(), torch.zeros(len(x)), angle.cos()))


def random_resized_crop(x: torch.Tensor) -> torch.Tensor:
    """Cut windows out and stretch them."""
    n = len(x)
    area = 0.08 + 0.92 * torch.rand(n, 10)
    ratio = ((torch.rand(n, 10) * 2 - 1) * math.log(4 / 3)).exp()
    h, w = (area / ratio).sqrt(), (area * ratio).sqrt()
    first = ((h <= 1) & (w <= 1)).float().argmax(1, keepdim=True)
    h, w = h.gather(1, first)[:, 0].clamp(max=1), w.gather(1, first)[:, 0].clamp(max=1)
    x0, y0 = ((torch.rand(n) * 2 - 1) * (1 - side) for side in (w, h))
    zero = torch.zeros(n)
    return warp(x, torch.stack([w, zero, x0, zero, h, y0], 1).view(-1, 2, 3))


def noise(x: torch.Tensor) -> torch.Tensor:
    """Add Gaussian noise."""
    return (x + 0.02 * torch.randn_like(x)).clamp(0, 1)


def grey_of(x: torch.Tensor) -> torch.Tensor:
    """Return luminance with one channel."""
    return (x * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(-3, keepdim=True)


def grayscale(x: torch.Tensor) -> torch.Tensor:
    """Take the colour out of a tenth."""
    return torch.where(coins(x, 0.1), grey_of(x).expand_as(x), x)


def blend(x: torch.Tensor, other: torch.Tensor, factor: torch.Tensor | float) -> torch.Tensor:
    """Return factor of x and the rest of the other."""
    return (factor * x + (1 - factor) * other).clamp(0, 1)


def color_jitter(x: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast, saturation, hue."""
    f = 0.6 + 0.8 * torch.rand(3, len(x), 1, 1, 1)
    x = (x * f[0]).clamp(0, 1)
    x = blend(x, grey_of(x).mean((2, 3), keepdim=True), f[1])
    x = blend(x, grey_of(x), f[2])
    high, low = x.amax(1), x.amin(1)
    spread = high - low
    safe = torch.where(spread > 0, spread, torch.ones_like(spread))
    r, g, b = x.unbind(1)
    hue = torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe)
    hue = torch.where(high == r, (g - b) / safe, hue)
    hue = hue + 6 * (torch.rand(len(x), 1, 1) * 0.2 - 0.1)
    places = [(start + hue) % 6 for start in (5, 3, 1)]
    return torch.stack([high - spread * torch.minimum(p, 4 - p).clamp(0, 1) for p in places], 1)


def blur(x: torch.Tensor) -> torch.Tensor:
    """Blur half of the images, by a grouped convolution per axis."""
    n, c, h, w = x.shape
    sigma = (0.1 + 1.9 * torch.rand(n, 1)).repeat_interleave(c, 0)
    kernel = torch.softmax(-0.5 * (torch.arange(-6, 7) / sigma) ** 2, 1)
    flat = functional.pad(x.reshape(1, n * c, h, w), (6, 6, 6, 6), mode="reflect")
    flat = functional.conv2d(flat, kernel.view(-1, 1, 1, 13), groups=n * c)
    flat = functional.conv2d(flat, kernel.view(-1, 1, 13, 1), groups=n * c)
    return torch.where(coins(x), flat.view(x.shape), x)


def window(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return the mask [n, 1, h, w] of windows given by corners [n, 2]."""
    rows, columns = (torch.arange(s)[None] for s in x.shape[2:])
    inside_rows = (rows >= low[:, :1]) & (rows < high[:, :1])
    inside_columns = (columns >= low[:, 1:]) & (columns < high[:, 1:])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


def cutout(x: torch.Tensor) -> torch.Tensor:
    """Cover squares of 8 pixels."""
    low = torch.stack([torch.randint(s, (len(x),)) for s in x.shape[2:]], 1) - 4
    return torch.where(window(x, low, low + 8), 0.5, x)


def random_erasing(x: torch.Tensor) -> torch.Tensor:
    """Cover windows of half of the images with noise."""
    n, size = len(x), torch.tensor(x.shape[2:])
    area = 0.02 + 0.38 * torch.rand(n)
    ratio = ((torch.rand(n) * 2 - 1) * math.log(10 / 3)).exp()
    part = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], 1).clamp(max=1)
    low = torch.rand(n, 2) * (1 - part)
    mask = window(x, (low * size).round(), ((low + part) * size).round())
    return torch.where(mask & coins(x), torch.rand_like(x), x)


def mixup(x: torch.Tensor) -> torch.Tensor:
    """Blend with other images, a weight each."""
    weight = per_image(torch.distributions.Beta(0.2, 0.2).sample((len(x),)))
    return weight * x + (1 - weight) * x[torch.randperm(len(x))]


def cutmix(x: torch.Tensor) -> torch.Tensor:
    """Put windows of other images in, one each."""
    size = torch.tensor(x.shape[2:])
    half = ((1 - torch.rand(len(x), 1)).sqrt() * size).int() // 2
    centre = (torch.rand(len(x), 2) * size).int()
    return torch.where(window(x, centre - half, centre + half), x[torch.randperm(len(x))], x)


def operation(x: torch.Tensor, number: int, amount: float) -> torch.Tensor:  # noqa: PLR0911
    """Apply one of the fourteen operations to one image [c, h, w]."""
    if number < 5:
        t = torch.zeros(1)
        a, b, cut = t.add(math.cos(amount)), t.add(math.sin(amount)), t.add(amount)
        shear = torch.stack([t + 1, cut, t, t, t + 1, t], 1).view(-1, 2, 3)
        shift = torch.stack([t + 1, t, cut, t, t + 1, t], 1).view(-1, 2, 3)
        theta = [shear, shear.flip(1), shift, shift.flip(1), affine(a, b, t, a)][number]
        return warp(x[None], theta)[0]
    levels = (x * 255).round()
    if number == 6:
        return (x * (1 + amount)).clamp(0, 1)
    if number == 7:
        return blend(x, grey_of(x), 1 + amount)
    if number == 8:
        return blend(x, grey_of(x).mean(), 1 + amount)
    if number == 9:
        kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]).expand(3, 1, 3, 3) / 13
        smooth = x.clone()
        smooth[:, 1:-1, 1:-1] = functional.conv2d(x[None], kernel, groups=3)[0]
        return blend(x, smooth, 1 + amount)
    if number == 10:
        return (levels.int() & 0xF0).float() / 255
    if number == 11:
        return torch.where(levels < 128, x, 1 - x)
    if number == 12:
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return (x - low) / (high - low).clamp(min=1e-6)
    if number == 13:
        out = []
        for channel in levels.long():
            counts = torch.bincount(channel.flatten(), minlength=256)
            step = int((counts.sum() - counts[counts.nonzero()[-1]]) // 255)
            table = (counts.cumsum(0) - counts + step // 2) // max(step, 1)
            out.append(table.clamp(max=255)[channel] if step else channel)
        return torch.stack(out).float() / 255
    return x


def rand_augment(x: torch.Tensor, layers: int = 2) -> torch.Tensor:
    """Apply random operations, image by image."""
    out = []
    for image in x:
        for number in torch.randint(14, (layers,)).tolist():
            image = operation(image, number, 0.3)  # noqa: PLW2901
        out.append(image)
    return torch.stack(out)


def trivial_augment(x: torch.Tensor) -> torch.Tensor:
    """Apply one random operation, image by image."""
    return rand_augment(x, 1)


STAGES: dict[str, Stage] = {
    stage.__name__: stage
    for stage in (
        *(blur, color_jitter, cutmix, cutout, flip, grayscale, mixup, noise, pad_crop),
        *(rand_augment, random_erasing, random_resized_crop, rotation, scale, trivial_augment),
        vertical_flip,
    )
}


def main() -> None:
    """Print images per second by stage, as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each stage")
    options = parser.parse_args()
    x = torch.rand(options.batch, 3, options.size, options.size)
    rates = {}
    for name, stage in STAGES.items():
        stage(x)
        best, until = math.inf, time.perf_counter() + options.seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            stage(x)
            best = min(best, time.perf_counter() - started)
        rates[name] = options.batch / best
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
