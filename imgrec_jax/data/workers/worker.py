"""Main function of a worker process that reads and decodes images; see `pool`."""

import os
import pickle
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.sources import encoded
from imgrec_jax.data.sources.source import Source, gather
from imgrec_jax.data.workers.shared_memory import SharedMemory


def main(socket: int, shared: int, answers: int) -> None:
    """Answer until the other side hangs up.

    Args:
        socket: descriptor of what questions come through.
        shared: of the memory that the sources lie in.
        answers: of the memory that arrays go into.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(socket)
    try:
        sources = _receive(connection, SharedMemory(shared))
        memory = SharedMemory(answers)
        # What went wrong is told through the socket. What decoders write of an image is not for
        # the terminal, above all not that a crop has left a part of it undecoded.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        encoded.only_decode()
        while True:
            name, rows, epochs = connection.recv()
            connection.send(_answer(sources[name], rows, epochs, memory))
    except (EOFError, OSError):
        return


def _receive(connection: Connection, shared: SharedMemory) -> dict[str, Source]:
    arrays = shared.read(connection.recv())
    head = arrays.pop("head").tobytes()  # from our own parent: no file is unpickled anywhere
    return pickle.loads(head, buffers=arrays.values())


def _answer(source: Source, rows: Any, epochs: Any, memory: SharedMemory) -> tuple[str, Any]:
    try:
        return "arrays", memory.write(gather(source, rows, epochs))
    except UserError as error:
        return type(error).__name__, str(error)
    except Exception:
        return "crash", traceback.format_exc()
