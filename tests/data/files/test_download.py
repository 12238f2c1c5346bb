"""Downloads against a server on the loopback, with its whims."""

import hashlib
import http.server
import inspect
import socket
import threading
from collections import namedtuple
from dataclasses import dataclass, field

import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.download import download

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


@dataclass
class Server:
    """What the server does, and what it was asked."""

    url: str = ""
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes sent in the first requests, then all
    stalls: bool = False  # keep the connection open after a cut
    status: int = 200
    range_headers: list[str | None] = field(default_factory=list)  # the Range headers
    paths: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            state.range_headers.append(self.headers.get("Range"))
            state.paths.append(self.path)
            start = 0
            if state.status != 200:
                self.send_error(state.status)
                return
            if state.ranges and state.range_headers[-1]:
                start = int(state.range_headers[-1].removeprefix("bytes=").removesuffix("-"))
                if start >= len(PAYLOAD):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(PAYLOAD) - 1}/*")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(PAYLOAD) - start))
            self.end_headers()
            end = start + state.cuts.pop(0) if state.cuts else len(PAYLOAD)
            self.wfile.write(PAYLOAD[start:end])
            if state.stalls and end < len(PAYLOAD):
                state.over.wait()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        state.url = f"http://127.0.0.1:{httpd.server_port}/set.bin"
        yield state
        state.over.set()
        httpd.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_in_a_new_folder(server, tmp_path):
    target = download(server.url, tmp_path / "new" / "set.bin", sha256=SHA256)
    assert target == tmp_path / "new" / "set.bin"
    assert target.read_bytes() == PAYLOAD
    assert names(target.parent) == ["set.bin"]
    assert server.range_headers == [None]


def test_a_file_that_stands_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(PAYLOAD)
    download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert server.range_headers == []


def test_a_cut_connection_is_resumed_in_the_same_call(server, tmp_path):
    server.cuts = [300_000, 200_000]
    target = download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert target.read_bytes() == PAYLOAD
    assert server.range_headers == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_ended(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(PAYLOAD[:1000])
    target = download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert target.read_bytes() == PAYLOAD
    assert server.range_headers == ["bytes=1000-"]
    assert names(tmp_path) == ["set.bin"]


def test_a_part_that_is_the_whole_is_only_checked(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(PAYLOAD)
    target = download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert target.read_bytes() == PAYLOAD
    assert server.range_headers == ["bytes=1048576-"]


def test_a_server_without_ranges_sends_the_whole_again(server, tmp_path):
    server.ranges = False
    server.cuts = [300_000]
    target = download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert target.read_bytes() == PAYLOAD
    assert server.range_headers == [None, "bytes=300000-"]


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(server, tmp_path):
    server.ranges = False
    server.cuts = [300_000] * 20
    with pytest.raises(UserError, match=r"ended after 300,000 of 1,048,576 bytes"):
        download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert len(server.range_headers) == 2
    assert names(tmp_path) == ["set.bin.part"]


def test_a_wrong_checksum_leaves_no_file_and_one_line(server, tmp_path):
    with pytest.raises(UserError) as error:
        download(server.url, tmp_path / "set.bin", sha256="0" * 64)
    assert names(tmp_path) == []
    assert SHA256 in str(error.value)
    assert "1,048,576 bytes, removed" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stalled_transfer_is_given_up(server, tmp_path):
    server.cuts = [1000, 0]
    server.stalls = True
    with pytest.raises(UserError, match="no byte for too long"):
        download(server.url, tmp_path / "set.bin", sha256=SHA256, stall_seconds=0.2)
    assert server.range_headers == [None, "bytes=1000-"]
    assert (tmp_path / "set.bin.part").read_bytes() == PAYLOAD[:1000]


def test_a_missing_file_is_asked_for_once(server, tmp_path):
    server.status = 404
    with pytest.raises(UserError, match=r"/set.bin, got: HTTP 404 Not Found; try"):
        download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert server.range_headers == [None]
    assert names(tmp_path) == []


def test_a_proxy_is_used_for_a_host_that_cannot_be_reached(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/set.bin"))
    target = download("http://far.invalid/set.bin", tmp_path / "set.bin", sha256=SHA256)
    assert target.read_bytes() == PAYLOAD
    assert server.paths == ["http://far.invalid/set.bin"]


def test_a_name_whose_look_up_hangs_is_given_up(server, tmp_path, monkeypatch):
    def look_up(*_, **__):
        server.over.wait()
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(UserError, match=r"no answer within 0.2 s"):
        download(
            "http://far.invalid/set.bin",
            tmp_path / "set.bin",
            sha256=SHA256,
            connect_seconds=0.2,
        )


def test_an_address_that_nobody_answers(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/set.bin"
        with pytest.raises(UserError, match=r"got: .*refused"):
            download(url, tmp_path / "set.bin", sha256=SHA256)


@pytest.mark.parametrize("url", ["set.bin", "htp://127.0.0.1/set.bin", "http://[::1/set.bin"])
def test_an_address_that_is_none(url, tmp_path):
    with pytest.raises(UserError, match="expected to download"):
        download(url, tmp_path / "set.bin", sha256=SHA256)


def test_the_longest_silences_add_up_to_less_than_fifteen_seconds():
    parameters = inspect.signature(download).parameters
    assert parameters["connect_seconds"].default + parameters["stall_seconds"].default < 15


def test_a_full_disk_is_told_before_the_transfer(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 1 << 19))
    with pytest.raises(UserError, match=r"expected 1 MiB free in .* got 0 MiB"):
        download(server.url, tmp_path / "set.bin", sha256=SHA256)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="expected to write into"):
        download(server.url, tmp_path / "file" / "set.bin", sha256=SHA256)
