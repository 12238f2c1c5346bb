"""Worker processes that write the shards of a pack."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.stop_signals import block_stop_signals, restore_signals
from imgrec_jax.data.pack.shards import Written, write_shard
from imgrec_jax.data.raw.items import Images

_TICK = 0.2  # seconds between two reports

_UNCOUNTED = 32  # images between two accesses to shared state: locks take time

_shared: dict[str, Any] = {}  # in a worker: the count of images, and whether to stop


class _StoppedError(Exception):
    """The command and its workers were stopped."""


def write_shards(
    folder: Path,
    parts: Mapping[str, Images],
    workers: int,
    keep: Callable[[str, Written], None],
    progress: Callable[[int, int], None],
) -> None:
    """Write each part as the shard with its name, several in parallel.

    The workers are separate processes that share no memory with this one (a fork would copy the
    locks of JAX's threads). They end when this process ends for any reason.

    Args:
        folder: the folder of the shards.
        parts: the images of each shard.
        workers: number of processes, at least 1.
        keep: called with each finished shard, in any order.
        progress: called with the images done and the images to do.

    Raises:
        UserError: a shard cannot be written, or a worker was killed.
    """
    total = sum(len(part) for part in parts.values())
    if not total:
        return
    progress(0, total)  # before there are processes, which a signal would leave behind
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(min(workers, len(parts)), context, _start, (done, stop))
    try:
        waiting = block_stop_signals()  # for the workers that start here: this process stops them
        names: dict[Future[Written], str] = {
            pool.submit(_write, folder / name, part): name for name, part in parts.items()
        }
        restore_signals(waiting)
        pending = set(names)
        while pending:
            finished, pending = wait(pending, _TICK, FIRST_COMPLETED)
            for future in finished:
                keep(names[future], future.result())
            progress(done.value, total)
    except BrokenProcessPool as error:
        raise UserError(
            "expected the workers to keep running, got one that was killed, perhaps for lack of "
            "memory; "
            "try the same command again with fewer --workers: finished shards are kept"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _start(done: Any, stop: Any) -> None:
    """Prepare a worker, which ends when the parent ends."""
    _shared.update(done=done, stop=stop, uncounted=0)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _write(path: Path, images: Images) -> Written:
    try:
        return write_shard(path, images, _count)
    finally:
        _report()


def _count() -> None:
    _shared["uncounted"] += 1
    if _shared["uncounted"] == _UNCOUNTED:
        _report()
        if _shared["stop"].is_set():
            raise _StoppedError


def _report() -> None:
    with _shared["done"].get_lock():
        _shared["done"].value += _shared["uncounted"]
    _shared["uncounted"] = 0
