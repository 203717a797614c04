"""Prepared lines come from the cache the second time; a damaged or interrupted cache is made anew."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.data import prepared as module
from common.data.dataset import Refused
from common.data.prepared import Line, Prepared, StoredImages, prepare
from common.errors import UserError

HEIGHT = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path / "prepared"


class Maker:
    """Makes lines of rising width, and counts the calls."""

    def __init__(self, count: int = 6) -> None:
        self.count, self.calls = count, 0

    def image(self, i: int) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 256, (HEIGHT, i + 1)).astype(np.uint8)

    def __call__(self) -> Iterator[Line | Refused]:
        self.calls += 1
        for i in range(self.count):
            yield Line(image=self.image(i), text=f"né {i}", name=f"line {i}", group="ab"[i % 2])
        yield Refused(name="line x", reason="it has no text")

    def holds(self, found: Prepared) -> None:
        assert found.lines.widths_N.tolist() == list(range(1, self.count + 1))
        assert [list(found.lines.texts), list(found.lines.names)] == [
            [f"né {i}" for i in range(self.count)],
            [f"line {i}" for i in range(self.count)],
        ]
        for i in reversed(range(self.count)):  # in any order
            np.testing.assert_array_equal(found.lines.images[i], self.image(i))
        assert found.lines.writers_N is not None
        assert found.lines.writers_N.tolist() == [i % 2 for i in range(self.count)]
        assert found.groups == ("a", "b")
        assert found.refused == (Refused(name="line x", reason="it has no text"),)


def ink_file(cache: Path) -> Path:
    (found,) = cache.glob("some-*/ink.bin")
    return found


def test_lines_come_back_as_made_and_are_made_once() -> None:
    make = Maker()
    for _ in range(2):
        make.holds(prepare("some", {"height": HEIGHT}, make))
    assert make.calls == 1


def test_another_state_is_prepared_anew() -> None:
    make = Maker()
    for height in (1, 2, 1):
        prepare("some", {"height": height}, make)
    assert make.calls == 2


@pytest.mark.parametrize("how", ["truncated ink", "changed ink", "truncated index", "no index", "no ink"])
def test_damaged_lines_are_made_anew(cache: Path, how: str) -> None:
    make = Maker()
    prepare("some", 0, make)
    ink, index = ink_file(cache), ink_file(cache).with_name("index.json")
    if how == "truncated ink":
        ink.write_bytes(ink.read_bytes()[:-1])
    elif how == "changed ink":
        content = bytearray(ink.read_bytes())
        content[7] ^= 1
        ink.write_bytes(content)
    elif how == "truncated index":
        index.write_bytes(index.read_bytes()[:-20])
    else:
        (index if how == "no index" else ink).unlink()
    for _ in range(2):
        make.holds(prepare("some", 0, make))
    assert make.calls == 2
    assert [path.name for path in cache.iterdir()] == [ink_file(cache).parent.name]  # nothing else is left


def test_a_preparation_that_breaks_off_leaves_nothing(cache: Path) -> None:
    def make() -> Iterator[Line | Refused]:
        yield from Maker()()
        raise UserError("page 7 is torn")

    with pytest.raises(UserError, match="page 7 is torn"):
        prepare("some", 0, make)
    assert list(cache.iterdir()) == []


def test_a_preparation_that_is_killed_is_not_taken_for_whole(cache: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; import numpy as np; from common.data import prepared as p\n"
        "p.cache_folder = lambda: Path(sys.argv[1])\n"
        "def make():\n"
        "    yield p.Line(image=np.zeros((4, 9), np.uint8), text='a', name='a', group='a')\n"
        "    os._exit(9)\n"
        "p.prepare('some', 0, make)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(cache.parent)]).returncode == 9
    make = Maker()
    make.holds(prepare("some", 0, make))
    assert make.calls == 1


def test_two_at_once_both_succeed(cache: Path) -> None:
    outer, inner = Maker(), Maker()

    def make() -> Iterator[Line | Refused]:
        yield from outer()
        inner.holds(prepare("some", 0, inner))  # another process is faster

    outer.holds(prepare("some", 0, make))
    assert len(list(cache.iterdir())) == 1


def test_lines_stay_readable_when_the_cache_is_removed(cache: Path) -> None:
    make = Maker()
    found = prepare("some", 0, make)
    ink_file(cache).unlink()
    make.holds(found)


def test_any_number_of_threads_may_read_at_once() -> None:
    make = Maker(300)
    images = prepare("some", 0, make).lines.images
    order = np.random.default_rng(0).permutation(np.tile(np.arange(300), 20)).tolist()
    with ThreadPoolExecutor(8) as pool:
        for i, image in zip(order, pool.map(lambda i: images[i], order), strict=True):
            np.testing.assert_array_equal(image, make.image(i))


def test_no_thread_reads_at_the_place_of_another(cache: Path) -> None:
    # between a thread's step to its image and its reading, another thread gets its turn
    widths_N = prepare("some", 0, Maker(300)).lines.widths_N
    turn = threading.Event()

    class Interrupted(io.FileIO):
        def seek(self, place: int, whence: int = 0) -> int:
            done = super().seek(place, whence)
            if threading.current_thread() is not threading.main_thread():
                turn.set()
                time.sleep(0.2)
            return done

    shared = StoredImages(Interrupted(ink_file(cache)), HEIGHT, widths_N)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.__getitem__, 200)
        assert turn.wait(10)
        np.testing.assert_array_equal(shared[7], Maker().image(7))
        np.testing.assert_array_equal(first.result(), Maker().image(200))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which has the peak of the memory")
def test_reading_every_image_leaves_the_peak_of_memory_flat(tmp_path: Path) -> None:
    # 64 MB in a fresh process: its peak memory would grow as much, were the file mapped or kept
    ink = tmp_path / "ink.bin"
    ink.write_bytes(bytes(1 << 20) * 64)
    program = """
import sys
import numpy as np
from common.data.prepared import StoredImages
from common.machine import peak_memory_mb
images = StoredImages(open(sys.argv[1], "rb", buffering=0), 1 << 10, np.full(64, 1 << 10))
images[0]
before = peak_memory_mb()
total = sum(int(images[i].sum()) for i in range(64))
images.checksum()
print(peak_memory_mb() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(ink)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 16


def test_images_are_read_one_by_one(cache: Path) -> None:
    found = prepare("some", 0, Maker())
    before = found.lines.images[0].copy()
    with ink_file(cache).open("r+b") as file:
        file.write(bytes([255 - before[0, 0]]))
    assert found.lines.images[0][0, 0] == 255 - before[0, 0]  # not from memory


def test_a_cache_that_cannot_be_written_is_a_user_error(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write prepared lines to .*; make it writable.*XDG_CACHE_HOME"):
        prepare("some", 0, Maker())


def test_no_lines_at_all_can_be_prepared() -> None:
    found = prepare("some", 0, lambda: iter([Refused(name="a", reason="b")]))
    assert (len(found.lines), len(found.refused)) == (0, 1)
