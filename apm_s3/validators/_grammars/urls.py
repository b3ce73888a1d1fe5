"""URLs as in Go's net/url.Parse, which is much more lenient than browsers, but stricter in some places."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_NO_SCHEME = re.compile(r"[a-zA-Z0-9+.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_HOST = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"]|[^\x00-\x7f]|%[89a-fA-F][0-9a-fA-F])*")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a parsed URL that the rules need."""

    scheme: str
    host: str
    path: str
    text: str


class BadUrl(ValueError):
    """The text is not a valid URL in Go."""


def parse_url(text: str) -> Url:
    """Parse a URL. An empty text is an empty URL.

    Raises:
        BadUrl: Go refuses it.
    """
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise BadUrl("a URL cannot have control characters")
    rest, _, fragment = text.partition("#")
    _check_escapes(fragment, "fragment")
    scheme, rest = _split_scheme(rest)
    rest, _, _ = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, "", "", text)
        if ":" in rest.partition("/")[0]:
            raise BadUrl("the first part of a path cannot have a colon; is the scheme missing (http://...)?")
    host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        host, rest = _host(authority), slash + path
    _check_escapes(rest, "path")
    return Url(scheme, host, rest, text)


def _split_scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise BadUrl("the scheme before the colon is missing")
    match = _SCHEME.match(text)
    return (match[0][:-1].lower(), text[match.end() :]) if match else ("", text)


def _host(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise BadUrl("the user information has characters that must be escaped")
    if at:
        _check_escapes(user, "user information")
    if host.startswith("["):
        _check_brackets(host)
    elif ":" in host and not _PORT.fullmatch(host[host.rindex(":") :]):
        raise BadUrl("the port is not a number")
    elif not _HOST.fullmatch(host):
        raise BadUrl("the host has characters that are not allowed in host names")
    return host


def _check_brackets(host: str) -> None:
    end = host.rfind("]")
    if end < 0:
        raise BadUrl("']' is missing in the host")
    if not _PORT.fullmatch(host[end + 1 :]):
        raise BadUrl("the port is not a number")
    address = host[1:end].partition("%25")[0]
    if not _HOST.fullmatch(address):
        raise BadUrl("the host has characters that are not allowed in host names")


def _check_escapes(text: str, part: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise BadUrl(f"the {part} has a '%' that is not followed by two hexadecimal digits")
