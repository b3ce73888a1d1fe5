"""The codecs of S3's wire: heads and bodies of HTTP/1.1, signatures, checksums, and documents in XML."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pytest

from apm_s3._s3_responses import s3_error as error_of_response
from apm_s3._wire import bucket_settings as _bucket_settings
from apm_s3._wire import checksums, listings, xml
from apm_s3._wire import parts as _parts
from apm_s3._wire.bucket_settings import SETTINGS
from apm_s3._wire.checksums import checksum
from apm_s3._wire.content_types import content_type
from apm_s3._wire.http1 import MAX_HEAD, Chunks, MalformedResponse, parse_head, request_head
from apm_s3._wire.http1 import _names as REMEMBERED_NAMES
from apm_s3._wire.parts import (
    MAX_PART,
    MAX_PARTS,
    MIB,
    MIN_PART,
    composite_etag,
    cut_range,
    plan_parts,
    stream_part_size,
)
from apm_s3._wire.sigv4 import (
    EMPTY_SHA256,
    MAX_PRESIGN_SECONDS,
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED_CHUNKS_TRAILER,
    UNSIGNED_PAYLOAD,
    Signer,
    canonical_request,
    encode_path,
    encode_query,
)
from apm_s3._wire.xml import MalformedDocument


def watch_the_loading_of_extras(monkeypatch: pytest.MonkeyPatch, load: Callable[[str], ModuleType]) -> None:
    """Let `load` load the extra of a checksum, as if it had not been loaded yet."""
    monkeypatch.setattr(checksums, "import_module", load)
    checksums._crt.cache_clear()
    checksums._kind.cache_clear()


def allow_small_parts(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let parts of a multipart upload have `size` bytes, where S3 wants 5 MiB."""
    monkeypatch.setattr(_parts, "MIN_PART", size)


def keys_to_delete(document: bytes) -> list[tuple[str, str | None]]:
    """Return the keys and versions that a DeleteObjects request names."""
    return [(entry["Key"], entry.get("VersionId")) for entry in xml._children(xml._parse(document), "Object")]


def source_of_documents() -> str:
    """Return the source of everything that reads or writes a bucket's settings."""
    return inspect.getsource(_bucket_settings)
