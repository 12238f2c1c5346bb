"""Pictures per second that tf.data reads, decodes, crops and mirrors; run by `input_pipeline`.

    python benchmarks/tf_input_pipeline.py --folder=PATH --workers=2

TensorFlow's way: `sample_distorted_bounding_box`, `decode_and_crop_jpeg` (which decodes the area
alone), `resize` (bilinear, not antialiased) to 224x224, mirrored every other time, and batches of
uint8. Needs tensorflow, and nothing of this project.
"""

import argparse
import json
import os
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


def main() -> None:
    """Time batches from the second on and print the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    paths = sorted(str(path) for path in Path(options.folder).rglob("*") if path.is_file())

    def read(path: tf.Tensor) -> tf.Tensor:
        data = tf.io.read_file(path)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(data),
            tf.zeros([1, 0, 4]),
            min_object_covered=0.0,
            aspect_ratio_range=[3 / 4, 4 / 3],
            area_range=[0.08, 1.0],
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        top, left, _ = tf.unstack(begin)
        height, width, _ = tf.unstack(size)
        window = tf.stack([top, left, height, width])
        image = tf.image.decode_and_crop_jpeg(data, window, channels=3)
        image = tf.image.resize(image, [options.size, options.size])
        return tf.image.random_flip_left_right(tf.cast(image, tf.uint8))

    pool = tf.data.Options()
    pool.threading.private_threadpool_size = options.workers
    data = tf.data.Dataset.from_tensor_slices(paths).repeat().shuffle(1000)
    data = data.map(read, num_parallel_calls=options.workers, deterministic=False)
    data = data.batch(options.batch).prefetch(2).with_options(pool)
    batches = data.as_numpy_iterator()
    warm = 4  # what is made ahead before time counts
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
