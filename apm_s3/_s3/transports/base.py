"""The interfaces of transports: one attempt of one verb of the data plane, or of one call of the control plane.

The control plane is bucket settings and other rare requests, through the aiobotocore client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from apm_s3.errors import ApmS3Error
    from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo, ListPage, UploadInfo, VersionPage
    from apm_s3.models._objects import PartInfo, Stream
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions


class Endpoint(NamedTuple):
    """An endpoint of S3.

    Attributes:
        region: the region for signing requests.
        is_aws: whether it is S3 itself, rather than an S3-compatible server.
    """

    url: str
    region: str
    is_aws: bool

    @property
    def is_encrypted(self) -> bool:
        """Return whether requests use HTTPS."""
        return self.url.startswith("https:")


class ControlPlane(Protocol):
    """One attempt of any S3 API call, with translated errors."""

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        """Call the aiobotocore client's `method` ("put_bucket_policy") with boto3's parameters (Bucket=...).

        Args:
            region: the region of the client; None means the manager's region.

        Raises:
            S3Error: S3 refused the request, or failed; bucket, key and S3's code are set.
            TransportError: there was no response.
            InvalidRequest: botocore refused the parameters; nothing was sent.
        """

    async def endpoint(self, region: str | None = None) -> Endpoint:
        """Return the endpoint of `call` for this `region`."""


class Body(Protocol):
    """The body of a GET whose headers have arrived. It keeps a connection until it is read or closed.

    Its length is verified. The reader must verify the checksum, which may cover more than this body after a failure.
    """

    @property
    def info(self) -> FileInfo:
        """Return the object's information from the headers; `size` is that of the whole object."""

    @property
    def length(self) -> int:
        """Return the length of this body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces as they arrive.

        Raises:
            ConnectionLost: it broke, or ended early.
        """

    async def write_to(self, sink: Callable[[memoryview], object]) -> None:
        """Pass bytes to `sink` if that is cheaper than iteration, which continues afterwards; maybe none.

        The argument of `sink` is overwritten when it returns. Iteration raises errors of the connection.
        """

    async def aclose(self) -> None:
        """Close the connection; harmless after the end, and if called twice."""


class RawPage(NamedTuple):
    """A page of a listing that may not be parsed yet, so that the next one can be requested before.

    Attributes:
        parse: returns the page, or raises an error of the request.
    """

    next_token: str | None
    parse: Callable[[], ListPage]

    @classmethod
    def of(cls, page: ListPage) -> RawPage:
        """Return a page that is parsed."""
        return cls(page.next_token, lambda: page)


class ObjectTransport(Protocol):
    """The verbs. Arguments are already checked; every error is one of `apm_s3.errors`."""

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        """GET with the whole body; its length and checksum are verified."""

    async def open(self, bucket: str, key: str, options: ReadOptions) -> Body:
        """GET, as a stream."""

    async def head(self, bucket: str, key: str, options: ReadOptions) -> FileInfo:
        """HEAD. A 404 is a plain `NotFound`, because it has no body to distinguish the bucket from the key."""

    async def tags(self, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
        """GetObjectTagging. It uses the version, the payer and the expected owner of the options."""

    async def object_lock(self, bucket: str) -> bool:
        """GetObjectLockConfiguration: whether object lock is enabled. A bucket without any is `NotConfigured`."""

    async def server_name(self, bucket: str) -> str:
        """HeadBucket: the Server header of the response; empty without one."""

    async def streams(self, bucket: str) -> bool:
        """Return whether a `Stream` is sent while it is read; otherwise, it is held in memory."""

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        """PUT in one request; a `Stream` has a known size."""

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        """DELETE of one key or version."""

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        """DeleteObjects of at most 1000 (key, version id), which XML must be able to represent (`xml.holds`)."""

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        """CopyObject. An error document with status 200 is raised."""

    async def list_files(self, bucket: str, options: ListOptions) -> ListPage:
        """One page of ListObjectsV2."""

    async def fetch_files(self, bucket: str, options: ListOptions) -> RawPage:
        """One page of ListObjectsV2, to be parsed later."""

    async def list_versions(
        self, bucket: str, options: ListOptions, key_marker: str | None, version_marker: str | None
    ) -> VersionPage:
        """One page of ListObjectVersions."""

    async def create_upload(self, bucket: str, key: str, options: UploadOptions) -> str:
        """CreateMultipartUpload: the upload id."""

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: bytes | Stream, options: UploadOptions
    ) -> PartInfo:
        """UploadPart; a `Stream` has a known size."""

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        byte_range: tuple[int, int],
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        options: CopyOptions,
    ) -> PartInfo:
        """UploadPartCopy of bytes [start, stop)."""

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        """CompleteMultipartUpload. An error document with status 200 is raised; some servers repeat it without ETag."""

    async def abort_upload(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        """AbortMultipartUpload; `options` are those of the upload."""

    async def list_parts(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> tuple[PartInfo, ...]:
        """All parts that S3 has of an upload; `options` are those of the upload."""

    async def list_uploads(self, bucket: str, options: ListOptions) -> tuple[UploadInfo, ...]:
        """All open uploads under a prefix."""

    async def presign(
        self, method: str, bucket: str, key: str, expires_in: int, options: ReadOptions | UploadOptions
    ) -> str:
        """Return a URL that lets anybody GET or PUT the object for `expires_in` seconds."""

    async def recover(self, error: ApmS3Error) -> bool:
        """Learn from `error` (clock, route, credentials), and return whether to repeat the request immediately."""

    async def aclose(self) -> None:
        """Close everything that this transport opened."""
