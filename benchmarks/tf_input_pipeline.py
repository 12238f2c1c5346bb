"""Images per second that tf.data reads, decodes, crops and mirrors; run by `input_pipeline`.

    python benchmarks/tf_input_pipeline.py --folder=PATH --workers=2

`decode_and_crop_jpeg` (which decodes the area alone), `resize` (bilinear, not antialiased) to
224x224, mirrored every other time, and batches of uint8. So far the same work as that of the
other programs: areas are drawn by their rule (beforehand, which takes no time here), and the
inverse transform is the accurate one that they have. With `--defaults` it is what TensorFlow does
by itself: its `sample_distorted_bounding_box`, even in the height in place of the area, takes
smaller areas (36 % of an ImageNet image in the mean, not 42 %), and its transform is libjpeg's
fast one. Needs tensorflow, and nothing of this project.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import tensorflow as tf


def cpu_seconds(process: str = "self") -> float:
    """Return the CPU time of a process and of all that it has started, from Linux's /proc."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = " ".join(task.read_text(encoding="utf-8") for task in tasks).split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, children))


def random_area(height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random part of an image."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return random.randint(0, height - h), random.randint(0, width - w), h, w
    side = min(width, height)
    return (height - side) // 2, (width - side) // 2, side, side


def sampled_area(data: tf.Tensor) -> tf.Tensor:
    """Return what TensorFlow draws of an image."""
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(data),
        tf.zeros([1, 0, 4]),
        min_object_covered=0.0,
        aspect_ratio_range=[3 / 4, 4 / 3],
        area_range=[0.08, 1.0],
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], 0)


def main() -> None:
    """Time batches from the second on and print the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--defaults", action="store_true", help="TensorFlow's own areas, fast DCT")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    paths = sorted(str(path) for path in Path(options.folder).rglob("*") if path.is_file())

    warm = 4  # batches that are made ahead before time counts
    sizes = [tf.io.extract_jpeg_shape(tf.io.read_file(path)).numpy().tolist() for path in paths]
    order = [k % len(paths) for k in range(options.batch * (options.batches + 2 * warm))]
    transform = "" if options.defaults else "INTEGER_ACCURATE"
    areas = [random_area(*sizes[k][:2]) for k in order]

    def read(path: tf.Tensor, area: tf.Tensor) -> tf.Tensor:
        data = tf.io.read_file(path)
        area = sampled_area(data) if options.defaults else area
        image = tf.image.decode_and_crop_jpeg(data, area, channels=3, dct_method=transform)
        image = tf.image.resize(image, [options.size, options.size])
        return tf.image.random_flip_left_right(tf.cast(image, tf.uint8))

    pool = tf.data.Options()
    pool.threading.private_threadpool_size = options.workers
    data = tf.data.Dataset.from_tensor_slices(([paths[k] for k in order], areas)).shuffle(1000)
    data = data.map(read, num_parallel_calls=options.workers, deterministic=False)
    data = data.batch(options.batch).prefetch(2).with_options(pool)
    batches = data.as_numpy_iterator()
    for _ in range(warm):
        next(batches)
    started, used = time.perf_counter(), cpu_seconds()
    seen = sum(len(next(batches)) for _ in range(options.batches))
    rate = seen / (time.perf_counter() - started)
    per_core = seen / (cpu_seconds() - used)
    found = {"images_per_second": rate, "per_core": per_core, "version": tf.__version__}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
