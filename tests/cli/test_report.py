import csv
import html
import io
import json
import math
import re
from pathlib import Path

import pytest

from imgrec_jax.__main__ import main
from imgrec_jax.sweeps.results import Group, Record, estimate, score

BASE = {"seed": 0, "batch_size": 64, "log": {"every_steps": 50}, "optim": {"learning_rate": 0.1}}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return a function that leaves what a run leaves."""
    monkeypatch.chdir(tmp_path)

    def make(name, seed, accuracy, *, data="images", finished=True, **changes):
        (tmp_path / name).mkdir()
        config = {**BASE, "seed": seed, **changes}
        (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if finished:
            metrics = {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
            result = {"status": "finished", "metrics": metrics, "data_fingerprint": data}
            (tmp_path / name / "result.json").write_text(json.dumps(result), encoding="utf-8")
        return name

    return make


def report(capsys, *arguments):
    status = main(["report", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def test_seeds_are_one_row_and_other_configs_are_compared_in_pairs(runs, capsys):
    slow = [runs(f"slow{s}", s, a) for s, a in ((0, 0.70), (1, 0.72), (2, 0.74))]
    rate = {"optim": {"learning_rate": 0.2}}
    fast = [runs(f"fast{s}", s, a, **rate) for s, a in ((0, 0.71), (1, 0.74), (3, 0.90))]
    status, out, err = report(capsys, *slow, *fast, "--metrics=test_accuracy", "--format=csv")
    assert (status, err) == (0, "")
    head, first, second = rows_of(out)
    paired = "test_accuracy, paired"
    assert head == ["runs", "n", "test_accuracy", paired, "differs from the first in"]
    assert first == ["slow*", "3", "0.7200 ± 0.0200", "", ""]
    difference = "+0.0150 (n = 2)"  # of seeds 0 and 1 alone: too few for an interval
    assert second == ["fast*", "3", "0.7833 ± 0.1021", difference, "optim.learning_rate=0.2"]


def test_keys_that_change_nothing_of_the_learning_part_no_runs(runs, capsys):
    names = [runs("a", 0, 0.5), runs("b", 1, 0.6, log={"every_steps": 1})]
    _, out, _ = report(capsys, *names, "--format=csv")
    assert [row[1] for row in rows_of(out)] == ["n", "2"]


def test_unfinished_runs_and_other_data_are_told(runs, capsys):
    names = [runs("a", 0, 0.5), runs("b", 0, 0.6, data="others", batch_size=8)]
    names += [runs("c", 1, 0.9, finished=False), runs("d", 0, 0.5)]
    _, out, err = report(capsys, *names, "--metrics=test_accuracy", "--format=csv")
    head, first, second = rows_of(out)
    assert "test_accuracy, paired" not in head
    assert [first[1], second[1]] == ["2", "1"]
    assert err.splitlines() == [
        "unfinished, left out: c",
        "the runs were scored on different data: these are not paired",
        "counted more than once, with one seed: a, ...",
    ]


def test_one_run_has_no_spread(runs, capsys):
    _, out, _ = report(capsys, runs("a", 0, 0.5), "--format=text")
    assert out.splitlines() == [
        "runs  n  test_accuracy  test_loss",
        "a     1         0.5000     0.5000",
    ]


def test_text_has_the_interval_of_each_mean(runs, capsys):
    """Student's, of 0.70, 0.72 and 0.74: 0.72 ± 4.303 * 0.02 / sqrt(3)."""
    names = [runs(f"a{seed}", seed, 0.70 + 0.02 * seed) for seed in range(3)]
    _, out, _ = report(capsys, *names, runs("b", 7, 0.5, batch_size=8), "--metrics=test_accuracy")
    assert out.splitlines()[:6] == [
        "runs  n    test_accuracy",
        "a*    3  0.7200 ± 0.0200",
        "b     1           0.5000",
        "",
        "95 % interval of the mean (Student's t)     test_accuracy",
        "a*                                       [0.6703, 0.7697]",
    ]


def test_text_has_differences_and_settings_below_the_scores(runs, capsys):
    names = [runs("a", 0, 0.5), runs("b", 0, 0.75, batch_size=8)]
    _, out, _ = report(capsys, *names, "--metrics=test_accuracy")
    assert out.splitlines() == [
        "runs  n  test_accuracy",
        "a     1         0.5000",
        "b     1         0.7500",
        "",
        "less the first, in pairs    test_accuracy",
        "b                         +0.2500 (n = 1)",
        "",
        "differs from the first in",
        "b                          batch_size=8",
    ]


def test_marks_of_the_formats_are_escaped(runs, capsys):
    names = [runs("a_1", 0, 0.5), runs("b", 0, 0.6, augment="flip|noise")]
    _, markdown, _ = report(capsys, *names, "--format=md", "--metrics=test_loss")
    assert markdown.splitlines()[1] == "| --- | --- | --- | --- | --- |"
    assert r"| augment=flip\|noise |" in markdown
    _, latex, _ = report(capsys, *names, "--format=latex", "--metrics=test_loss")
    assert latex.splitlines()[0] == r"\begin{tabular}{lrrrl}"
    assert r"a\_1 & 1 & 0.5000 &" in latex
    assert r"augment=flip\textbar{}noise \\" in latex


def test_a_page_sets_runs_side_by_side(runs, capsys, tmp_path):
    """As text, between tags: the same numbers as in the table, and what only the page holds."""
    names = [runs(f"<b>{s}", s, a) for s, a in ((0, 0.70), (1, 0.72))]
    names += [runs(f"fast{s}", s, a, augment="flip") for s, a in ((0, 0.71), (1, 0.74))]
    names += [
        runs("other", 0, 0.5, data="others", batch_size=8),
        runs("<b>2", 2, 0, finished=False),
    ]
    event = '{"kind": "eval", "step": 5, "test_accuracy": 0.25}\n'
    (tmp_path / "<b>2" / "metrics.jsonl").write_text(event, encoding="utf-8")
    status, out, _ = report(capsys, *names, "--format=html", "--out=page.html")
    assert status == 0
    assert out.startswith("Wrote page.html\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>0" not in page
    cells = re.sub("(<[^>]*>)+", "|", page)
    assert "|A|&lt;b&gt;*|2 + 1 unfinished|0.7100 ± 0.0141|" in cells
    assert "|B|fast*|+0.0150 (n = 2)|" in cells
    assert "|C|other|no pair|no pair|" in cells
    assert "|augment|null|&quot;flip&quot;|null|batch_size|64|64|8|" in cells
    assert "|A|&lt;b&gt;2|2|unfinished|-|-|-|-|-|-|" in cells
    charts = [json.loads(html.unescape(c)) for c in re.findall('data-chart="([^"]*)"', page)]
    assert charts[-1]["curves"] == [
        {"name": "A <b>2 (unfinished)", "color": 1, "x": [5], "y": [0.25]}
    ]
    assert charts[0]["places"] == ["A", "B", "C"]
    assert [(curve["name"], curve["x"], curve["y"]) for curve in charts[0]["curves"]] == [
        ("seed 0, data images", [0, 1], [0.7, 0.71]),
        ("seed 1, data images", [0, 1], [0.72, 0.74]),
        ("seed 0, data others", [2], [0.5]),
        ("mean A", [0], [0.71]),
        ("mean B", [1], [0.725]),
    ]


def test_a_page_that_cannot_be_written_is_told_in_one_line(runs, capsys):
    names = [runs("a", 0, 0.5), runs("b", 1, 0.5)]
    status, _, err = report(capsys, *names, "--format=html", "--out=nowhere/page.html")
    assert status == 1
    assert err.startswith("imgrec_jax: expected to write nowhere/page.html, got ")


def test_what_is_no_run_or_no_metric_is_told(runs, capsys, tmp_path):
    status, _, err = report(capsys, str(tmp_path / "nowhere"), "--format=md")
    assert status == 1
    assert err.startswith("imgrec_jax: expected the workdir of a run, got ")
    status, _, err = report(capsys, runs("a", 0, 0.5), "--metrics=test_acuracy", "--format=md")
    assert status == 2
    assert "did you mean 'test_accuracy'" in err


def test_two_runs_have_no_interval(runs, capsys):
    """Student's interval of 0.60 and 0.67 would be 0.19 to 1.08."""
    names = [runs("a0", 0, 0.60), runs("a1", 1, 0.67)]
    _, out, _ = report(capsys, *names, "--metrics=test_accuracy")
    assert out.splitlines() == ["runs  n    test_accuracy", "a*    2  0.6350 ± 0.0495"]


@pytest.mark.parametrize(
    ("metric", "proportion"),
    [
        ("test_accuracy", True),
        ("val_miou", True),
        ("test_iou_cat", True),
        ("test_ap50_of_dog", True),
        ("test_voc_ap50", True),
        ("test_boundary_f1", True),
        ("test_loss", False),
        ("test_psnr", False),
        ("test_iou_loss", False),
    ],
)
def test_intervals_of_proportions_are_bounded(metric, proportion):
    values = [0.98, 1.0, 0.9]
    group = Group(
        tuple(
            Record(
                Path(f"{seed}"), {"seed": seed}, {"status": "finished", "metrics": {metric: value}}
            )
            for seed, value in enumerate(values)
        ),
        {},
    )
    found = score(group, metric)
    assert (found.high == 1.0) == proportion
    assert found.low == pytest.approx(0.8285, abs=1e-4)
    assert estimate([-0.9, 0.9, -0.9], (-1.0, 1.0)).low == -1.0


def test_the_interval_is_students():
    """Of 1, 2, 3: mean 2, std 1, and 4.303 (two degrees of freedom) / sqrt 3 to both sides."""
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.std, found.n) == (2.0, 1.0, 3)
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(4.0 - found.high)
