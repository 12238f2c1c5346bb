"""The end of a training on the terminal: short however many labels there are."""

from imgrec_jax.cli.summary import summary
from imgrec_jax.core.text_table import display_width, listing

RESULT = {
    "step": 1234,
    "selected_on": "val_miou",
    "metrics": {
        **{"val_loss": 0.5, "val_miou": 0.25, "val_iou_猫": 0.5, "val_iou_b": 0.0},
        **{"test_loss": None, "test_miou": 0.125, "test_iou_猫": 0.25, "test_boundary_f1": 0.75},
    },
    "seconds": {"compile": 1.0, "train": 2000.0, "eval": 3.0, "save": 4.0, "total": 2008.4},
    "examples_per_second": 1234.5,
}


def test_scores_of_splits_stand_side_by_side_and_those_of_classes_are_counted(tmp_path):
    (tmp_path / "result.json").touch()
    lines = summary(RESULT, ("猫", "b"), str(tmp_path), trained=True)
    assert lines[:11] == [
        f"Finished: {tmp_path}",
        "  scored  step 1,234 (the best by val_miou, so val is optimistic)",
        "                          val        test",
        "          loss         0.5000  not finite",
        "          miou         0.2500      0.1250",
        "          boundary f1       -      0.7500",
        "          and 2 of single classes, see below",
        "  time    2,008 s (compile 1, train 2,000, eval 3, save 4), 1,234 images/s",
        f"  files   result.json in {tmp_path}",
        "",
        "Next:",
    ]
    assert lines[11].startswith(f"  python -m imgrec_jax evaluate {tmp_path} ")


def test_a_run_that_is_finished_is_called_so_and_names_are_quoted():
    lines = summary({**RESULT, "selected_on": "last"}, (), "my run", trained=False)
    assert lines[0] == "This run is finished: my run"
    assert "(the last; no val split to choose by)" in lines[1]
    assert "predict 'my run' IMAGE" in "\n".join(lines)
    assert "--resume=accept-changes" in lines[-1]


def test_long_values_are_broken_to_the_width_of_the_terminal():
    rows = {"model": "convnet", "data": "npz:数据/颜色.npz (train 160, test 200; 8x8x3)"}
    assert listing(rows, 30) == [
        "model  convnet",
        " data  npz:数据/颜色.npz",
        "       (train 160, test 200;",
        "       8x8x3)",
    ]
    assert all(display_width(line) <= 30 for line in listing(rows, 30))
    assert listing(rows)[1] == " data  npz:数据/颜色.npz (train 160, test 200; 8x8x3)"
    assert listing({"a": "x" * 50}, 20) == ["a  " + "x" * 50]  # a path is never cut
