"""The pages in a real browser, where one is installed: they draw, they follow the pointer."""

import json
import re
import shutil
import subprocess

import pytest
from stories import story

from imgrec_jax.report.run_report import run_report
from imgrec_jax.sweeps import page as comparison_page
from imgrec_jax.sweeps.results import Group, Record

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
EVIL = '<img src="http://evil.test/x" onerror="alert(1)">'
HOVER = """<script>
const plot = document.querySelector("CHART .plot"), box = plot.getBoundingClientRect();
const at = {clientX: box.left + 0.97 * box.width, clientY: box.top + 20, bubbles: true};
plot.dispatchEvent(new PointerEvent("pointermove", at));
</script></body>"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_hovering_over_a_curve_shows_its_values(tmp_path):
    """The browser says nothing on its console, neither of errors nor of what it may not load."""
    page = run_report(story())
    dom, console = seen_by_browser(page, tmp_path)
    assert dom.count('class="tip"') == 4  # of the four charts, put there by our script
    assert "CONSOLE" not in console, console
    forbidden, console = seen_by_browser(page.replace("</body>", HOVER), tmp_path)
    assert "Content Security Policy" in console  # a foreign script does not run
    assert 'class="plot followed"' not in forbidden
    assert hovered_over(page, "", tmp_path) == "|step 150||train 1||test 1.25"


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_curves_of_several_runs_are_hovered_over_together(tmp_path):
    """Two seeds of A, whose mean at step 20 is 0.75 ± 0.0707, and a run that goes on with B."""
    runs = [
        record(tmp_path / EVIL.replace("/", "-"), 0, (0.5, 0.7)),
        record(tmp_path / "b", 1, (0.5, 0.8)),
    ]
    other = record(tmp_path / "猫", 0, (0.9,), finished=False)
    groups = [Group(tuple(runs), {"augment": EVIL}), Group((other,), {"augment": ""})]
    page = comparison_page.write(groups, ["test_accuracy"])
    dom, console = seen_by_browser(page, tmp_path)
    assert "CONSOLE" not in console, console
    assert dom.count('class="tip"') == 2  # the curves, and seed by seed
    assert "<img" not in dom
    curves = "|step 20||A 0.75 ± 0.071||B 猫 (unfinished) 0.9 (step 10)"
    assert hovered_over(page, "[data-chart*=unfinished]", tmp_path) == curves
    assert hovered_over(page, "[data-chart*=places]", tmp_path, 0.3) == (
        "|A||seed 0 0.7||seed 1 0.8||mean A 0.75 ± 0.071"
    )


def record(folder, seed, accuracies, finished=True):
    """Return a run that was scored every 10 steps."""
    folder.mkdir()
    events = [
        {"kind": "eval", "step": 10 * n, "test_accuracy": accuracy}
        for n, accuracy in enumerate(accuracies, start=1)
    ]
    lines = "".join(f"{json.dumps(event)}\n" for event in events)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    result = {"status": "finished", "metrics": {"test_accuracy": accuracies[-1]}}
    return Record(folder, {"seed": seed}, result if finished else {})


def hovered_over(page, chart, folder, across=0.97):
    """Return what the page shows where the pointer is in a chart, told by a CSS selector."""
    open_page = re.sub(r'<meta http-equiv="[^>]*>', "", page)  # its policy allows no other script
    hover = HOVER.replace("CHART", chart).replace("0.97", str(across))
    dom, _ = seen_by_browser(open_page.replace("</body>", hover), folder)
    tip = re.search('class="plot followed".*?class="tip"[^>]*>(.*?)</div></div>', dom, re.DOTALL)
    assert tip
    return re.sub("<.*?>", "|", tip[1])


def seen_by_browser(page, folder):
    """Return what the document is once its scripts have run, and what the browser has logged."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr
