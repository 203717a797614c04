"""Pictures from URLs: only from named hosts, by https, from a public address that was checked and is then the one used.

An address that is only checked and then looked up again could change in between (DNS rebinding). Here a name is looked
up once per request, and the connection goes to an address of that answer. The certificate is checked against the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from common.serving.body import Upload, file_name, short, too_large
from common.serving.problems import Problem

_REDIRECTS = 3
_REDIRECT = (301, 302, 303, 307, 308)
_PORT = 443
_LONGEST = 2000  # characters
SECONDS = 20.0
"""Time limit for a picture from a URL."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_UNICAST = ipaddress.ip_network("2000::/3")  # RFC 4291
# what `is_global` of the oldest Python that is supported does not refuse
_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        ("192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)


async def fetch(url: str, hosts: Iterable[str], limit: int, context: ssl.SSLContext | None = None) -> Upload:
    """A picture from a URL.

    Args:
        url: as the client sent it.
        hosts: names of the hosts that may be asked.
        limit: bytes of the largest picture.
        context: for https; by default that of the system's certificates.

    Raises:
        Problem: another host, scheme or port, an address that is not public, too many redirects, too many bytes, too
            slow, or no answer.
    """
    allowed = frozenset(hosts)
    if not allowed:
        raise Problem("url-refused", "this service fetches no URLs; send the picture itself")
    try:
        async with asyncio.timeout(SECONDS):
            certificates = await asyncio.to_thread(_certificates) if context is None else context
            for _ in range(_REDIRECTS + 1):
                parts = check_url(url, allowed)
                address = await public_address(str(parts.hostname))
                answer = await _get(parts, address, limit, certificates)
                if isinstance(answer, bytes):
                    return Upload(answer, file_name(parts.path))
                url = urljoin(parts.geturl(), answer)
    except TimeoutError:
        raise Problem(
            "url-failed",
            f"the picture of the URL was not here after {SECONDS:g} s; send the picture itself",
            limit=SECONDS,
        ) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError):
        raise Problem(
            "url-failed", "the host of the URL did not answer as https should; try again, or send the picture itself"
        ) from None
    raise Problem(
        "url-failed",
        f"the URL is redirected more than {_REDIRECTS} times; send the address that it leads to",
        limit=_REDIRECTS,
    )


def check_url(url: str, allowed: frozenset[str]) -> SplitResult:
    """The parts of a URL that may be fetched.

    Raises:
        Problem: it may not.
    """
    if len(url) > _LONGEST or not url.isascii() or any(not "!" <= sign <= "~" for sign in url) or "\\" in url:
        raise Problem(
            "wrong-value",
            f"url is no URL of at most {_LONGEST:,} characters of ASCII; escape other characters and spaces",
            limit=_LONGEST,
        )
    try:
        parts = urlsplit(url)
        port, host = _PORT if parts.port is None else parts.port, parts.hostname
    except ValueError:
        raise Problem("wrong-value", "url is no URL; send one such as https://images.example.org/page.jpg") from None
    if parts.scheme != "https" or port != _PORT:
        raise Problem("url-refused", "url is not https on port 443; send such a URL, or the picture itself")
    if "@" in parts.netloc:
        raise Problem("url-refused", "url has a user name or a password; send one without, or the picture itself")
    if host is None or host not in allowed:
        raise Problem(
            "url-refused",
            f"the host {short(host or '')} is not among those that this service fetches from; send the picture itself",
        )
    return parts


# --- addresses
async def public_address(host: str) -> str:
    """An address of a host, of which all addresses are public.

    Raises:
        Problem: there is none, or one that is not public.
    """
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, _PORT, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        infos = []
    addresses = [str(info[4][0]) for info in infos]
    if not addresses:
        raise Problem("url-failed", f"the host {short(host)} has no address; correct the URL")
    if not all(is_public(address) for address in addresses):
        raise Problem("url-refused", f"the host {short(host)} has a private address; send the picture itself")
    return min(addresses, key=lambda address: ":" in address)  # IPv4 first: it works from nearly everywhere


def is_public(address: str) -> bool:
    """Whether an address is of the public internet, itself and the IPv4 address that it carries."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a scope, such as fe80::1%eth0
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to one address, whatever the name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(  # type: ignore[override] # the rest goes through as it is
        self, host: str, port: int, **given: Any
    ) -> httpcore.AsyncNetworkStream:
        return await self._backend.connect_tcp(self.address, port, **given)


# --- the request
@cache
def _certificates() -> ssl.SSLContext:
    """What https is checked by: the system's certificates."""
    return ssl.create_default_context()


async def _get(parts: SplitResult, address: str, limit: int, context: ssl.SSLContext) -> bytes | str:
    """The content, or the address that it is redirected to."""
    target = parts.path.encode() or b"/"
    if parts.query:
        target += b"?" + parts.query.encode()
    url = httpcore.URL(scheme=b"https", host=str(parts.hostname).encode(), port=_PORT, target=target)
    headers = [("Host", str(parts.hostname)), ("Accept", "image/*, application/pdf"), ("Accept-Encoding", "identity")]
    async with (
        httpcore.AsyncConnectionPool(ssl_context=context, network_backend=Pinned(address)) as pool,
        pool.stream("GET", url, headers=headers) as response,
    ):
        if response.status in _REDIRECT:
            named = {name.lower(): value for name, value in response.headers}
            return named.get(b"location", b"").decode("latin-1")
        if response.status != 200:
            raise Problem("url-failed", f"the host of the URL answered with status {response.status}; correct the URL")
        return await _content(response.aiter_stream(), limit)


async def _content(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise too_large(limit, "the picture of the URL")
    if not content:
        raise Problem("url-failed", "the URL leads to an empty file; correct it")
    return bytes(content)
