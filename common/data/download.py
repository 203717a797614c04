"""Download files to a cache, check their hash, and resume an interrupted download."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from common.errors import UserError
from common.terminal import progress_bar

if TYPE_CHECKING:
    import requests

DATA_ROOT = "FOURHANDS_DATA"
_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file on the network."""

    file_name: str
    urls: tuple[str, ...]
    """Addresses of the file, tried in this order."""
    known_hash: str
    """`md5:...` or `sha256:...` of the whole file."""


def cache_folder() -> Path:
    """The folder of downloads and of prepared lines."""
    return Path(platformdirs.user_cache_dir("fourhands"))


def choose_folder(name: str, folder: Path | None, holds_data: Callable[[Path], bool]) -> Path | None:
    """The folder to read a data set from, or None to use the cache.

    The environment variable `FOURHANDS_DATA` names the data root, which has one folder per data set.

    Args:
        name: name of the data set.
        folder: the folder that the user named. It has priority over the data root.
        holds_data: whether a folder contains the data set's files; asked for the folder in the data root only.

    Raises:
        UserError: `folder` is not a folder.
    """
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; name the folder that holds the files of {name}")
        return folder
    root = os.environ.get(DATA_ROOT)
    if root and holds_data(Path(root) / name):
        return Path(root) / name
    return None


def fetch(remote: Remote, folder: Path) -> Path:
    """The path of the file in `folder`. It is downloaded unless it is there with the right hash.

    A partial download has a name of its own, `FILE.part`. The next call resumes it.

    Raises:
        UserError: no mirror sent the right file, or the folder cannot be written.
    """
    # slow to import, and most runs download nothing
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for url in remote.urls:
        try:
            path = pooch.retrieve(
                url, remote.known_hash, fname=remote.file_name, path=folder, downloader=_Resuming(remote, folder)
            )
            return Path(path)
        except UserError as error:
            reasons.append(f"{url} {error}")
        except RequestException as error:
            reasons.append(f"{url} could not be reached or broke off ({_root_cause(error)})")
        except OSError as error:
            raise cannot_write(folder, error) from None
        except ValueError:  # pooch raises it for a wrong hash, and has removed the file
            reasons.append(f"{url} sent a file whose hash is not {remote.known_hash}")
    raise UserError(
        f"could not download {remote.file_name}: {'; '.join(reasons)}; try again later (what has arrived is kept), "
        f"or put the files into a folder that {DATA_ROOT} or --data NAME:FOLDER points to"
    )


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error for a folder in which no file can be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(f"the disk of {folder} is full ({error.strerror}); free space there and try again")
    return UserError(
        f"cannot write to {folder} ({error.strerror}); make it writable, set XDG_CACHE_HOME to a folder that is, "
        f"or point {DATA_ROOT} to a folder that has the files"
    )


class _Resuming:
    """A downloader for pooch that appends to the partial file `FILE.part` of an earlier call."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self._name = remote.file_name
        self._part = folder / f"{remote.file_name}.part"

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        # a range counts bytes of the file itself, so the server must not compress it
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # otherwise the part is complete
                self._receive(response, have)
        self._part.replace(output_file)

    def _receive(self, response: requests.Response, have: int) -> None:
        status = response.status_code
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise UserError(f"answered {status} {response.reason}")
        if "text/html" in response.headers.get("Content-Type", ""):
            raise UserError("answered with a web page instead of the file")
        if status == HTTPStatus.PARTIAL_CONTENT:
            start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if start is None or int(start[1]) != have:
                raise UserError(f"answered with another part of the file than the one from byte {have}")
        else:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with progress_bar("bytes") as bar, self._part.open("ab" if have else "wb") as file:
            if bar is not None:
                bar.add_task(self._name, total=total, completed=have)
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                if bar is not None:
                    bar.advance(bar.task_ids[0], len(chunk))
        if total is not None and self._part.stat().st_size < total:
            raise UserError(f"broke off after {self._part.stat().st_size:,} of {total:,} bytes")


def _root_cause(error: BaseException) -> str:
    while isinstance(cause := error.__context__, Exception):
        error = cause
    return str(error) or type(error).__name__
