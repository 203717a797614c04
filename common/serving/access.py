"""Who may come in: names of the host, origins of browsers, and the token. All is checked before a body is read."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from common.serving.config import LOOPBACK_NAMES, ServeConfig
from common.serving.problems import Problem

PROBES = ("/healthz", "/readyz")
_SAFE = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:/@?#\s]+)(?::(?P<port>[0-9]{1,5}))?")


class Access:
    """ASGI middleware: lets in only who may come in."""

    def __init__(self, app: ASGIApp, *, config: ServeConfig, token: str | None, open_paths: Sequence[str]) -> None:
        """Make the middleware.

        Args:
            app: what to call.
            config: the settings.
            token: what a request must name; None lets everybody in.
            open_paths: paths that need no token, besides those of probes.
        """
        self.app = app
        self.hosts = {name.lower() for name in config.allowed_host}
        if config.loopback or self.hosts:
            self.hosts |= {*LOOPBACK_NAMES, config.host.strip("[]").lower()}
        self.token = None if token is None else token.encode()
        self.open = {*PROBES, *open_paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if scope["path"] not in PROBES:  # a probe names the address of the machine, and learns nothing
                self._check_host(headers)
            if scope["method"] not in _SAFE:
                _check_origin(headers)
            if self.token is not None and scope["path"] not in self.open:
                self._check_token(headers)
        await self.app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        """Refuse foreign names: a site whose name resolves to this machine (DNS rebinding) could use the service."""
        if not self.hosts:
            return
        match = _HOST.fullmatch(headers.get("host", "").lower())
        name = match["name"].strip("[]") if match else ""
        if name not in self.hosts:
            raise Problem(
                "wrong-host",
                "the Host header names none of the hosts that this service answers for; use http://localhost, or start "
                "it with --allowed-host NAME",
            )

    def _check_token(self, headers: Headers) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        assert self.token is not None, "there is a token to compare with"
        # latin-1: the bytes as they came
        same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.token)
        if scheme.lower() != "bearer" or not same:
            raise Problem(
                "no-token",
                "the request has no valid token; send the header Authorization: Bearer TOKEN with the token of this "
                "service",
                headers={"WWW-Authenticate": 'Bearer realm="fourhands"'},
            )


def _check_origin(headers: Headers) -> None:
    """Refuse what another site makes a browser send: no site but the service's own page has any business here."""
    foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is not None:
        try:
            foreign |= urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
        except ValueError:
            foreign = True
    if foreign:
        raise Problem(
            "foreign-origin",
            "the request comes from a page of another site; only the page of this service may send it from a browser",
        )
