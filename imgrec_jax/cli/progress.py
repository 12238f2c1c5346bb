"""Show the progress of a command over images, and stop it on a signal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from imgrec_jax.training.host.signals import stop_requests

_SILENCE = 5.0  # seconds between two progress lines without a terminal

Progress = Callable[[int, int], None]


@contextlib.contextmanager
def progress_of(what: str) -> Iterator[Progress]:
    """Yield a progress callback: a bar on a terminal, otherwise a line now and then."""
    from tqdm import tqdm

    start = reported_at = time.perf_counter()

    def print_line(done: int, total: int) -> None:
        nonlocal reported_at
        now = time.perf_counter()
        if now - reported_at > _SILENCE:
            reported_at = now
            text = f"{done:,} of {total:,} images, {done / (now - start):,.0f} images/s"
            print(f"{what}: {100 * done // total} %, {text}", file=sys.stderr, flush=True)

    def move_bar(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with tqdm(desc=what, unit=" images", disable=None, leave=False) as bar:
        yield print_line if bar.disable else move_bar


@contextlib.contextmanager
def until_stopped(progress: Progress) -> Iterator[Progress]:
    """Yield `progress`, which raises KeyboardInterrupt if a signal comes after its first call.

    From then on there are worker processes, which an exit on the spot would leave behind.
    """
    with contextlib.ExitStack() as stack:
        requests: list[Callable[[], bool]] = []

        def checked(done: int, total: int) -> None:
            if not requests:
                requests.append(stack.enter_context(stop_requests()))
            if requests[0]():
                raise KeyboardInterrupt
            progress(done, total)

        yield checked
