"""Rules for changing the config of a run that has begun: each key is free, recorded or fixed."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.nested import Settings, flatten
from imgrec_jax.training.workdir.files import as_user_errors

HISTORY = "config_history.jsonl"

# A name that ends with a dot stands for a block; the longest matching name applies.
FREE = frozenset(
    {
        "checkpoint.",
        "data.file_gb",
        "data.memory_gb",
        "data.workers",
        "log.",
        "parallel.cpu_devices",
        "parallel.devices",
        "parallel.fsdp",
        "parallel.mode",
        "parallel.multihost",
        "parallel.rules",
    }
)
"""Keys that change how a run executes and reports, but not what is learned."""

RECORDED = frozenset(
    {
        "augment",
        "data.broken",
        "data.center_crop",
        "data.channels",  # as for the size: shapes that do not fit the network are rejected
        "data.classes",  # as for the source
        "data.columns",
        "data.crop",
        "data.dir",
        "data.dtype",
        "data.image_shape",
        "data.image_size",
        "data.label_pattern",
        "data.mask_values",
        "data.max_boxes",
        "data.normalization",
        "data.sampling",
        "data.source",  # data with other classes is rejected after opening
        "data.test",
        "data.train",
        "data.unlabelled",
        "epochs",
        "eval_batch_size",
        "data.eval_sampling",
        "eval_every",
        "tta",
        "evaluators",
        "micro_batches",
        "mix",
        "ops",
        "optim.",
        "parallel.sync_batchnorm",
        "precision",
        "steps_per_call",
        "task.class_weights",
        "task.detect.",
        "task.label_smoothing",
        "task.segment.",
        "task.super_resolution.",
    }
)
"""Keys that change what is learned from now on: they need consent and are recorded."""

FIXED: Mapping[str, str] = {
    "batch_size": "epochs and schedule are counted in its steps; micro_batches saves memory",
    "data.examples_per_class": "it would evaluate the run on images it was trained on",
    "data.group_by": "it would evaluate the run on images it was trained on",
    "data.holdout": "it would evaluate the run on images it was trained on",
    "init_from": "the run has started",
    "model.": "the saved parameters are of the other network",
    "optim.by_path": "the saved state is of the other optimizers",
    "optim.freeze": "the saved state is of the parameters that moved",
    "optim.freeze_later": "the saved state has counted the steps that they move for",
    "optim.lookahead": "the saved state has the slow weights",
    "optim.name": "the saved state is of the other optimizer",
    "seed": "the run started with the other",
    "task.name": "the saved parameters are for the other task",
}
"""Keys that must not change during a run, each with the reason."""


class Change(NamedTuple):
    """A key of the config whose value differs from the start of the run."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} -> {self.new!r}"


def find_changes(before: Settings, after: Settings, defaults: Settings) -> list[Change]:
    """Return the keys that differ and are not free, sorted by name.

    Blocks of models, optimizers and tasks that neither config uses are ignored. A key that did not
    exist when the run began has its value of `defaults`, or None.
    """
    old, new = {**flatten(defaults), **flatten(before)}, flatten(after)
    return [
        Change(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not _unread(key, old, new) and _class(key) != "free"
    ]


def read_settings(config: Settings) -> dict[str, Any]:
    """Return the flat settings that define a run, without free keys and unused blocks."""
    flat = flatten(config)
    return {k: v for k, v in flat.items() if not _unread(k, flat, flat) and _class(k) != "free"}


def check_changes(folder: Path, changes: Sequence[Change], *, accepted: bool) -> None:
    """Raise unless a run in `folder` may resume with these changes.

    Raises:
        UsageError: a key is fixed, or the changes are not accepted; all of them are listed.
    """
    fixed = [change for change in changes if _class(change.key) == "fixed"]
    if not changes or (accepted and not fixed):
        return
    ways = [f"--workdir={_next_to(folder)} for a new run"]
    if fixed:
        ways[0] += f" (--config.init_from={folder} starts it from these weights)"
    else:
        ways.append("--resume=accept-changes to go on with it")
    lines = [f"expected the config of the run in {folder}, got a changed one:"]
    for change in changes:
        why = FIXED[_entry(change.key)] if change in fixed else ""
        lines.append(f"  {change}" + (f" (cannot change: {why})" if why else ""))
    raise UsageError(*lines, f"try {', or '.join(ways)}")


def record_changes(folder: Path, step: int, changes: Sequence[Change]) -> None:
    """Append a line per change to `config_history.jsonl`: last step, key, old and new value.

    Lines that an earlier, failed start has already written are not repeated.
    """
    if not changes:
        return
    path = folder / HISTORY
    lines = [
        json.dumps({"step": step, "key": c.key, "old": c.old, "new": c.new}, ensure_ascii=False)
        for c in changes
    ]
    with as_user_errors(path), path.open("a+", encoding="utf-8", errors="replace") as file:
        file.seek(0)
        known = set(file.read().splitlines())
        file.writelines(f"{line}\n" for line in lines if line not in known)


def _class(key: str) -> str:
    """Return "free", "recorded" or "fixed"; unlisted keys are "recorded"."""
    entry = _entry(key)
    return "free" if entry in FREE else "fixed" if entry in FIXED else "recorded"


def _entry(key: str) -> str:
    """Return the longest name in the tables that matches a key, or "" if none does."""
    names = {*FREE, *RECORDED, *FIXED}
    parts = key.split(".")
    blocks = [".".join(parts[:n]) + "." for n in range(len(parts) - 1, 0, -1)]
    return next((name for name in [key, *blocks] if name in names), "")


def _unread(key: str, old: Settings, new: Settings) -> bool:
    """Return whether a key belongs to a model, optimizer or task that neither config uses."""
    block, _, rest = key.partition(".")
    names = {str(settings.get(f"{block}.name")) for settings in (old, new)}
    chosen = names | {name.partition("_")[0] for name in names}  # vit_s16 reads the block vit
    if block == "optim":  # all words of the rules, including the optimizers
        rules = " ".join(str(settings.get("optim.by_path", "")) for settings in (old, new))
        chosen |= set(re.findall(r"\w+", rules))
    return (
        block in {"model", "optim", "task"} and "." in rest and rest.partition(".")[0] not in chosen
    )


def _next_to(folder: Path) -> Path:
    """Return a folder beside `folder` that does not exist yet."""
    beside = (folder.with_name(f"{folder.name}_{n}") for n in range(2, 10_000))
    return next(path for path in beside if not path.exists())
