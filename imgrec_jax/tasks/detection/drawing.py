"""Show detected boxes: drawings on the image, JSON records, COCO results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgrec_jax.core.printable import printable

Answer = Mapping[str, np.ndarray]
"""For one image: boxes [d, 4] in its own pixels, scores [d] and labels [d]; score 0: padding."""

_COLOURS = ((230, 60, 50), (50, 110, 230), (30, 160, 70), (240, 160, 20), (150, 60, 200))
_SURE = 0.3  # boxes with lower scores are recorded, but not drawn
_READABLE = 480  # longer side of an image, in pixels, at which names are readable
_IGNORED = (150, 150, 150)


def draw(answer: Answer, image: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the image uint8[h, w, 3] with all boxes of score 0.3 or more, as `boxes`."""
    sure = answer["scores"] >= _SURE
    found = zip(answer["boxes"][sure], answer["scores"][sure], answer["labels"][sure], strict=True)
    boxes = [
        (box, _drawn_name(int(k), labels) + f" {score:.2f}", _color(int(k)))
        for box, score, k in found
    ]
    return {"boxes": _draw_boxes(image, boxes)}


def compare(
    answer: Answer | None,
    example: Mapping[str, np.ndarray],
    image: np.ndarray,
    labels: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return the image with its true boxes, and with predicted boxes if there are any.

    Ignored true boxes, neither learned nor scored, are grey. Small images are enlarged.
    """
    factor = -(-_READABLE // max(image.shape[:2]))
    large = image.repeat(factor, 0).repeat(factor, 1)
    true = [
        (box * factor, _drawn_name(k, labels), _IGNORED if ignored else _color(k))
        for box, k, real, ignored in zip(
            example["boxes"],
            example["box_label"].tolist(),
            example["box_mask"],
            example["box_ignore"],
            strict=True,
        )
        if real
    ]
    shown = {"truth": _draw_boxes(large, true)}
    if answer is not None:
        found = {**answer, "boxes": answer["boxes"] * factor}
        shown["predicted"] = draw(found, large, labels)["boxes"]
    return shown


def legend(labels: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the names with their colours, and the text that stands for them in drawings."""
    drawn = [_drawn_name(k, labels) for k in range(len(labels))]
    names = zip(drawn, labels, strict=True)
    return [
        (name if short == name else f"{short} {name}", _color(k))
        for k, (short, name) in enumerate(names)
    ]


def quality(rows: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """Return the F1 score of the drawn boxes of each image; NaN without true boxes."""
    predicted = (rows["scores"] >= _SURE) & ~rows["set_aside"]
    hits = (predicted & rows["matched"]).sum(1)
    true = (rows["true_mask"] & ~rows["true_ignore"]).sum(1)
    total = predicted.sum(1) + true
    return "F1", 2 * hits / np.where(total > 0, total, np.nan)


def _draw_boxes(
    image: np.ndarray, boxes: Sequence[tuple[np.ndarray, str, tuple[int, int, int]]]
) -> np.ndarray:
    """Return the image with boxes (x0, y0, x1, y1) drawn, each with its name and colour."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    line = max(1, min(image.shape[:2]) // 200)
    for box, name, color in boxes:
        x0, y0, x1, y1 = map(float, box)
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=color, width=line)
        pen.text((x0 + line + 1, y0 + line), name, fill=color)
    return np.asarray(canvas)


def _drawn_name(number: int, labels: Sequence[str]) -> str:
    """Return a name, or its number if Pillow's built-in font lacks some of its letters."""
    return printable(labels[number]) if labels[number].isascii() else f"#{number}"


def _color(number: int) -> tuple[int, int, int]:
    return _COLOURS[number % len(_COLOURS)]


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
    """Return the number of drawn boxes of each label."""
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
                "file_name": found["image"],
                "width": found["width"],
                "height": found["height"],
            }
            for number, found in enumerate(records, start=1)
        ],
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
        "annotations": annotations,
    }
