"""Who may come in, and what every answer has."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.serving.config import ServeConfig
from common.serving.frame import HEADERS
from common.serving.tests.fake import TOKEN, Service, by_hand, refused

BEARER = {"authorization": f"Bearer {TOKEN}"}
OPEN = {"host": "0.0.0.0", "token_file": Path("token")}


# --- the token
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/web/docs.js", "/"])
def test_probes_and_pages_need_no_token(path: str) -> None:
    assert Service(token=TOKEN, **OPEN).get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/read"),
        ("POST", "/v1/render?format=text"),
        ("GET", "/v1/model"),
        ("GET", "/metrics"),
        ("GET", "/no/such/address"),
        ("GET", "/web/nothing.js"),
        ("POST", "//v1/read"),
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer é" + TOKEN,
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
def test_the_rest_needs_the_token(method: str, path: str, given: str) -> None:
    headers = [(b"authorization", given.encode())] if given else []
    response = Service(token=TOKEN, **OPEN).send(method, path, headers=headers)
    refused(response, 401, "no-token", "Authorization: Bearer")
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN}"])
def test_the_token_lets_in(header: str) -> None:
    assert Service(token=TOKEN, **OPEN).read(headers={"authorization": header}).status_code == 200


def test_a_body_without_the_token_is_neither_parsed_nor_kept() -> None:
    service, received = Service(token=TOKEN, **OPEN), 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": received < 3}

    headers = {"content-type": "application/json", "expect": "100-continue", "content-length": "3000"}
    assert by_hand(service.app, headers, receive)[0] == 401
    assert received == 0  # nor is it asked for
    del headers["expect"]
    assert by_hand(service.app, headers, receive)[0] == 401
    assert received == 3  # it is on its way: it is forgotten, so that the client sees the answer
    assert service.engine.asked == []


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    assert Service(token=TOKEN, **OPEN).get("/v1/model", headers=BEARER).status_code == 200
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


# --- settings that say who may come in
def token_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "token"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_token_is_read_without_the_line_break(tmp_path: Path) -> None:
    config = ServeConfig(token_file=token_file(tmp_path, f"  {TOKEN}\r\n"))
    assert config.token() == TOKEN


@pytest.mark.parametrize(
    "content", ["", "x" * 15, "x" * 20 + " y", "é" * 20, b"\xff" * 20], ids=["none", "short", "two", "é", "bytes"]
)
def test_a_bad_token_is_refused(content: str | bytes, tmp_path: Path) -> None:
    path = token_file(tmp_path, content)
    with pytest.raises(UserError, match="token") as caught:
        ServeConfig(token_file=path).token()
    assert "x" * 15 not in str(caught.value).replace(str(path), ""), "the token is shown"


def test_a_token_of_sixteen_characters_is_enough(tmp_path: Path) -> None:
    assert ServeConfig(token_file=token_file(tmp_path, "x" * 16)).token() == "x" * 16


def test_a_missing_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file or directory.*name a file"):
        ServeConfig(token_file=tmp_path / "none").token()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "reader.example.org", "128.0.0.1"])
def test_another_host_needs_a_token_or_an_explicit_flag(host: str) -> None:
    with pytest.raises(UserError, match="--token-file"):
        ServeConfig(host=host)
    ServeConfig(host=host, without_token=True)
    ServeConfig(host=host, token_file=Path("token"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert ServeConfig(host=host).loopback


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_file": Path("a"), "without_token": True}, "exclude"),
        ({"port": 65536}, "--port"),
        ({"queue": 0}, "--queue is 0"),
        ({"max_mb": 0}, "--max-mb"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"seconds": float("inf")}, "--seconds"),
        ({"workers": -1}, "--workers"),
        ({"url_host": ("https://a.example",)}, "--url-host"),
        ({"url_host": ("*.example",)}, "--url-host"),
        ({"url_host": ("A.example",)}, "--url-host"),
        ({"url_host": ("10.0.0.1",)}, "--url-host"),
        ({"url_host": ("a.example:8443",)}, "--url-host"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        ServeConfig(**settings)


# --- names of the host
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST", "reader.lan:80"]
)
def test_loopback_answers_for_its_own_names(host: str) -> None:
    assert Service(allowed_host=("reader.lan",)).get("/v1/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1"),
        *("a@localhost", "localhost@evil.example", "localhost:8000:1", "evil.example/localhost", "192.168.1.7"),
    ],
)
def test_loopback_answers_for_no_other_name(host: str) -> None:
    service = Service(allowed_host=("reader.lan",))
    refused(service.get("/v1/model", headers={"host": host}), 421, "wrong-host", "--allowed-host")
    assert service.get("/healthz", headers={"host": host}).status_code == 200


def test_another_host_answers_for_every_name_unless_names_are_given() -> None:
    assert Service(token=TOKEN, **OPEN).get("/v1/model", headers=BEARER | {"host": "a.b"}).status_code == 200
    named = Service(token=TOKEN, allowed_host=("reader.lan",), **OPEN)
    assert named.get("/v1/model", headers=BEARER | {"host": "reader.lan"}).status_code == 200
    refused(named.get("/v1/model", headers=BEARER | {"host": "a.b"}), 421, "wrong-host")


# --- browsers
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9000"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost:8000", "sec-fetch-site": "cross-site"},
    ],
)
def test_what_another_site_makes_a_browser_send_is_refused(headers: dict[str, str]) -> None:
    service = Service()
    refused(service.read(headers=headers), 403, "foreign-origin", "another site")
    assert service.engine.asked == []


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost:8000"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
)
def test_the_services_own_page_and_programs_may_send(headers: dict[str, str]) -> None:
    assert Service().read(headers=headers).status_code == 200


def test_no_other_site_may_read_the_answers() -> None:
    for method in ("GET", "OPTIONS"):
        response = Service().send(
            method,
            "/v1/model",
            headers={"origin": "https://evil.example", "access-control-request-method": "GET"},
        )
        assert not [name for name in response.headers if name.startswith("access-control")]


# --- what every answer has
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/web/docs.js", 200),
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/read", 405),
        ("POST", "/v1/read", 415),
        ("POST", "/v1/read?x=1", 422),
    ],
)
def test_every_answer_has_the_headers_of_security(method: str, path: str, status: int) -> None:
    response = Service().send(method, path)
    assert response.status_code == status
    for name, value in HEADERS.items():
        assert name.lower() in response.headers
        if name != "Cache-Control":
            assert response.headers[name] == value
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_have_nothing_inline_and_nothing_from_elsewhere(page: str) -> None:
    html = Service().get(page).text
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", html) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", html) == []
    assert re.findall(r"(?:src|href|action)=[\"'](?:https?:)?//", html) == []


@pytest.mark.parametrize("given", ["a b", "x" * 65, "é", "a\tb", "<script>", ""])
def test_a_bad_request_id_is_replaced(given: str) -> None:
    response = Service().get("/healthz", headers=[(b"x-request-id", given.encode())])
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_a_browser_keeps_the_files_of_the_page_until_they_change() -> None:
    service = Service()
    response = service.get("/web/docs.js")
    assert response.headers["cache-control"] == "no-cache"
    again = service.get("/web/docs.js", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert service.get("/web/docs.js", headers={"if-none-match": '"other"'}).status_code == 200


def test_nothing_is_answered_twice_when_the_application_fails_late() -> None:
    service = Service()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    frame = service.app.user_middleware[0]
    assert frame.cls.__name__ == "Frame"
    app = frame.cls(broken, **frame.kwargs)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(RuntimeError, match="the answer had begun"):
        by_hand(app, {}, receive)
