"""Small sets of images with boxes, made on the spot."""

import numpy as np
from PIL import Image

LABELS = ("bar", "dot")
COLOURS = {"dot": (230, 40, 40), "bar": (40, 40, 230)}


def made_image(generator, size=(48, 64), objects=3):
    """Return a dark image [h, w, 3] and its things: (label, (x0, y0, x1, y1))."""
    height, width = size
    image = generator.integers(0, 40, (height, width, 3)).astype(np.uint8)
    found = []
    for number in range(objects):
        label = LABELS[int(generator.integers(2))]
        w, h = (12, 12) if label == "dot" else (20, 8)
        x = int(generator.integers(number * width // objects, (number + 1) * width // objects))
        x, y = min(x, width - w), int(generator.integers(0, height - h))
        image[y : y + h, x : x + w] = COLOURS[label]
        found.append((label, (x, y, x + w, y + h)))
    return image, found


def xml(found, size=(48, 64), extra=""):
    """Return the annotation of an image as Pascal VOC writes it."""
    objects = "\n".join(
        f"<object><name>{label}</name><difficult>0</difficult>\n<bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, (x0, y0, x1, y1) in found
    )
    width, height = size[1], size[0]
    return (
        f"<annotation>\n<size><width>{width}</width><height>{height}</height></size>\n"
        f"{objects}{extra}\n</annotation>\n"
    )


def make_voc(root, splits=(("train", 8), ("test", 4)), seed=0):
    """Write a set in the layout of Pascal VOC; return all annotations by name."""
    generator = np.random.default_rng(seed)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    annotations = {}
    for split, count in splits:
        names = [f"{split}_{number}" for number in range(count)]
        for name in names:
            image, annotations[name] = made_image(generator)
            Image.fromarray(image).save(root / "JPEGImages" / f"{name}.png")
            (root / "Annotations" / f"{name}.xml").write_text(
                xml(annotations[name]), encoding="utf-8"
            )
        text = "\n".join(names) + "\n"
        (root / "ImageSets/Main" / f"{split}.txt").write_text(text, encoding="utf-8")
    return annotations
