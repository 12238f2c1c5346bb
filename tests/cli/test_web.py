"""The page of `predict --web`: what it answers, what it refuses, and that nothing leaves it."""

import contextlib
import importlib.util
import io
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax.cli import predict, web
from imgrec_jax.core.errors import UserError

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
MISSING += [] if BROWSER else ["chromium"]
SERVER = """
import sys

def tell(event, arguments):
    if event == "socket.connect" and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("OUTSIDE", arguments[1], flush=True)

sys.addaudithook(tell)
from imgrec_jax.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def bomb():
    """Return a PNG whose header asks for 900 million pixels."""

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_the_best_labels_come_with_probabilities(trained):
    run = imgrec_jax.load(trained.workdir)
    large = np.zeros((4, 2000, 3), np.uint8) + np.uint8([220, 30, 30])
    image, labels, drawn, words = web.answer(run, png(large), "red.png", top=3)
    assert image.shape == (2, 1024, 3)
    assert len(labels) == 3
    assert next(iter(labels)) == "猫"
    assert labels["猫"] > 0.5 > sum(labels.values()) - labels["猫"]
    assert words.startswith(f"猫 {100 * labels['猫']:.1f} %, ")
    assert drawn is None


def test_bombs_and_broken_files_are_refused_in_one_line(trained):
    run = imgrec_jax.load(trained.workdir)
    for data, why in (
        (bomb(), "pixels"),
        (png(trained.images[0])[:-30], "intact"),
        (b"", "which is empty"),
    ):
        with pytest.raises(UserError, match=why) as refused:
            web.answer(run, data, "upload.png", top=3)
        assert "\n" not in str(refused.value)
        assert "upload.png" in str(refused.value)


def test_what_does_not_go_together_is_told(trained, capsys, monkeypatch):
    wrong = {"--web": [], "place": ["a.png", "--web"], "--json": ["--web", "--json"]}
    wrong["65535"] = ["--web", "--port=99999"]
    for message, arguments in wrong.items():
        with pytest.raises(SystemExit):
            predict.main([str(trained.workdir), *arguments])
        assert message in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setitem(sys.modules, "gradio", None)  # as where Gradio is not installed
    assert predict.main([str(trained.workdir), "--web", "--port=0"]) == 2
    assert "try pip install 'imgrec_jax[web]'" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert predict.main([str(trained.workdir), "--web", f"--port={port}"]) == 2
    assert "try --port=0" in capsys.readouterr().err


@contextlib.contextmanager
def served(workdir):
    """Yield the address of a page served by a process of its own, and what it has said at last."""
    command = [sys.executable, "-c", SERVER, "predict", str(workdir), "--web", "--port=0"]
    outputs = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        try:
            first = process.stdout.readline()
            yield re.search(r"http://127\.0\.0\.1:\d+", first)[0], outputs
        finally:
            process.send_signal(signal.SIGINT)
            outputs.append(process.communicate(timeout=60)[0])
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: extras web and browser")
def test_a_browser_sees_the_answer_and_asks_for_nothing_elsewhere(trained, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    files = {"a": png(trained.images[0]), "b": bomb(), "c": b"GIF89a"}
    for name, data in files.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    with served(trained.workdir) as (address, outputs), sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.goto(address)
        answers = {"a": r"^猫 \d+\.\d %, ", "b": "pixels", "c": "c.png"}
        for name, pattern in answers.items():
            page.set_input_files("input[type=file]", tmp_path / f"{name}.png")
            expect(page.get_by_label("Answer")).to_have_value(re.compile(pattern))
            if name == "a":
                expect(page.get_by_text("猫", exact=True).first).to_be_visible()
            page.get_by_label("Clear").first.click()
            expect(page.get_by_label("Answer")).to_have_value("")
        browser.close()
        assert not errors
        assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]
        check_refusals(address)
    assert "OUTSIDE" not in outputs[0]


def check_refusals(address):
    """Uploads that are too large, files of the machine, and other names of it."""
    border = "x" * 20
    body = (
        f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        f"{'0' * (web.MOST_BYTES + 1000)}\r\n--{border}--\r\n"
    )
    form = {"Content-Type": f"multipart/form-data; boundary={border}"}
    assert status_of(f"{address}/gradio_api/upload", body, form)[0] == 413
    file = {"path": __file__, "meta": {"_type": "gradio.FileData"}}
    status, text = status_of(
        f"{address}/gradio_api/call/predict",
        json.dumps({"data": [file]}),
        {"Content-Type": "application/json"},
    )
    if status == 200:
        status, text = status_of(
            f"{address}/gradio_api/call/predict/{json.loads(text)['event_id']}"
        )
        assert "event: error" in text
    assert status_of(address, None, {"Host": "evil.test"})[0] == 400


def status_of(address, body=None, headers=None):
    """Return status and text of an answer."""
    data = None if body is None else body.encode()
    request = urllib.request.Request(address, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
