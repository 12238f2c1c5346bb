"""The page in a real browser, where one is installed: it draws, it follows the pointer."""

import re
import shutil
import subprocess

import pytest
from stories import story

from imgrec_jax.report.run_report import run_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
HOVER = """<script>
const plot = document.querySelector(".plot"), box = plot.getBoundingClientRect();
const at = {clientX: box.left + 0.97 * box.width, clientY: box.top + 20, bubbles: true};
plot.dispatchEvent(new PointerEvent("pointermove", at));
</script></body>"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_hovering_over_a_curve_shows_its_values(tmp_path):
    """The browser says nothing on its console, neither of errors nor of what it may not load."""
    page = run_report(story())
    dom, said = seen_by_browser(page, tmp_path)
    assert dom.count('class="tip"') == 4  # of the four charts, put there by our script
    assert "CONSOLE" not in said, said
    forbidden, said = seen_by_browser(page.replace("</body>", HOVER), tmp_path)
    assert "Content Security Policy" in said  # a foreign script does not run
    assert 'class="plot followed"' not in forbidden
    open_page = re.sub(r'<meta http-equiv="[^>]*>', "", page)
    hovered, _ = seen_by_browser(open_page.replace("</body>", HOVER), tmp_path)
    tip = re.search(r'<div class="tip"[^>]*>(.*?)</div></div>', hovered)
    assert 'class="plot followed"' in hovered
    assert tip
    assert re.sub("<.*?>", "|", tip[1]) == "|step 150||train 1||test 1.25"


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
