"""Pictures from URLs: only from named hosts, and only from the public address that was checked."""

from __future__ import annotations

import asyncio
import http.server
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpcore
import pytest
import trustme

from common.serving import urls
from common.serving.body import Upload
from common.serving.problems import Problem
from common.serving.tests.fake import Service, refused

HOST, OTHER, FOREIGN = "images.example.org", "more.example.org", "foreign.example.org"
PUBLIC, PUBLIC_6 = "8.8.8.8", "2a00:1450:4001:82a::200e"
ALLOWED = (HOST, OTHER)
PICTURE = b"a picture" * 100


# --- addresses
@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "223.255.255.254", PUBLIC_6, "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert urls.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "100::1"),
        # IPv4 addresses in IPv6
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::7f00:1"),
        *("2002:7f00:1::", "2002:808:808::", "2001:0:808:808::1", "::127.0.0.1", "::8.8.8.8"),
        "nonsense",
    ],
)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not urls.is_public(address)


def test_no_address_of_a_network_that_is_not_of_the_internet_is_public() -> None:
    # IANA's registries of addresses for special purposes: the first and the last address of each network
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    ):
        each = ipaddress.ip_network(network)
        assert not urls.is_public(str(each[0])), each
        assert not urls.is_public(str(each[-1])), each


# --- URLs
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"http://{HOST}/a", "url-refused"),
        (f"ftp://{HOST}/a", "url-refused"),
        (f"https://{HOST}:8443/a", "url-refused"),
        (f"https://{HOST}:0/a", "url-refused"),
        (f"https://{HOST}:99999/a", "wrong-value"),
        (f"https://user:secret@{HOST}/a", "url-refused"),
        (f"https://{HOST}@{FOREIGN}/a", "url-refused"),
        (f"https://{FOREIGN}/a", "url-refused"),
        (f"https://{HOST}.{FOREIGN}/a", "url-refused"),
        (f"https://x{HOST}/a", "url-refused"),
        (f"https://{HOST}./a", "url-refused"),
        (f"https://{FOREIGN}\\@{HOST}/a", "wrong-value"),
        (f"https://{FOREIGN}#@{HOST}/a", "url-refused"),
        ("https://127.0.0.1/a", "url-refused"),
        ("https://[::1]/a", "url-refused"),
        ("https://[::1/a", "wrong-value"),
        ("https://2130706433/a", "url-refused"),
        ("https:///a", "url-refused"),
        ("file:///etc/passwd", "url-refused"),
        ("", "url-refused"),
        (f"https://{HOST}/a b", "wrong-value"),
        (f"https://{HOST}/a\r\nHost: x", "wrong-value"),
        (f"https://{HOST}/é", "wrong-value"),
        (f"https://{HOST}/\x00", "wrong-value"),
        (f"https://{HOST}/" + "x" * 2000, "wrong-value"),
    ],
)
def test_urls_that_may_not_be_fetched(url: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    with pytest.raises(Problem) as caught:
        asyncio.run(urls.fetch(url, ALLOWED, 1000))
    assert caught.value.kind == kind
    assert "secret" not in str(caught.value.detail)


@pytest.mark.parametrize("url", [f"https://{HOST}/a?b=c", f"HTTPS://{HOST.upper()}:443/a", f"https://{HOST}"])
def test_urls_that_may_be_fetched(url: str) -> None:
    assert urls.check_url(url, frozenset(ALLOWED)).hostname == HOST


def test_without_named_hosts_no_url_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    refused(Service().read(json={"url": f"https://{HOST}/a"}), 403, "url-refused", "fetches no URLs")


# --- a server with a certificate of our own, and names that lead to it
class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by the path."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        what, _, rest = self.path[1:].partition("/")
        if what == "to":
            self.send_response(302)
            self.send_header("LOCATION", rest.replace("~", "/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if what == "status":
            self.send_error(int(rest))
            return
        self.send_response(200)
        size = int(rest) if what == "size" else len(PICTURE)
        if what != "endless":
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if what == "slow":
            time.sleep(3)
        try:
            self.wfile.write(b"x" * size if what == "size" else PICTURE)
            while what == "endless":
                self.wfile.write(PICTURE)
        except OSError:  # the client has seen enough
            return

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


class Web:
    """The server, its names, and who connected where."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context
        self.addresses = {name: [PUBLIC] for name in (HOST, OTHER, FOREIGN)}
        self.looked_up: list[str] = []
        self.connected: list[str] = []

    def fetch(self, path: str, limit: int = 10_000, host: str = HOST) -> Upload:
        return asyncio.run(urls.fetch(f"https://{host}:{self.port}{path}", ALLOWED, limit, self.context))

    def refuses(self, path: str, kind: str, words: str = "", **given: Any) -> None:
        with pytest.raises(Problem) as caught:
            self.fetch(path, **given)
        assert (caught.value.kind, words in str(caught.value.detail)) == (kind, True), caught.value.detail


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority: trustme.CA) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST, OTHER).configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] - clients that leave within the handshake
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web(port: int, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Web:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    made = Web(port, context)
    Answers.asked.clear()
    monkeypatch.setattr(urls, "_PORT", port)
    look_up, connect = socket.getaddrinfo, httpcore.AnyIOBackend.connect_tcp

    def resolve(host: str, port: int, *given: Any, **named: Any) -> Any:
        if host not in made.addresses:
            return look_up(host, port, *given, **named)
        made.looked_up.append(host)
        if not made.addresses[host]:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        families = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in made.addresses[host]]
        return [(family, socket.SOCK_STREAM, 6, "", (each, port)) for family, each in families]

    async def connect_here(self: Any, host: str, port: int, **given: Any) -> Any:
        made.connected.append(host)
        return await connect(self, "127.0.0.1", port, **given)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_here)
    return made


def test_the_picture_comes_from_the_address_that_was_checked(web: Web) -> None:
    upload = web.fetch("/scans/page%201.jpg?size=large")
    assert (upload.data, upload.name) == (PICTURE, "page%201.jpg")
    assert Answers.asked == [(HOST, "/scans/page%201.jpg?size=large")]
    assert (web.looked_up, web.connected) == ([HOST], [PUBLIC])


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def rebinding(host: str, *given: Any, **named: Any) -> Any:
        found = resolve(host, *given, **named)
        web.addresses[host] = ["127.0.0.1"]
        return found

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert web.fetch("/a").data == PICTURE
    assert (web.looked_up, web.connected) == ([HOST], [PUBLIC])
    web.refuses("/a", "url-refused", "private address")  # the next request is checked anew
    assert web.connected == [PUBLIC]


@pytest.mark.parametrize("private", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
def test_a_private_address_among_public_ones_is_refused(web: Web, private: str) -> None:
    for addresses in ([private], [PUBLIC, private], [private, PUBLIC]):
        web.addresses[HOST] = addresses
        web.refuses("/a", "url-refused", "private address")
    assert web.connected == []


def test_ipv4_is_preferred_and_ipv6_is_used(web: Web) -> None:
    web.addresses[HOST] = [PUBLIC_6, PUBLIC]
    web.addresses[OTHER] = [PUBLIC_6]
    web.fetch("/a")
    web.fetch("/a", host=OTHER)
    assert web.connected == [PUBLIC, PUBLIC_6]


def test_a_name_without_an_address_is_refused(web: Web) -> None:
    web.addresses[HOST] = []
    web.refuses("/a", "url-failed", "has no address")


def test_the_certificate_must_be_of_the_name(web: Web, authority: trustme.CA) -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(urls.fetch(f"https://{FOREIGN}:{web.port}/a", (FOREIGN,), 1000, web.context))
    assert caught.value.kind == "url-failed"
    stranger = ssl.create_default_context()
    with pytest.raises(Problem) as caught:
        asyncio.run(urls.fetch(f"https://{HOST}:{web.port}/a", ALLOWED, 1000, stranger))
    assert caught.value.kind == "url-failed"
    assert Answers.asked == []


# --- redirects
@pytest.mark.parametrize("hops", [1, 3])
def test_a_redirect_may_lead_to_another_named_host(web: Web, hops: int) -> None:
    path = "/a"
    for _ in range(hops - 1):
        path = f"/to/{path.replace('/', '~')}"
    upload = web.fetch(f"/to/https:~~{OTHER}:{web.port}{path.replace('/', '~')}")
    assert upload.data == PICTURE
    assert [host for host, _ in Answers.asked] == [HOST] + [OTHER] * hops
    assert web.looked_up == [HOST] + [OTHER] * hops


@pytest.mark.parametrize(
    "target",
    [
        *(f"https:~~{FOREIGN}:PORT~a", f"http:~~{HOST}:PORT~a", f"https:~~{HOST}:1~a", "~~127.0.0.1:PORT~a"),
        *(f"https:~~u:p@{HOST}:PORT~a", "file:~~~etc~passwd"),
    ],
)
def test_each_redirect_is_checked(web: Web, target: str) -> None:
    web.refuses("/to/" + target.replace("PORT", str(web.port)), "url-refused")
    assert len(Answers.asked) == 1


def test_a_redirect_to_a_name_with_a_private_address_is_refused(web: Web) -> None:
    web.addresses[OTHER] = ["192.168.0.1"]
    web.refuses(f"/to/https:~~{OTHER}:{web.port}~a", "url-refused", "private address")
    assert web.connected == [PUBLIC]


def test_more_than_three_redirects_are_refused(web: Web) -> None:
    web.refuses(f"/to/https:~~{HOST}:{web.port}~to~~to~~to~~a", "url-failed", "redirected more than 3 times")
    assert len(Answers.asked) == 4


# --- limits
@pytest.mark.parametrize("over", [0, 1])
def test_a_picture_may_have_as_many_bytes_as_the_limit(web: Web, over: int) -> None:
    if over:
        web.refuses("/size/1001", "too-large", "1,000 bytes", limit=1000)
    else:
        assert len(web.fetch("/size/1000", limit=1000).data) == 1000


def test_an_endless_picture_is_left_at_the_limit(web: Web) -> None:
    web.refuses("/endless", "too-large", limit=100_000)


def test_an_empty_picture_and_a_bad_status_are_refused(web: Web) -> None:
    web.refuses("/size/0", "url-failed", "empty")
    web.refuses("/status/404", "url-failed", "404")
    web.refuses("/status/500", "url-failed", "500")


def test_a_slow_host_is_left(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "SECONDS", 0.5)
    web.refuses("/slow", "url-failed", "not here after 0.5 s")


def test_proxies_of_the_environment_are_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert web.fetch("/a").data == PICTURE


def test_a_request_may_name_a_url(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_certificates", lambda: web.context)
    service = Service(url_host=ALLOWED)
    response = service.read(json={"url": f"https://{HOST}:{web.port}/scan.jpg"})
    assert response.status_code == 200, response.text
    assert service.engine.asked[0][0] == PICTURE
    assert response.json()["image"] == "scan.jpg"
    response = service.read(json={"url": f"https://{FOREIGN}:{web.port}/scan.jpg"})
    refused(response, 403, "url-refused", "not among those")
