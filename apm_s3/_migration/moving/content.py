"""Content of a source object as the body of an upload: sent on while it arrives, and read again for a retry."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from apm_s3._migration.rules import is_md5
from apm_s3._migration.sides import Side
from apm_s3._s3.objects.streams import Download
from apm_s3.errors import ObjectChanged
from apm_s3.models import FileInfo, Stream
from apm_s3.options import ReadOptions

PASSING = 2 * 1024**2
"""Bytes of memory that content takes on its way from one connection to another: received, being signed, being sent."""


_SIZES = {"sha256": 32, "sha1": 20, "crc32c": 4, "crc32": 4}
"""Bytes of the checksums that are passed on."""


def told_digests(info: FileInfo) -> dict[str, str]:
    """Return what the source says about the content of an object, as `Stream.digests`. Pure."""
    told = {name: info.checksums[name] for name in _SIZES if _is_digest(info.checksums.get(name), _SIZES[name])}
    if info.etag is not None and is_md5(info.etag):
        told["md5"] = b64encode(bytes.fromhex(info.etag.strip('"'))).decode()
    return told


def _is_digest(value: str | None, size: int) -> bool:
    try:
        return value is not None and len(b64decode(value, validate=True)) == size
    except ValueError:
        return False


class SourceContent:
    """A `RandomSource` that reads from S3.

    Checksums of the source are not verified here: the movers compare what the target has stored with the source.

    Args:
        options: version and condition of the object.
    """

    def __init__(self, side: Side, key: str, options: ReadOptions) -> None:
        self.failure: Exception | None = None
        self.size = -1
        self._side = side
        self._key = key
        self._options = options
        self._unused: Download | None = None

    async def open(self) -> Download:
        """Begin to read the whole object. The first body goes on from there; the caller closes it."""
        self._unused = await self._download(self._options)
        self.size = self._unused.length
        return self._unused

    def body(self, start: int, stop: int, digests: Mapping[str, str] | None = None) -> Stream:
        return Stream(lambda: self._pieces(start, stop), size=stop - start, digests=digests or {})

    async def _pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        self.failure = None
        try:
            async with await self._opened(start, stop) as download:
                if download.length != stop - start:
                    raise ObjectChanged(  # noqa: TRY301 - is kept below
                        "the source was replaced after it was listed", operation="migrate", key=self._key
                    )
                async for piece in download:
                    yield piece
        except Exception as exc:
            self.failure = exc
            raise

    async def _opened(self, start: int, stop: int) -> Download:
        unused, self._unused = self._unused, None
        if unused is not None:
            return unused
        whole = (start, stop) == (0, self.size)
        return await self._download(self._options if whole else replace(self._options, range=(start, stop)))

    async def _download(self, options: ReadOptions) -> Download:
        return await Download(self._side.engine, self._side.place.bucket, self._key, options, verify=False)
