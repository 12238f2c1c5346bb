"""A run's story, made by hand, with names that a page must not trust."""

import datetime
from html.parser import HTMLParser

import numpy as np

from imgrec_jax.core.presentation import Figure, Gallery
from imgrec_jax.report.run_report import Split, Story
from imgrec_jax.tasks.classification.report import report

EVIL = '<script>alert("x")</script>'
LABELS = ("猫", EVIL, '"><img src=http://evil.test/x onerror=alert(1)>')

EVENTS = [
    {
        "kind": "train",
        "step": 50,
        "train_loss": 2.0,
        "learning_rate": 0.1,
        "images_per_second": 9e3,
    },
    {"kind": "eval", "step": 75, "test_loss": 1.5, "test_accuracy": 0.5},
    {"kind": "train", "step": 100, "train_loss": None, "learning_rate": 0.05},
    {"kind": "train", "step": 150, "train_loss": 1.0, "learning_rate": 0.025},
    {"kind": "eval", "step": 150, "test_loss": 1.25, "test_accuracy": 0.75},
]
CONFIG = {
    "epochs": 2,
    "task": {"name": "classify"},
    "model": {"name": "convnet"},
    "data": {"source": "folder:/tmp/&<b>"},
    "seed": 3,
}
DEFAULTS = {**CONFIG, "seed": 0, "data": {"source": "cifar10"}}
RESULT = {
    "status": "finished",
    "step": 150,
    "selected_on": "last",
    "metrics": {"test_loss": 1.25, "test_accuracy": 0.75},
    "device": "cpu",
    "devices": 1,
    "processes": 1,
    "parallel_mode": "single",
    "parameters": 1234,
    "seconds": {"train": 1.0},
    "examples_per_second": 100.0,
    "peak_memory_bytes": 2**30,
    "data_fingerprint": "abc",
    "machine": "a machine",
    "versions": {"jax": "0.10.2"},
    "git_commit": "",
    "git_dirty": False,
    "command": f"python -m imgrec_jax.main --workdir='{EVIL}'",
}


def story(**changes):
    """Return the story of four images, one of them taken for another class."""
    rows = {
        "label": np.array([0, 1, 2, 2]),
        "prediction": np.array([0, 1, 2, 0]),
        "confidence": np.array([0.9, 0.8, 0.6, 0.7]),
    }
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    made = {
        "name": f"run {EVIL}",
        "status": "finished",
        "headline": "accuracy",
        "config": CONFIG,
        "defaults": DEFAULTS,
        "events": EVENTS,
        "result": RESULT,
        "splits": {"test": Split(report(rows, LABELS), rows)},
        "galleries": [Gallery("Mistakes", "one", [Figure(red, LABELS[1], LABELS[2])])],
        "step": 150,
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5),
    }
    return Story(**{**made, **changes})


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, and its texts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.scripts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        within = self.elements[-1][0] if self.elements else ""
        (self.scripts if within in {"script", "style"} else self.texts).append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
