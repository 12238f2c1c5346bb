import base64
import hashlib
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from stories import EVENTS, EVIL, LABELS, Elements, story

from imgrec_jax.report import calibration, curves, tables
from imgrec_jax.report.html import Html, join, tag
from imgrec_jax.report.images import encode
from imgrec_jax.report.run_report import run_report


@pytest.fixture(scope="module")
def page():
    return run_report(story())


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page)


def test_what_is_not_html_is_escaped():
    made = tag("p", "<b>", Html("<i></i>"), ["a", 1], class_="x", data_of='"<', hidden=True, id="")
    assert made == '<p class="x" data-of="&quot;&lt;" hidden>&lt;b&gt;<i></i>a1</p>'
    assert join(["<", Html("<br>")]) == "&lt;<br>"


def test_nothing_on_the_page_leads_out(page, elements):
    """Addresses are data or places on the page; a policy forbids the rest to the browser."""
    for name, attributes in elements.elements:
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert attributes.get(key, "#").startswith(("#", "data:")), (name, attributes)
        assert name not in {"a", "iframe", "object", "embed", "form", "base"}
    without = re.sub(r"src=http://evil", "", page)  # a label, which is text
    assert "://" not in without
    assert "//" not in re.sub(r"// .*|base64,[^\"]*", "", without)
    assert not re.findall(r"url\((?!#)|@import", page)
    (policy,) = [m["content"] for m in elements.named("meta") if "http-equiv" in m]
    (script,) = [text for text in elements.scripts if "use strict" in text]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; ")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_text(page, elements):
    assert len(elements.named("script")) == 1
    assert page.count("alert(") == page.count("&lt;script&gt;alert(") + page.count("onerror=alert(")
    shown = "".join(elements.texts)
    for text in ("猫", EVIL, LABELS[2], "folder:/tmp/&<b>", f"run {EVIL}"):
        assert text in shown
    assert {"alt": EVIL}.items() <= elements.named("img")[0].items()


def test_scores_stand_first_with_their_interval(elements):
    shown = "|".join(elements.texts)
    assert (
        "test accuracy|0.7500|0.1941 to 0.9937 (95 %, Clopper-Pearson); 3 of 4|test loss|1.2500"
        in shown
    )
    assert "At step 150 (the last; there is no val split to choose by)." in shown
    assert "this run|default|data.source" in shown
    assert "seed|3|0" in shown


def test_curves_carry_their_numbers(elements):
    drawn = [json.loads(f["data-chart"]) for f in elements.named("figure") if "data-chart" in f]
    named = [[(c["name"], c["color"], c["x"], c["y"]) for c in chart["curves"]] for chart in drawn]
    assert named == [
        [("train", 1, [50, 150], [2.0, 1.0]), ("test", 3, [75, 150], [1.5, 1.25])],
        [("test", 3, [75, 150], [0.5, 0.75])],
        [("learning rate", 4, [50, 100, 150], [0.1, 0.05, 0.025])],
        [("images per second", 4, [50], [9000.0])],
    ]


def test_the_hover_knows_where_the_curve_was_drawn():
    """The last point of the drawn line is where box and limits say it is."""
    (chart,) = curves.charts([e for e in EVENTS if e["kind"] == "eval"][:2], first=())[:1]
    parsed = Elements(chart)
    content = json.loads(parsed.named("figure")[0]["data-chart"])
    left, top, right, bottom = content["box"]
    (curve,) = content["curves"]
    x = 420 * (left + (right - left) * (curve["x"][-1] - content["x"][0]) / np.ptp(content["x"]))
    y = 230 * (bottom - (bottom - top) * (curve["y"][-1] - content["y"][0]) / np.ptp(content["y"]))
    (line,) = [p["d"] for p in parsed.named("path") if "var(--series-3)" in p.get("style", "")][:1]
    assert [float(n) for n in line.split()[-2:]] == pytest.approx([x, y], abs=0.05)


def test_long_curves_are_thinned_with_both_ends():
    events = [{"kind": "train", "step": k, "train_loss": float(k)} for k in range(1, 5001)]
    (chart,) = curves.charts(events)
    content = json.loads(Elements(chart).named("figure")[0]["data-chart"])
    steps = content["curves"][0]["x"]
    assert (len(steps), steps[0], steps[-1]) == (400, 1, 5000)


def test_a_run_without_anything_has_a_page():
    page = run_report(story(status="running", events=[], result={}, splits={}, galleries=()))
    assert "running" in page
    assert "Learning curves" not in page
    assert "Confusion" not in page


def test_many_classes_become_an_image_and_the_worst_rows():
    names = [f"class {k}" for k in range(300)]
    counts = 5 * np.eye(300, dtype=int)
    counts[7, 8] = 4
    shown = Elements(tables.confusion(counts.tolist(), names))
    assert not shown.named("td")[3:]
    assert "class 7|predicted as |class 8|4 of 9" in "|".join(shown.texts)
    assert shown.named("image")[0]["href"].startswith("data:image/png")
    scores = [{"name": name, "n": 5, "f1": k / 300} for k, name in enumerate(names)]
    rows = Elements(tables.class_table(scores[::-1]))
    assert len(rows.named("tr")) == 201
    assert "class 0" in rows.texts
    assert "class 200" not in rows.texts


def test_scores_of_other_tasks_are_a_table():
    shown = tables.class_table(
        {"cell": {"ap": 0.25, "boxes": 1200}, "dust": {"ap": None, "boxes": 0}}
    )
    assert "class|ap|boxes|cell|0.2500|1,200|dust|-|0" in "|".join(Elements(shown).texts)


def test_calibration_bins_are_closed_above():
    counts, sure, right = calibration.binned(
        np.array([1 / 15, 0.1, 1.0, 0.97]), np.array([True, False, True, False])
    )
    assert counts[[0, 1, 14]].tolist() == [1, 1, 2]
    assert sure[14] == pytest.approx(0.985)
    assert right[[0, 1, 14]].tolist() == [1.0, 0.0, 0.5]
    assert np.isnan(right[5])


def test_small_images_are_exact_and_large_ones_shrunk():
    small = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    kind, data = encode(small, 160).split(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == small).all()
    kind, data = encode(np.zeros((1000, 500, 3), np.uint8), 160).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (80, 160)


def test_a_page_does_without_pyplot_and_a_start_without_matplotlib():
    code = """
import sys
import imgrec_jax.runs.api, imgrec_jax.runs.reporter
assert "matplotlib" not in sys.modules
from imgrec_jax.report.curves import charts
assert charts([{"kind": "train", "step": 1, "train_loss": 1.0}])
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
