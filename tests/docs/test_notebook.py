"""examples/restore_and_probe.ipynb runs from its first cell to its last, on a short run."""

import json
import re

import nbformat
import pytest
from pages import ROOT

import imgrec_jax

NOTEBOOK = ROOT / "examples/restore_and_probe.ipynb"


def test_it_carries_no_outputs():
    """What a run of it shows depends on the run."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 8
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_it_runs(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.chdir(tmp_path)
    imgrec_jax.train(imgrec_jax.get_config("digits", epochs=5, log__report=False), "runs/digits")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    about = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=about).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    images = [output for output in outputs if "image/png" in output.get("data", {})]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert len(images) == 5
    accuracy = float(re.search(r"([\d.]+) of 364 test images are right", printed)[1])
    assert accuracy > 0.8
    left = dict(re.findall(r"(untouched|without named|without random)\D+ ([\d.]+)", printed))
    assert float(left["without named"]) < float(left["without random"]) < float(left["untouched"])
