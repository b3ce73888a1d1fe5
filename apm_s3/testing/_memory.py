"""An in-memory bucket for `ConfigStore` that can simulate failures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Literal, TypeVar

from apm_s3.errors import ApmS3Error
from apm_s3.models import FileInfo, FileVersion
from apm_s3.testing._bucket import MemoryBucket

Verb = Literal["copy", "delete", "head", "list", "list_folders", "put", "read", "versions"]
"""The requests that a `ConfigStore` makes."""


T = TypeVar("T")


@dataclass(slots=True)
class _Rule:
    verb: str
    error: ApmS3Error
    key: str
    times: int | None
    carried_out: bool

    def applies(self, verb: str, key: str) -> bool:
        return self.times != 0 and verb == self.verb and key.endswith(self.key)


class MemoryObjects:
    """An in-memory bucket with S3's consistency and conditions: only what a `ConfigStore` needs.

        store = ConfigStore(objects := MemoryObjects())
        objects.will_fail("put", Throttled("slow down", status=503), key="current.json")

    Attributes:
        now: the server's clock, Unix seconds; it changes only when a test sets it. None: this machine's clock.
    """

    def __init__(self, bucket: str = "memory", *, now: float | None = None) -> None:
        self.bucket: str = bucket
        self.now: float | None = now
        self._state = MemoryBucket(bucket, lambda: time() if self.now is None else self.now)
        self._rules: list[_Rule] = []

    @property
    def objects(self) -> dict[str, tuple[FileInfo, bytes]]:
        """Return the stored information and bytes by key. Tests may inspect and damage it."""
        return self._state.objects

    @objects.setter
    def objects(self, objects: dict[str, tuple[FileInfo, bytes]]) -> None:
        self._state.objects = objects

    def will_fail(
        self, verb: Verb, error: ApmS3Error, *, key: str = "", times: int | None = 1, carried_out: bool = False
    ) -> None:
        """Make requests fail.

        Args:
            verb: the kind of request.
            key: only requests whose key, or listing prefix, ends with this; for a deletion, its first key counts.
            times: the number of requests; None means all from now on.
            carried_out: whether the request is carried out anyway, as when only the response is lost.
        """
        self._rules.append(_Rule(verb, error, key, times, carried_out))

    async def read(
        self, key: str, *, if_none_match: str | None = None, version_id: str | None = None, limit: int | None = None
    ) -> tuple[FileInfo, bytes]:
        """GET."""
        self._arrive("read", key)
        return self._state.get(key, if_none_match=if_none_match, version_id=version_id, limit=limit)

    async def head(self, key: str) -> FileInfo:
        """HEAD."""
        self._arrive("head", key)
        return self._state.head(key)

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str | None = None,
        create: bool = False,
        hashed: bool = False,  # noqa: ARG002 - the interface's
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retain_until: datetime | None = None,  # noqa: ARG002 - the interface's
        timeout: float | None = None,  # noqa: ARG002 - the interface's
    ) -> FileInfo:
        """PUT, with its conditions."""
        lost = self._arrive("put", key)
        info = self._state.put(
            key, body, if_match=if_match, create=create, content_type=content_type, metadata=metadata
        )
        return _answered(info, lost)

    async def copy(self, source_key: str, key: str) -> FileInfo:
        """CopyObject onto a new key."""
        lost = self._arrive("copy", key)
        return _answered(self._state.copy(source_key, key), lost)

    async def delete(self, keys: Sequence[str]) -> None:
        """DeleteObjects."""
        lost = self._arrive("delete", keys[0] if keys else "")
        self._state.delete(keys)
        if lost is not None:
            raise lost

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        """ListObjectsV2, all pages."""
        self._arrive("list", prefix)
        for info in self._state.listed(prefix, start_after):
            if info.key in self._state.objects:
                yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        """ListObjectsV2 with the delimiter '/'."""
        self._arrive("list_folders", prefix)
        for name in self._state.folders(prefix):
            yield name

    async def versions(self, key: str) -> AsyncGenerator[FileVersion, None]:
        """ListObjectVersions of one key."""
        self._arrive("versions", key)
        for version in self._state.versions(key):
            yield version

    def _arrive(self, verb: Verb, key: str) -> ApmS3Error | None:
        """Return the error that replaces the response, if any.

        Raises:
            ApmS3Error: a rule says that the request fails without being carried out.
        """
        for rule in self._rules:
            if rule.applies(verb, key):
                rule.times = None if rule.times is None else rule.times - 1
                if not rule.carried_out:
                    raise rule.error
                return rule.error
        return None


def _answered(result: T, lost: ApmS3Error | None) -> T:
    if lost is not None:
        raise lost
    return result
