"""The files of the web pages. All are read when the service starts: no path of a request reaches the file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.serving.problems import Problem

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
PAGES = {"/": "index.html", "/docs": "docs.html"}
"""Address of each page, and its file."""
_MODE = (b'name="fourhands-mode" content="reader"', b'name="fourhands-mode" content="label"')


@dataclass(frozen=True)
class Asset:
    """A file of the web pages."""

    content: bytes
    media_type: str
    tag: str
    """Its `ETag`."""

    def answer(self, request: Request) -> Response:
        """The file, or 304 if the browser has it."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def load_assets(*, label: bool = False) -> dict[str, Asset]:
    """The files of `common/serving/web` by name.

    Args:
        label: whether the page shows a folder to label instead of asking for a picture.
    """
    assets = {}
    for file in files("common.serving").joinpath("web").iterdir():
        media_type = MEDIA_TYPES.get(f".{file.name.rpartition('.')[2]}")
        if media_type is not None and file.is_file():
            content = file.read_bytes()
            if label and file.name == "index.html":
                content = content.replace(*_MODE)
            assets[file.name] = Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return assets


def router(assets: dict[str, Asset]) -> APIRouter:
    """The addresses of the pages and of their files."""
    routes = APIRouter(include_in_schema=False)

    def add_page(path: str, name: str) -> None:
        @routes.api_route(path, methods=["GET", "HEAD"])
        async def page(request: Request) -> Response:
            return assets[name].answer(request)

    for path, name in PAGES.items():
        if name in assets:
            add_page(path, name)

    @routes.api_route("/web/{name}", methods=["GET", "HEAD"])
    async def asset(name: str, request: Request) -> Response:
        if name not in assets:
            raise Problem("not-found", "there is no such file of the page; load the page again")
        return assets[name].answer(request)

    return routes


def open_paths(assets: dict[str, Asset]) -> list[str]:
    """Addresses that need no token: the page asks for it, and the description says how to name it."""
    return [*PAGES, "/openapi.json", *(f"/web/{name}" for name in assets)]
