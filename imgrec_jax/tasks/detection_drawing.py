"""How found boxes are shown: drawn on the picture, as records, and as COCO's results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Answer = Mapping[str, np.ndarray]
"""Of one picture: boxes [d, 4] in its own pixels, scores [d] and labels [d]; score 0: padding."""

_COLOURS = ((230, 60, 50), (50, 110, 230), (30, 160, 70), (240, 160, 20), (150, 60, 200))
_SURE = 0.3  # boxes of lower scores are recorded, but not drawn


def draw(answer: Answer, picture: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the picture uint8[h, w, 3] with all boxes of a score of 0.3 or more, as `boxes`."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    line = max(1, min(picture.shape[:2]) // 200)
    for box, score, label in zip(answer["boxes"], answer["scores"], answer["labels"], strict=True):
        if score < _SURE:
            continue
        colour = _COLOURS[int(label) % len(_COLOURS)]
        x0, y0, x1, y1 = map(float, box)
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        # The font that comes with Pillow has no letters beyond Latin ones.
        name = labels[int(label)].encode("ascii", "replace").decode("ascii")
        pen.text((x0 + line + 1, y0 + line), f"{name} {score:.2f}", fill=colour)
    return {"boxes": np.asarray(canvas)}


def record(answer: Answer, labels: Sequence[str]) -> dict[str, Any]:
    """Return all boxes as JSON, highest score first: label, score and x0, y0, x1, y1 in pixels."""
    return {
        "boxes": [
            {
                "label": labels[int(label)],
                "score": round(float(score), 6),
                "box": [round(float(side), 2) for side in box],
            }
            for box, score, label in zip(
                answer["boxes"], answer["scores"], answer["labels"], strict=True
            )
            if score > 0
        ]
    }


def phrase(record: Mapping[str, Any]) -> str:
    """Return how many of each label there are, of those that are drawn."""
    names = [box["label"] for box in record["boxes"] if box["score"] >= _SURE]
    counts = {name: names.count(name) for name in sorted(set(names))}
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def document(records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Return COCO's JSON: images, categories and annotations with a score.

    Ids count from 1; `bbox` is x, y, width, height (cocodataset.org/#format-results).
    """
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    annotations: list[dict[str, Any]] = []
    for image, found in enumerate(records, start=1):
        for box in found["boxes"]:
            x0, y0, x1, y1 = box["box"]
            width, height = round(x1 - x0, 2), round(y1 - y0, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": numbers[box["label"]],
                    "bbox": [x0, y0, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": box["score"],
                }
            )
    return {
        "images": [
            {
                "id": number,
                "file_name": found["picture"],
                "width": found["width"],
                "height": found["height"],
            }
            for number, found in enumerate(records, start=1)
        ],
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
        "annotations": annotations,
    }
