"""A URL → where its request goes. Whatever two parsers could read in two ways is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.outbound.outbound_errors import RefusedUrl

MAX_URL_CHARS = 2_048
PORTS = {"http": 80, "https": 443}
PRINTABLE = re.compile(r"[\x21-\x7e]+")
AMBIGUOUS = re.compile(r"[\\^`{|}<>\"]")  # urlsplit and browsers disagree on a backslash
NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as the last part of a name, it makes the name an address


@dataclass(frozen=True, slots=True)
class Target:
    """The server, as the request's Host and its certificate name it, and the path."""

    tls: bool
    host: str  # lower case; an IPv6 address without brackets
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def target_of(url: str, *, allow_http: bool) -> Target:
    """Where a request to this URL goes; raises RefusedUrl. A fragment is dropped."""
    if len(url) > MAX_URL_CHARS:
        raise RefusedUrl(f"the URL has more than {MAX_URL_CHARS} characters")
    if not PRINTABLE.fullmatch(url) or AMBIGUOUS.search(url):
        raise RefusedUrl("the URL has blanks, control characters or others that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedUrl(f"the URL cannot be read: {error}") from error
    if parts.scheme not in PORTS or (parts.scheme == "http" and not allow_http):
        raise RefusedUrl(f"the URL must begin with https://{' or http://' if allow_http else ''}")
    if "@" in parts.netloc:
        raise RefusedUrl("the URL must have no user name and no password")
    if port == 0:
        raise RefusedUrl("the URL has port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", _host(parts.hostname), port or PORTS[parts.scheme], path)


def _host(name: str | None) -> str:
    """The host; raises RefusedUrl for an address in another form than its own, as 127.1 or 0x7f000001."""
    if not name:
        raise RefusedUrl("the URL has no host")
    is_address = ":" in name or NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2])
    if not is_address:
        if len(name) > 253 or not NAME.fullmatch(name):
            raise RefusedUrl("the URL's host is no name; one beyond ASCII is written as xn--…")
        return name
    try:
        if "%" in name:
            raise ValueError("an address with a zone")
        return str(ip_address(name))
    except ValueError as error:
        raise RefusedUrl("the URL's host is no name and no address in its usual form") from error
