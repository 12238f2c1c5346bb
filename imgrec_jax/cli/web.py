"""Local web page of `predict --web`: upload an image and see the prediction.

Gradio renders the page; our own decoder decodes images. The page may not load anything from
other hosts, and uploads are deleted when the server stops.
"""

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.training.host.signals import stop_requests

MOST_BYTES = 25_000_000
"""Largest upload in bytes; larger ones are rejected before they are read."""

_TICK = 0.2  # seconds between two looks at whether to stop
_LARGEST_SHOWN = 1024  # pixels of the longer side; more would only cost time
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
)


def serve(run: Any, name: str, top: int, host: str, port: int) -> None:
    """Serve until Ctrl-C; the address is printed when the page is ready.

    Args:
        run: `trained.Run`.
        name: of the run, for display.
        top: how many labels to show.
        host: the address to listen on, such as 127.0.0.1.
        port: 0 for any free port.

    Raises:
        UsageError: Gradio is not installed, or the address cannot be taken.
    """
    port = _free_port(host, port)
    with tempfile.TemporaryDirectory(prefix="imgrec_jax_web_") as uploads:
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=uploads)
        os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
        try:
            page = _page(run, name, top)
        except ImportError as error:
            raise UsageError(
                f"expected Gradio for --web, got '{error}'; try pip install 'imgrec_jax[web]'"
            ) from error
        # Not mounted in our own application: Gradio would then serve any file of the machine.
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=MOST_BYTES,
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            app_kwargs={"middleware": _middleware(host)},
        )
        print(f"Serving {name} on http://{host}:{port}", flush=True)
        print("\nNext: open it in a browser and upload an image; Ctrl-C stops it", flush=True)
        with stop_requests() as stop_requested:
            while not stop_requested():
                time.sleep(_TICK)
        page.close(verbose=False)


def answer(
    run: Any, data: bytes, name: str, top: int
) -> tuple[np.ndarray, dict[str, float], np.ndarray | None, str]:
    """Return an uploaded image, its best labels or drawing, and a text.

    Raises:
        UserError: it cannot be decoded or converted to an input of the network.
    """
    from imgrec_jax.core.presentation import row_of
    from imgrec_jax.data.images.bit_depth import as_rgb
    from imgrec_jax.data.images.decode import decode
    from imgrec_jax.data.images.read import fit_images

    image = decode(data, name, channels=run.image_shape[-1], dtype=run.config.data.dtype)
    shown, show = as_rgb(image), run.presentation
    if show.draw:
        outputs = run.look(image)
        *_, drawn = show.draw(outputs, shown, run.facts).values()
        words = show.phrase(show.record(outputs, run.facts))
        return _shrunk(shown), {}, _shrunk(drawn), words
    fitted = fit_images(
        image[None], run.image_shape, run.config.data.dtype, run.config.data.center_crop, name
    )
    record = show.record(row_of(run.predict(fitted), 0), run.facts)
    if not show.ranked:
        return _shrunk(shown), {}, None, show.phrase(record)
    by_label = {entry["label"]: entry["probability"] for entry in record["top"][:top]}
    words = ", ".join(f"{label} {100 * part:.1f} %" for label, part in by_label.items())
    return _shrunk(shown), by_label, None, words


def _page(run: Any, name: str, top: int) -> Any:
    import gradio as gr  # pyright: ignore[reportMissingImports] - an extra

    draws, ranked = bool(run.presentation.draw), run.presentation.ranked

    def predict(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return None, None, None, ""
        try:
            data = Path(path).read_bytes()
            image, labels, drawn, words = answer(run, data, Path(path).name, top)
        except UserError as error:
            return None, None, None, str(error)
        return image, labels or None, drawn, words

    with gr.Blocks(title=name, analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown(f"## Predictions of {run.config.model.name}")
        with gr.Row():
            with gr.Column():
                upload = gr.File(label="Drop an image here", file_count="single", type="filepath")
                image = gr.Image(label="Image", height=320, interactive=False, buttons=[])
            with gr.Column():
                words = gr.Textbox(label="Answer", interactive=False, lines=2, max_lines=8)
                labels = gr.Label(label="Probabilities", num_top_classes=top, visible=ranked)
                drawn = gr.Image(label="Drawn", visible=draws, interactive=False, buttons=[])
                gr.HTML(_legend(run), visible=draws)
        outputs = [image, labels, drawn, words]
        upload.change(predict, upload, outputs, api_name="predict", show_progress="minimal")
    return page


def _legend(run: Any) -> str:
    """Return the drawn labels with their colours, as HTML."""
    from imgrec_jax.report.html import tag

    names = run.presentation.legend(run.facts)
    return tag(
        "p",
        [
            (tag("b", "\N{BLACK SQUARE} ", style=f"color: rgb{color}"), f"{name}   ")
            for name, color in names
        ],
        style="white-space: pre-wrap",
    )


def _middleware(host: str) -> list[Any]:
    """Return middleware that accepts only these host names and sends our security policy."""
    from starlette.middleware import Middleware  # pyright: ignore[reportMissingImports]
    from starlette.middleware.trustedhost import (  # pyright: ignore[reportMissingImports]
        TrustedHostMiddleware,
    )

    if host == "0.0.0.0":
        return [Middleware(_Headers)]
    names = [host, "localhost", "127.0.0.1"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names), Middleware(_Headers)]


class _Headers:
    """Adds headers to the responses of an application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)


def _free_port(host: str, port: int) -> int:
    try:
        with socket.create_server((host, port)) as tried:
            return tried.getsockname()[1]
    except OSError as error:
        raise UsageError(
            f"expected a free port to serve on, got {host}:{port} ({error}); try --port=0"
        ) from error


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """Return an image whose sides are at most `_LARGEST_SHOWN` pixels."""
    from imgrec_jax.data.images.decode import stretch

    factor = _LARGEST_SHOWN / max(pixels.shape[:2])
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return stretch(pixels, (height, width)) if factor < 1 else pixels
