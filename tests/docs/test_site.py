"""The site: built without a warning, asks for nothing from outside, and every page is in it."""

import re
import shutil
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

from imgrec_jax.build.preprocessing import AUGMENTATIONS
from imgrec_jax.config import known_configs


def test_every_page_is_in_the_navigation():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {
        name
        for tree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for name in re.findall(r"^[\w.-]+$", tree, re.MULTILINE)
    }
    assert listed == {path.stem for path in DOCS.glob("*.md")} - {"index"}


def build(source, out):
    options = ["-q", "--fail-on-warning", "--keep-going", "-b", "html"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, source, out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(DOCS, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_outside(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for path in [*pages, *site.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)", text)
        loaded += re.findall(r"<link[^>]*\shref=\"([^\"]+)", text)
        loaded += re.findall(r"(?:url\(|@import )[\"']?([^\"')\s]+)", text)
        external = [address for address in loaded if re.match(r"(https?:)?//", address)]
        assert not external, f"{path.name} loads {external}"


@pytest.mark.slow
def test_links_between_pages_lead_somewhere(site):
    count = 0
    for path in site.rglob("*.html"):
        for address in re.findall(r"<a [^>]*href=\"([^\"]+)", path.read_text(encoding="utf-8")):
            if re.match(r"https?:|mailto:", address):
                continue
            name, _, place = address.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), f"{path.name} links to {address}"
            if place and target.suffix == ".html" and place != "":
                assert f'id="{place}"' in target.read_text(encoding="utf-8"), address
            count += 1
    assert count > 500


@pytest.mark.slow
def test_what_is_read_from_the_code_is_there(site):
    recipes = (site / "recipes.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in recipes for name in known_configs())
    assert "79.9 ± 0.2 %" in recipes
    assert recipes.index(">cifar10<") < recipes.index(">imagenet_vit_s16<")  # measured first
    api = (site / "api.html").read_text(encoding="utf-8")
    assert all(f".{name}" in api for name in AUGMENTATIONS)
    linked = (site / "code/examples/minimal.py.html").read_text(encoding="utf-8")
    assert '<span id="L-36">' in linked
    chinese = (site / "five_minutes.zh-CN.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in chinese


@pytest.mark.slow
def test_a_broken_link_ends_the_build(tmp_path):
    shutil.copytree(DOCS / "_extensions", tmp_path / "docs/_extensions")
    shutil.copy(DOCS / "conf.py", tmp_path / "docs")
    for text, missing in (
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](../no/file.py#L3)", "no/file.py"),
    ):
        (tmp_path / "docs/index.md").write_text(f"# Title\n\n{text}\n", encoding="utf-8")
        done = build(tmp_path / "docs", tmp_path / "out")
        assert done.returncode == 1
        assert missing in done.stderr
