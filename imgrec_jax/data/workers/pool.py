"""Read and decode images in worker processes.

Each worker is a separate Python process that imports neither JAX nor the user's script
(`multiprocessing` would run the script again), so a script needs no `if __name__ == "__main__"`,
and a worker takes half a second and 70 MB. All workers get the sources through one shared memory,
which holds the names of a million files only once. Results come back in the same way. The memory
has no name, so none of it is left behind when a process ends in any way. A worker ends when its
parent has ended.
"""

import json
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.host_cores import core_count
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import Source, Splits
from imgrec_jax.data.sources.wrapper import Wrapper, innermost
from imgrec_jax.data.workers.shared_memory import Place, SharedMemory

_MOST = 16  # by default: several processes of a run may share a machine
_FEW = 500  # images: decoding this many takes no longer than starting a worker
_PARCEL = 32  # the most images that a worker gets at once
_PARCELS = 2  # for each worker in a batch; two batches are in progress at once
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); " + (
    "from imgrec_jax.data.workers.worker import main; main(*map(int, sys.argv[2:]))"
)
_ERRORS = {"UsageError": UsageError, "UserError": UserError}


@dataclass(frozen=True)
class RemoteSource(Wrapper):
    """A source that is read by workers; single examples are read in this process.

    Attributes:
        source: the source to read.
        name: its name in the workers.
        workers: the workers that read it.
    """

    name: str
    workers: "Workers" = field(repr=False)

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        return self.workers.read(self.name, rows, epochs)

    def over(self, source: Source) -> Self:
        """Return another source with as many new workers; existing ones know only their source."""
        return replace(
            self, source=source, workers=Workers({self.name: source}, self.workers.count)
        )


def with_workers(splits: Splits, count: int) -> Splits:
    """Return the splits, with those that are decoded on demand read by `count` processes.

    -1 is one per core, at most 16, or none if there are few images; 0 is none.
    """
    decoded = {
        name: source
        for name, source in splits.items()
        if isinstance(innermost(source), EncodedSource)
    }
    if count == -1:
        few = sum(map(len, decoded.values())) < _FEW
        count = 0 if few else min(core_count(), _MOST)
    if not decoded or not count:
        return splits
    workers = Workers(decoded, count)
    remote = {name: RemoteSource(source, name, workers) for name, source in decoded.items()}
    return {**splits, **remote}


class Workers:
    """A number of worker processes, started at the first read.

    They end when this object is garbage-collected, or when this process ends in any way.
    """

    def __init__(self, sources: Mapping[str, Source], count: int) -> None:
        self._sources, self.count = sources, count
        self._lock = threading.Lock()
        self._started: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, "workers")

    def read(self, name: str, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples of a source as arrays.

        Several threads may call it at once; their parcels then alternate.

        Raises:
            UserError: an image cannot be read, or a worker was killed.
        """
        self._start()
        order = np.argsort(rows, kind="stable")  # neighbours are read together
        parts = max(-(-len(rows) // _PARCEL), min(self.count * _PARCELS, len(rows)))
        whole: dict[str, np.ndarray] = {}

        def ask(places: np.ndarray) -> None:
            worker = self._idle.get()
            try:
                parcel = worker.read(name, rows[places], epochs[places])
                with self._lock:
                    for key, part in parcel.items():
                        if key not in whole:
                            whole[key] = np.empty((len(rows), *part.shape[1:]), part.dtype)
                for key, part in parcel.items():
                    whole[key][places] = part
            finally:
                self._idle.put(worker)

        tasks = [self._threads.submit(ask, places) for places in np.array_split(order, parts)]
        try:
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
        return whole

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            buffers: list[pickle.PickleBuffer] = []
            head = pickle.dumps(dict(self._sources), 5, buffer_callback=buffers.append)
            shared = SharedMemory.create()
            arrays = {"head": np.frombuffer(head, np.uint8)}
            arrays |= {str(k): np.frombuffer(b.raw(), np.uint8) for k, b in enumerate(buffers)}
            places = shared.write(arrays)
            self._started = [_Worker(shared, places) for _ in range(self.count)]
            shared.close()
            for worker in self._started:
                self._idle.put(worker)


class _Worker:
    """One worker process, its request socket, and its shared result memory."""

    def __init__(self, shared: SharedMemory, places: Mapping[str, Place]) -> None:
        parent_end, child_end = socket.socketpair()
        self._answers = SharedMemory.create()
        descriptors = child_end.fileno(), shared.descriptor, self._answers.descriptor
        # Its own group: this process handles Ctrl-C and then closes the socket to stop the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,
        )
        child_end.close()
        self._connection = Connection(parent_end.detach())
        self._end = weakref.finalize(self, _end, self._connection, self._process, self._answers)
        self._send(places)

    def read(self, name: str, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the worker's result: views that are valid until the next read."""
        self._send((name, rows, epochs))
        try:
            kind, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if kind in _ERRORS:
            raise _ERRORS[kind](answer)
        if kind == "crash":
            raise RuntimeError(f"in a process that decodes:\n{answer}")
        return self._answers.read(answer)

    def _send(self, message: Any) -> None:
        try:
            # As bytes: `send` would leave an exported buffer behind in the traceback of an error,
            # which Python 3.13 complains of when that is collected.
            self._connection.send_bytes(pickle.dumps(message))
        except OSError as error:
            raise self._lost() from error

    def _lost(self) -> UserError:
        self._connection.close()
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        killed = f"was killed ({signal.Signals(-status).name})" if status < 0 else "ended"
        return UserError(
            f"expected the processes that decode images to keep running, got one that {killed}, "
            "perhaps for lack of memory; try fewer --config.data.workers, or 0 for none"
        )


def _end(connection: Connection, process: subprocess.Popen[bytes], answers: SharedMemory) -> None:
    connection.close()
    process.kill()
    process.wait()
    answers.close()
