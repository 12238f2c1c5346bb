import json

import pytest
from damages import DAMAGES, damage

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
    with pytest.raises(UserError, match=r"expected .*config\.json as the run has written it"):
        workdir.read_json("config.json")


def event(step, **scores):
    return {"kind": "train", "step": step, **scores}


def test_events_after_a_step_are_forgotten(workdir):
    for step in (10, 20, 30):
        workdir.append_metrics(event(step, loss=step / 10))
    workdir.forget_metrics_after(20)
    assert workdir.read_metrics() == [event(10, loss=1.0), event(20, loss=2.0)]


def test_an_evaluation_that_the_log_has_lost_comes_from_the_checkpoint(workdir):
    lost = {"kind": "eval", "step": 20, "test_loss": 0.5}
    workdir.append_metrics(event(20))
    for _ in range(2):
        workdir.forget_metrics_after(20, {"test_loss": 0.5})
        assert workdir.read_metrics() == [event(20), lost]


def test_a_line_that_a_crash_cut_off_is_left_out(workdir):
    workdir.append_metrics(event(1))
    with (workdir.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 2, "lo')
    assert workdir.read_metrics() == [event(1)]
    workdir.forget_metrics_after(5)
    workdir.append_metrics(event(2))
    lines = (workdir.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [event(1), event(2)]


def test_a_first_line_that_a_crash_cut_off_does_not_spoil_the_next(workdir):
    (workdir.path / "metrics.jsonl").write_text('{"step": 1, "lo', encoding="utf-8")
    workdir.forget_metrics_after(0)
    workdir.append_metrics(event(1))
    assert workdir.read_metrics() == [event(1)]


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "missing"])
def test_a_damaged_result_is_told_in_one_line(workdir, kind):
    result = {"status": "finished", "step": 3, "metrics": {}, "seconds": {}, "selected_on": "last"}
    workdir.write_json("result.json", result)
    assert workdir.read_result() == result
    assert damage(workdir.path / "result.json", kind)
    with pytest.raises(
        UserError, match=r"^expected \S+result.json as the run has written it, got .*$"
    ):
        workdir.read_result()


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_lines_of_the_log_are_left_out(workdir, kind, caplog):
    for step in (1, 2, 3):
        workdir.append_metrics(event(step, loss=0.5))
    lines = (workdir.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    middle = workdir.path / "middle"
    middle.write_bytes(lines[1])
    assert damage(middle, kind)
    spoilt = middle.read_bytes() if middle.exists() else b""
    (workdir.path / "metrics.jsonl").write_bytes(lines[0] + spoilt + lines[2])
    found = workdir.read_metrics()
    assert found[0] == event(1, loss=0.5)
    assert found[1:] in ([], [event(3, loss=0.5)], [event(2, loss=0.5), event(3, loss=0.5)])
    assert len(caplog.records) == (len(found) < 3 and bool(spoilt))
    workdir.forget_metrics_after(3)
    caplog.clear()
    assert workdir.read_metrics() == found
    assert not caplog.records


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "missing"])
def test_notes_that_a_run_can_do_without_are_forgotten(workdir, kind, caplog):
    workdir.write_json("broken_images.json", {"train": {"3": "cut"}})
    damage(workdir.path / "broken_images.json", kind)
    found = workdir.read_notes("broken_images.json")
    if kind == "another type":  # without a digest, as earlier versions have written it
        return
    assert found in ({}, {"train": {"3": "cut"}})
    assert len(caplog.records) <= 1


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_json_that_is_no_object_is_refused(workdir, content):
    (workdir.path / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="try the training command again"):
        workdir.read_json("result.json")


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"expected a folder that can be written to, got .*file"):
        Workdir(tmp_path / "file" / "run").create()


def test_a_bucket_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"expected a folder, got gs://b/run, .*try to mount it"):
        Workdir("gs://b/run")
