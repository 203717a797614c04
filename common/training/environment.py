"""What a run depends on besides its configuration: code, data, machine and versions, in environment.json."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from common.atomic import write_atomically
from common.data.dataset import AnyDataset
from common.data.fingerprint import fingerprint
from common.errors import UserError
from common.machine import machine_details, versions
from common.tasks import Task
from common.training.folder import RunFolder
from common.training.status import now

ROOT = Path(__file__).resolve().parents[2]
DIFF_BYTES = 1_000_000
"""Most bytes of uncommitted.diff."""
_UNTRACKED = 50
"""Most new files whose content is in uncommitted.diff."""
_LIBRARIES = ("numpy", "scipy", "Pillow", "safetensors")
_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "KERAS_BACKEND", "XLA_FLAGS", "TF_XLA_FLAGS"),
    *("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE"),
)


@dataclass(frozen=True, kw_only=True)
class Code:
    """The version of the code."""

    commit: str | None
    """Of the checkout that the code runs from; None if it runs from no checkout."""
    uncommitted: bool | None
    """Whether anything differs from the commit."""
    code_note: str = ""
    """Why the commit is not known, or what uncommitted.diff leaves out."""
    diff_sha256: str | None = None


def write_environment(folder: RunFolder, task: Task, dataset: AnyDataset, packages: Iterable[str], device: str) -> None:
    """Write environment.json and uncommitted.diff, or add the present environment to those of a resumed run.

    Raises:
        UserError: the run is resumed with other data, or a file cannot be written.
    """
    code, diff = code_version()
    train, validation = (fingerprint(task.contents(dataset, split)) for split in (dataset.train, dataset.validation))
    data = {
        "hash": hashlib.sha256(f"{train}{validation}".encode()).hexdigest()[:32],
        "train": train,
        "validation": validation,
        "train_examples": len(dataset.train),
        "validation_examples": len(dataset.validation),
    }
    own = {
        "started": now(),
        "code": asdict(code),
        "data": data,
        "machine": machine_details(device),
        "versions": versions(dict.fromkeys((*packages, *_LIBRARIES))),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    before = read_environment(folder.environment)
    if not before:
        if diff:
            write_atomically(folder.uncommitted, diff)
        folder.write_json(folder.environment, own)
        return
    known = (before.get("data") or {}).get("hash")
    if known is not None and known != data["hash"]:
        raise UserError(
            f"the data of the run in {folder.path} has changed since it began (its hash was {known[:8]} and is "
            f"{str(data['hash'])[:8]}); restore the data, or train from the beginning with another --out"
        )
    folder.write_json(folder.environment, before | {"resumed": [*before.get("resumed", ()), own]})


def read_environment(path: Path) -> dict[str, Any]:
    """The content of environment.json; empty if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@cache
def code_version(root: Path = ROOT) -> tuple[Code, bytes]:
    """The version of the code in a folder, and what differs from its commit as a diff.

    The answer of the first call is kept: the code that runs was loaded about then.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel").decode().strip()
        if Path(top).resolve() != root:
            raise LookupError
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        diff = _git(root, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--binary")
        new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py").decode().split("\0")[:-1]
        for name in new[:_UNTRACKED]:
            diff += _git(
                root, "diff", "--no-index", "--no-ext-diff", "--no-color", "--", os.devnull, name, codes=(0, 1)
            )
    except LookupError:
        return Code(
            commit=None, uncommitted=None, code_note="installed, not run from a git checkout: see the version"
        ), b""
    except (OSError, subprocess.SubprocessError) as error:
        reason = "git is not installed" if isinstance(error, FileNotFoundError) else "no git checkout that git can read"
        return Code(commit=None, uncommitted=None, code_note=f"{reason}: see the version"), b""
    note = f"uncommitted.diff leaves out {len(new) - _UNTRACKED} new files" if len(new) > _UNTRACKED else ""
    digest = hashlib.sha256(diff).hexdigest() if diff else None
    if len(diff) > DIFF_BYTES:
        note = f"uncommitted.diff has the first {DIFF_BYTES:,} of {len(diff):,} bytes"
        diff = diff[:DIFF_BYTES]
    return Code(commit=commit, uncommitted=bool(diff), code_note=note, diff_sha256=digest), diff


def _git(root: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
    # a hook of git sets GIT_DIR and others, which name another repository; a lock could disturb the user's own git
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        env=own | {"GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    if done.returncode not in codes:
        raise subprocess.CalledProcessError(done.returncode, "git")
    return done.stdout
