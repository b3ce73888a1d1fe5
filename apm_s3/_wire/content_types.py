"""The content type of an object, guessed from its key. Pure, and the same on every machine."""

from __future__ import annotations

from functools import cache
from mimetypes import MimeTypes

_OURS = {
    "yaml": "application/yaml",  # RFC 9512
    "yml": "application/yaml",
    "toml": "application/toml",
    "md": "text/markdown",
    "ini": "text/plain",
    "conf": "text/plain",
    "cfg": "text/plain",
    "env": "text/plain",
    "rules": "text/plain",
    "tmpl": "text/plain",
    "log": "text/plain",
    "jsonl": "application/jsonl",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    # Compressed files get the type of the compression: with a Content-Encoding, clients would unpack them.
    "gz": "application/gzip",
    "tgz": "application/gzip",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zst": "application/zstd",
    "br": "application/x-brotli",
}
_UNKNOWN = "application/octet-stream"


def content_type(key: str) -> str:
    """Guess the media type from the extension of `key`; "application/octet-stream" if unknown."""
    _, dot, ending = key.rpartition(".")
    return _types().get(ending.lower(), _UNKNOWN) if dot else _UNKNOWN


@cache
def _types() -> dict[str, str]:
    # Python's own table, not the machine's /etc/mime.types, so that uploads do not differ between hosts.
    known = MimeTypes().types_map[True]
    return {ending.lstrip("."): name for ending, name in known.items()} | _OURS
