"""Checkpoints: loading returns what was saved, and a failed save keeps the earlier checkpoint."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.training.checkpoint import Best, Checkpoint, load_checkpoint, save_checkpoint
from common.training.run import Progress


def checkpoint(epoch: int = 2) -> Checkpoint:
    state = {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # a view that is not contiguous
        "count": np.array(7, dtype=np.int64),
        "key": np.array([1, 2**32 - 1], dtype=np.uint32),
        "slot": np.array([np.pi], dtype=np.float64),
    }
    progress = Progress(epoch=epoch, step=20, seconds=1.25)
    return Checkpoint(state=state, progress=progress, best=Best(epoch=1, score=0.1 + 0.2, rates={"accuracy": 0.3}))


def test_loading_returns_exactly_what_was_saved(tmp_path: Path) -> None:
    written = checkpoint()
    save_checkpoint(tmp_path / "c", written)
    read = load_checkpoint(tmp_path / "c")
    assert (read.progress, read.best) == (written.progress, written.best)
    assert read.state.keys() == written.state.keys()
    for name, array in written.state.items():
        assert read.state[name].dtype == array.dtype, name
        assert read.state[name].shape == array.shape, name
        np.testing.assert_array_equal(read.state[name], array, err_msg=name)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_checkpoint_before_and_no_half_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "c", checkpoint(epoch=1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(UserError, match="No space left on device; free some space"):
            save_checkpoint(tmp_path / "c", checkpoint(epoch=2))
    assert load_checkpoint(tmp_path / "c").progress.epoch == 1
    assert os.listdir(tmp_path) == ["c"]


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, checkpoint())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no checkpoint that can be read"):
        load_checkpoint(path)


def test_weights_are_no_checkpoint(finished: Path) -> None:
    with pytest.raises(UserError, match="is no checkpoint that can be read"):
        load_checkpoint(finished / "weights.safetensors")
