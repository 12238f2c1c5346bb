import json

import pytest

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.training.workdir.files import Workdir


@pytest.fixture
def workdir(tmp_path):
    made = Workdir(tmp_path / "run")
    made.create()
    return made


def test_json_comes_back_and_nan_is_null(workdir):
    workdir.write_json("result.json", {"a": float("nan"), "b": [1.5, {"c": "猫"}]})
    assert workdir.read_json("result.json") == {"a": None, "b": [1.5, {"c": "猫"}]}
    assert "猫" in (workdir.path / "result.json").read_text(encoding="utf-8")
    assert [p.name for p in workdir.path.iterdir()] == ["result.json"]


def test_a_missing_file_is_none_and_a_broken_one_is_named(workdir):
    assert workdir.read_json("config.json") is None
    (workdir.path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"expected a JSON object in .*config\.json"):
        workdir.read_json("config.json")


def test_events_after_a_step_are_forgotten(workdir):
    for step in (10, 20, 30):
        workdir.append_metrics({"step": step, "loss": step / 10})
    workdir.forget_metrics_after(20)
    assert workdir.read_metrics() == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}]


def test_a_line_that_a_crash_cut_off_is_left_out(workdir):
    workdir.append_metrics({"step": 1})
    with (workdir.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "lo')
    assert workdir.read_metrics() == [{"step": 1}]
    workdir.forget_metrics_after(5)
    workdir.append_metrics({"step": 2})
    lines = (workdir.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1}, {"step": 2}]


def test_a_first_line_that_a_crash_cut_off_does_not_spoil_the_next(workdir):
    (workdir.path / "metrics.jsonl").write_text('{"step": 1, "lo', encoding="utf-8")
    workdir.forget_metrics_after(0)
    workdir.append_metrics({"step": 1})
    assert workdir.read_metrics() == [{"step": 1}]


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_json_that_is_no_object_is_refused(workdir, content):
    (workdir.path / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="expected a JSON object"):
        workdir.read_json("result.json")


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"expected a folder that can be written to, got .*file"):
        Workdir(tmp_path / "file" / "run").create()


def test_a_bucket_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"expected a folder, got gs://b/run, .*try to mount it"):
        Workdir("gs://b/run")
