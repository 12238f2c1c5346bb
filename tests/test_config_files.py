"""Config files: those of the package, a user's, and what is wrong with some."""

import subprocess
import sys

import pytest
from ml_collections import ConfigDict

import imgrec_jax
from imgrec_jax import get_config, start_from
from imgrec_jax.config_files import config_folder, known_configs
from imgrec_jax.core.errors import UsageError

CONFIG = """
from imgrec_jax import start_from

def get_config():
    config = start_from("cifar10")
    config.epochs = 3
    return config
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a config file and returns its path."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_copy_to_start_from_can_be_changed_and_is_nobody_elses():
    config = start_from("base")
    assert not config.is_locked
    config.epochs = 7
    config.optim.adam.b1 = 0.5
    config.mine = "new"
    again = start_from("base")
    assert (again.epochs, again.optim.adam.b1, "mine" in again) == (20, 0.9, False)
    assert get_config("base").is_locked


def test_every_config_of_the_package_starts_from_another():
    for name in known_configs():
        assert start_from(name).to_dict() == get_config(name).to_dict()
        text = (config_folder() / f"{name}.py").read_text(encoding="utf-8")
        assert text.count('    config = start_from("') == 1


def test_a_file_starts_from_a_recipe_or_from_another_file(write):
    path = write(CONFIG)
    assert get_config(str(path)).epochs == 3
    assert get_config(str(path)).model.name == get_config("cifar10").model.name
    write(
        "from pathlib import Path\nfrom imgrec_jax import start_from\n\n"
        "def get_config():\n"
        "    config = start_from(Path(__file__).with_name('mine.py'))\n"
        "    config.batch_size = 8\n"
        "    return config\n",
        "smaller.py",
    )
    config = get_config(str(path.with_name("smaller.py")), seed=4)
    assert (config.epochs, config.batch_size, config.seed) == (3, 8, 4)


def test_a_file_is_read_anew_and_leaves_no_module_behind(write):
    before = dict(sys.modules)
    path = write(CONFIG)
    get_config(str(path))
    write(CONFIG.replace("= 3", "= 30"))
    assert get_config(str(path)).epochs == 30
    assert sys.modules == before


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        ("from .base import get_config as get_base", "config = start_from('base')"),
        ("from .cifar10 import get_config as get_base", "config = start_from('cifar10')"),
        ("from . import base", "config = start_from('base')"),
        ("from .own import get_config", "start_from(Path(__file__).with_name('own.py'))"),
    ],
)
def test_files_of_an_earlier_version_are_told_what_to_write(write, line, replacement):
    path = write(f"{line}\n\ndef get_config():\n    return get_base()\n")
    with pytest.raises(UsageError) as caught:
        get_config(str(path))
    message = str(caught.value)
    assert message.startswith(f"expected {path} without relative imports, got '{line}'; try 'from ")
    assert message.endswith(replacement)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "got ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "expected get_config\\(\\) in .*mine.py, got AttributeError"),
        ("def get_config(:", "got SyntaxError"),
        ("def get_config(): return {}", "expected a ConfigDict .*got dict; try to return"),
        (CONFIG.replace("cifar10", "cifra10"), "mine.py, got UsageError: unknown config 'cifra10'"),
        (CONFIG.replace("start_from(", "ConfigDict({}) or start_from("), "NameError"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict()",
            "expected all keys of the base config in .*try to start from imgrec_jax.start_from",
        ),
    ],
)
def test_files_that_make_no_config(write, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        get_config(str(write(text)))
    assert "\n" not in str(caught.value)


def test_the_command_line_takes_a_file_without_loading_jax(write):
    path = write(CONFIG)
    code = (
        "import sys; from imgrec_jax.config import parse_command_line as parse; "
        f"print(parse(['--config={path}', '--config.seed=5']).config.epochs, 'jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path.parent
    )
    assert done.stdout.split() == ["3", "False"]


def test_the_package_offers_it():
    assert "start_from" in imgrec_jax.__all__
    assert isinstance(imgrec_jax.start_from("digits"), ConfigDict)
