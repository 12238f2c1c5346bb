"""List of the damaged images that a run has skipped, in its workdir.

Every process keeps its own list, for the part of the data that it has read; a resumed run appends
to it.
"""

from collections.abc import Mapping

import jax

from imgrec_jax.training.workdir.files import Workdir


def broken_file(process: int | None = None) -> str:
    """Return the file name of the list of a process, by default of this one."""
    number = jax.process_index() if process is None else process
    return f"broken_images{f'_{number}' if number else ''}.json"


def _read(workdir: Workdir, process: int | None = None) -> dict[str, dict[str, str]]:
    """Return the list of a process; runs begun with version 0.1.0 have it under its old name."""
    name = broken_file(process)
    return workdir.read_notes(name) or workdir.read_notes(name.replace("images", "pictures"))


def note_broken(workdir: Workdir, found: Mapping[str, Mapping[int, str]]) -> None:
    """Add the damaged images that this process has found, by split: row -> reason."""
    if not any(found.values()):
        return
    known = _read(workdir)
    rows = {
        split: {**known.get(split, {}), **{str(row): why for row, why in sorted(rows.items())}}
        for split, rows in found.items()
    }
    workdir.write_json(broken_file(), {**known, **rows})


def count_broken(workdir: Workdir, processes: int) -> dict[str, int]:
    """Return the number of distinct images that the processes have skipped, by split."""
    rows: dict[str, set[str]] = {}
    for process in range(processes):
        for split, found in _read(workdir, process).items():
            rows.setdefault(split, set()).update(found)
    return {split: len(found) for split, found in rows.items()}
