"""How to serve: every limit and setting of the service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from common.errors import UserError
from common.recognizer import Device
from common.serving.settings import EngineConfig, Limits

MEBIBYTE = 1 << 20
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""What a request to this machine may name in its `Host` header."""
_LEAST_TOKEN = 16  # characters
_Names = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME")]
_File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How to serve a reader."""

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder or a weights file of a model that reads lines or characters; by default the reader that ships."""
    finder: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """A run folder or a weights file of `unet`, which finds the lines; by default the one that ships."""
    framework: Annotated[str, tyro.conf.arg(metavar="NAME")] = "numpy"
    """The framework that computes."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    host: Annotated[str, tyro.conf.arg(metavar="HOST")] = "127.0.0.1"
    """Address to listen on. Any other than this machine's own (loopback) needs --token-file or --without-token."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token_file: _File = None
    """File with the token that requests must name as `Authorization: Bearer TOKEN`; at least 16 characters."""
    without_token: bool = False
    """Let everybody in who reaches the address, without a token."""
    allowed_host: _Names = ()
    """Another name by which browsers may reach the service; repeat the flag for several. Requests to loopback must name
    localhost, 127.0.0.1, [::1] or one of these in their `Host` header."""
    url_host: _Names = ()
    """A host that pictures are fetched from, by https, when a request names a URL; repeat the flag for several. By
    default no URL is fetched."""
    workers: int = 0
    """Processes that read; 0 starts one per core."""
    queue: int = EngineConfig.queue
    """Pictures that wait at most. Further requests are answered with 503."""
    wait_ms: float = EngineConfig.wait_ms
    """Milliseconds that a line waits for others, to be read in one batch."""
    seconds: float = EngineConfig.seconds
    """Time limit of a request, from the end of its body to its answer. After it, the answer is 504."""
    upload_seconds: float = 60.0
    """Time limit for the body of a request to come in. After it, the answer is 408."""
    grace: float = EngineConfig.grace
    """Seconds that requests in flight may still take after SIGTERM."""
    max_mb: float = 20.0
    """Mebibytes of the largest picture or document, whichever way it comes."""
    max_pixels: int = Limits.pixels
    """Pixels of the largest picture, and of the largest page of a document."""
    max_pages: int = Limits.pages
    """Pages of the longest document."""
    max_lines: int = Limits.lines
    """Lines of the fullest page."""
    watch: bool = False
    """Load RUN anew when its weights change. Without it, SIGHUP does so."""
    log_text: bool = False
    """Write what was read into the log. Without it, the log has no text."""
    log_signs: _File = None
    """File to append measurements of each picture to, for `fourhands drift`."""
    window: int = 300
    """Lines of the window that the monitor compares with the profile of the reader."""
    alert_url: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Where the monitor posts alarms: https, or http to this machine."""
    alert_secret_file: _File = None
    """File with the secret that signs these messages; at least 16 bytes."""

    def __post_init__(self) -> None:
        for name in ("queue", "max_pixels", "max_pages", "max_lines", "window"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("seconds", "upload_seconds", "max_mb"):
            self._check(name, 0 < getattr(self, name) < float("inf"), "above 0")
        for name in ("workers", "wait_ms", "grace"):
            self._check(name, 0 <= getattr(self, name) < float("inf"), "not negative")
        self._check("port", 0 <= self.port < 1 << 16, "from 0 to 65535")
        if self.alert_secret_file is not None and self.alert_url is None:
            raise UserError("--alert-secret-file signs messages to --alert-url; give both, or neither")
        if self.token_file is not None and self.without_token:
            raise UserError("--token-file and --without-token exclude each other; give one of them")
        if not self.loopback and self.token_file is None and not self.without_token:
            raise UserError(
                f"--host {self.host} lets other machines in; give --token-file with a token that they must name, or "
                "--without-token to let everybody in"
            )
        for name in self.url_host:
            if not name or name != name.strip().lower() or any(sign in name for sign in "/:@*?# ") or _is_address(name):
                raise UserError(
                    f"--url-host {name}: expected the name of one host in small letters, such as images.example.org, "
                    "without https://, port, path or *"
                )

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be {expected}")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest picture or document."""
        return int(self.max_mb * MEBIBYTE)

    def token(self) -> str | None:
        """The token of `token_file`, or None if none is needed.

        Raises:
            UserError: no such file, or a token that is too short or that no header can carry.
        """
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise UserError(f"{self.token_file} is not text; write a token of letters and digits into it") from None
        except OSError as error:
            raise UserError(
                f"cannot read the token in {self.token_file} ({error.strerror}); name a file that holds it"
            ) from None
        if len(token) < _LEAST_TOKEN or not token.isascii() or any(not "!" <= sign <= "~" for sign in token):
            raise UserError(
                f"the token in {self.token_file} has {len(token)} characters; expected at least {_LEAST_TOKEN} "
                f"letters, digits or signs of ASCII without spaces, such as the output of: openssl rand -hex 32"
            )
        return token


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


SETTINGS = tuple(field.name for field in fields(ServeConfig))
