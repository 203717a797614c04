"""Downloads, against a server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from common.data import download, emnist, mnist
from common.data.download import Remote, fetch
from common.data.idx import write_idx
from common.errors import UserError
from common.tests.loading import load

CONTENT = np.random.default_rng(0).bytes(300_000)


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves `files`; `faults` holds the fault of each path, `asked` the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []

    def remote(self, *paths: str, content: bytes = CONTENT) -> Remote:
        """The file at those paths, one after the other."""
        urls = tuple(f"http://127.0.0.1:{self.server_port}{path}" for path in paths)
        return Remote(file_name="file.gz", urls=urls, known_hash=md5(content))


class Handler(BaseHTTPRequestHandler):
    """Answers with a whole file, with the rest of a file from a byte on, or with the fault of its path."""

    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        fault = self.server.faults.get(self.path, "")
        content = self.server.files.get(self.path)
        if fault.isdigit() or content is None:
            self.send_error(int(fault or 404))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fault != "no ranges" else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8" if fault == "html" else "application/x-gzip")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            first = 0 if fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:200_000] if fault == "breaks off" else content[start:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.files["/file.gz"] = CONTENT
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FOURHANDS_DATA", raising=False)
    monkeypatch.setattr(download.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))


def test_a_download_arrives_whole_and_is_not_repeated(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert fetch(server.remote("/file.gz"), tmp_path / "new" / "folder").read_bytes() == CONTENT
    assert server.asked == [("/file.gz", None)]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["file.gz"]
    assert capfd.readouterr() == ("", "")  # no terminal, no progress


def test_interrupted_download_continues_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.faults["/file.gz"] = "breaks off"
    with pytest.raises(UserError, match=r"could not download file.gz: http.* broke off .*what has arrived is kept"):
        fetch(server.remote("/file.gz"), tmp_path)
    assert not (tmp_path / "file.gz").exists()
    kept = (tmp_path / "file.gz.part").stat().st_size
    assert 0 < kept <= 200_000
    server.faults.clear()
    assert fetch(server.remote("/file.gz"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/file.gz", None), ("/file.gz", f"bytes={kept}-")]
    assert [path.name for path in tmp_path.iterdir()] == ["file.gz"]


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:1000])
    server.faults["/file.gz"] = "no ranges"
    assert fetch(server.remote("/file.gz"), tmp_path).read_bytes() == CONTENT


def test_complete_part_is_used_without_a_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT)
    assert fetch(server.remote("/file.gz"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/file.gz", f"bytes={len(CONTENT)}-")]


def test_answer_with_another_range_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:1000])
    server.faults["/file.gz"] = "wrong range"
    with pytest.raises(UserError, match="another part of the file than the one from byte 1000"):
        fetch(server.remote("/file.gz"), tmp_path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("403", "answered 403 Forbidden"), ("404", "answered 404 Not Found"), ("html", "answered with a web page")],
)
def test_error_names_the_answer_of_the_server(server: Server, tmp_path: Path, fault: str, message: str) -> None:
    server.faults["/file.gz"] = fault
    with pytest.raises(UserError, match=message) as raised:
        fetch(server.remote("/file.gz"), tmp_path)
    assert f"http://127.0.0.1:{server.server_port}/file.gz" in str(raised.value)
    assert "FOURHANDS_DATA" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_hash_is_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"whose hash is not {md5(b'other')}"):
        fetch(server.remote("/file.gz", content=b"other"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_part_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(bytes(1000))
    with pytest.raises(UserError, match="whose hash is not"):
        fetch(server.remote("/file.gz"), tmp_path)
    assert fetch(server.remote("/file.gz"), tmp_path).read_bytes() == CONTENT


def test_the_second_mirror_is_used_when_the_first_fails(server: Server, tmp_path: Path) -> None:
    server.files["/other/file.gz"] = CONTENT
    server.faults["/file.gz"] = "breaks off"
    assert fetch(server.remote("/file.gz", "/other/file.gz"), tmp_path).read_bytes() == CONTENT
    assert server.asked[1][0] == "/other/file.gz"
    assert server.asked[1][1] is not None  # continues after the bytes that the first mirror sent


def test_every_mirror_that_failed_is_named(server: Server, tmp_path: Path) -> None:
    server.faults |= {"/file.gz": "403", "/gone": "404"}
    with pytest.raises(UserError, match=r"/file.gz answered 403 .*/gone answered 404 "):
        fetch(server.remote("/file.gz", "/gone"), tmp_path)


def test_error_says_that_the_server_cannot_be_reached(server: Server, tmp_path: Path) -> None:
    remote = server.remote("/file.gz")
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"could not be reached or broke off .*refused"):
        fetch(remote, tmp_path)


def test_error_says_that_the_cache_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")  # a folder below a file: even root cannot write there
    with pytest.raises(UserError, match=r"cannot write to .*/file/cache \(Not a directory\); .*FOURHANDS_DATA"):
        fetch(server.remote("/file.gz"), tmp_path / "file" / "cache")


def test_error_says_that_the_disk_is_full_and_no_file_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource", reason="missing: limits on file sizes, which only POSIX has")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(download, "_CHUNK", 1 << 14)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"the disk of .* is full \(File too large\); free space"):
            fetch(server.remote("/file.gz"), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "file.gz").exists()
    assert fetch(server.remote("/file.gz"), tmp_path).read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="missing: /dev/full, a disk that is always full")
def test_error_says_that_the_disk_lacks_space(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"the disk of .* is full \(No space left on device\); free space"):
        fetch(server.remote("/file.gz"), tmp_path)
    assert not (tmp_path / "file.gz").exists()


def test_mnist_is_downloaded_into_the_cache_and_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = {}
    for name in mnist._MD5:
        array = np.zeros((20, 28, 28) if "images" in name else 20, dtype=np.uint8)
        write_idx(tmp_path / "served.gz", array)
        server.files[f"/mnist/{name}.gz"] = (tmp_path / "served.gz").read_bytes()
        hashes[name] = md5(server.files[f"/mnist/{name}.gz"]).removeprefix("md5:")
    monkeypatch.setattr(mnist, "_MD5", hashes)
    monkeypatch.setattr(mnist, "_MIRRORS", (f"http://127.0.0.1:{server.server_port}/mnist/",))
    monkeypatch.setenv("FOURHANDS_DATA", str(tmp_path / "without"))
    assert mnist.locate(None) == tmp_path / "fourhands" / "mnist"
    assert len(load("mnist").test) == 20
    assert len(server.asked) == 4


def emnist_archive(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("../../escaped", "out of the folder")
        zipped.writestr("gzip/emnist-digits-mapping.txt", "\n".join(f"{k} {48 + k}" for k in range(10)))
        for part in ("train", "test"):
            for kind, array in (("images-idx3", np.zeros((20, 28, 28))), ("labels-idx1", np.arange(20) % 10)):
                write_idx(folder / "member.gz", array.astype(np.uint8))
                zipped.write(folder / "member.gz", f"gzip/emnist-digits-{part}-{kind}-ubyte.gz")
    return packed.getvalue()


def test_emnist_is_downloaded_once_and_only_the_wanted_members_are_unpacked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.files["/gzip.zip"] = emnist_archive(tmp_path)
    url = f"http://127.0.0.1:{server.server_port}/gzip.zip"
    monkeypatch.setattr(emnist, "_ARCHIVE", Remote(file_name="gzip.zip", urls=(url,), known_hash=md5(archive)))
    assert len(load("emnist_digits").test) == 20
    assert len(load("emnist_digits").test) == 20
    assert len(server.asked) == 1
    unpacked = sorted(path.name for path in (tmp_path / "fourhands" / "emnist").iterdir())
    assert unpacked == sorted(
        ["gzip.zip", "emnist-digits-mapping.txt", *(f"{n}.gz" for n in emnist._file_names("digits"))]
    )
    assert not list(tmp_path.rglob("escaped"))
    with pytest.raises(UserError, match=r"does not hold 'emnist-letters-train-images-idx3-ubyte.gz'"):
        load("emnist_letters")
