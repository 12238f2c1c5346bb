"""The results that README shows stand in the experiment records: the docstrings of configs."""

import re

import pytest
from pages import ROOT, read

ROWS = re.findall(r"^\| `(\w+)` \| (.*) \| (\d) \|$", read("README.md"), re.MULTILINE)
SCORE = re.compile(r"\d+\.\d+(?: ± \d\.\d)?")


@pytest.mark.parametrize(("config", "scores", "seeds"), ROWS)
def test_a_result_stands_in_its_record(config, scores, seeds):
    record = (ROOT / f"configs/{config}.py").read_text(encoding="utf-8").split('"""')[1]
    found = SCORE.findall(scores)
    assert found
    assert "Measured" in record
    for score in found:
        assert score in SCORE.findall(record), f"{score} is not in the record of {config}"
    phrase = {"1": r"[Ss]eed 0 alone", "3": "seeds 0 to 2", "5": "seeds 0 to 4"}[seeds]
    assert re.search(phrase, record)


def test_the_table_is_there():
    assert [config for config, _, _ in ROWS][:3] == ["digits", "mnist", "cifar10_reference"]
