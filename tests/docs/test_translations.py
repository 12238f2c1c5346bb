"""Pages in Chinese have the code, the links and the numbers of the English ones."""

import re

import pytest
from pages import PAGES, blocks, read

CHINESE = [page for page in PAGES if page.endswith(".zh-CN.md")]
LINK = re.compile(r"\[`([^`]+)`\]\(([^)]+)\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?: ± \d+\.\d+)?")


def english(page):
    return page.replace(".zh-CN.md", ".md")


def test_the_pages_are_there():
    translated = {"README.md", "docs/five_minutes.md", "docs/from_formula_to_code.md"}
    assert {english(page) for page in CHINESE} == translated <= set(PAGES)


@pytest.mark.parametrize("page", CHINESE)
def test_the_code_is_equal(page):
    ours, theirs = blocks(page), blocks(english(page))
    assert [(b.language, b.text) for b in ours] == [(b.language, b.text) for b in theirs]
    assert LINK.findall(read(page)) == LINK.findall(read(english(page)))
    assert blocks(page) or LINK.findall(read(page))


def test_the_table_of_results_has_equal_numbers():
    rows = [
        [NUMBER.findall(line) for line in read(page).splitlines() if line.startswith("| `")]
        for page in ("README.md", "README.zh-CN.md")
    ]
    assert len(rows[0]) == 6
    assert rows[0] == rows[1]


@pytest.mark.parametrize("page", CHINESE)
def test_it_is_in_chinese(page):
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", read(page))
    chinese, latin = len(re.findall(r"[一-鿿]", prose)), len(re.findall(r"[A-Za-z]{3,}", prose))
    assert chinese > 3 * latin
