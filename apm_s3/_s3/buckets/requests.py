"""Sends requests for one bucket through the runner, to its region and with its expected owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from apm_s3._naming import check_bucket
from apm_s3._s3.caching import forget_after
from apm_s3._s3.engine import Capabilities
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketAlreadyOwned,
    BucketNotFound,
    NotFound,
    RequestRejected,
    S3Error,
    WrongRegion,
)
from apm_s3.events import expecting

if TYPE_CHECKING:
    from apm_s3._cache import Cache
    from apm_s3._s3.runner import Runner
    from apm_s3._s3.transports.base import ControlPlane, Endpoint


class BucketKeywords(TypedDict, total=False):
    """How to reach a bucket, as keyword arguments; see `BucketRef`."""

    region: str | None
    expected_bucket_owner: str | None


class BucketRef(NamedTuple):
    """The bucket of one call, and how to reach it.

    Attributes:
        operation: the public method that is called, for errors and events.
        name: of the bucket; empty for a call that is not about one.
        region: whose endpoint is asked; the manager's own where it is None.
        expected_bucket_owner: the account that the bucket has to belong to: S3 refuses the request where it does not.
        seen: it was made, or found, just now: not every part of S3 may know it yet, and "no such bucket" passes.
    """

    operation: str
    name: str
    region: str | None = None
    expected_bucket_owner: str | None = None
    seen: bool = False


def bucket_ref(operation: str, name: str, **where: Unpack[BucketKeywords]) -> BucketRef:
    """Return the bucket, if the name is valid.

    Raises:
        InvalidBucketName: it is not a valid bucket name.
    """
    check_bucket(name)
    return BucketRef(operation, name, **where)


class BucketRequests:
    """Sends requests for bucket operations."""

    def __init__(self, control: ControlPlane, runner: Runner, cache: Cache) -> None:
        self._control = control
        self._runner = runner
        self._cache = cache
        self.capabilities = Capabilities()

    async def send(
        self,
        ref: BucketRef,
        method: str,
        *,
        done_already: Callable[[S3Error], bool] | None = None,
        **params: Any,
    ) -> Mapping[str, Any]:
        """Send `method` with boto3's parameters, and return the response.

        Args:
            done_already: returns whether an error means that the change was made before. If an earlier attempt of this
                call got no response, that attempt made the change, and an empty response is returned.
        """
        name = ref.name or None
        if name is not None:
            params["Bucket"] = name
        if ref.expected_bucket_owner is not None:
            params["ExpectedBucketOwner"] = ref.expected_bucket_owner

        async def attempt() -> Mapping[str, Any]:
            try:
                return await self._control.call(method, region=ref.region, **params)
            except BucketNotFound as error:
                error.retryable = ref.seen
                raise

        async def resolve_outcome(error: S3Error, unresolved: bool) -> Mapping[str, Any] | None:
            return {} if unresolved and done_already is not None and done_already(error) else None

        try:
            response = await self._runner.run(ref.operation, name, None, attempt, verdict=resolve_outcome)
        finally:
            forget_after(self._cache, method, name)
        self.capabilities.learn_server(response)
        return response

    async def create(self, ref: BucketRef, params: Mapping[str, Any]) -> None:
        """Send CreateBucket for a bucket that did not exist.

        Raises:
            BucketAlreadyOwned: another call created it meanwhile.
        """
        await self.send(
            ref._replace(expected_bucket_owner=None, seen=False),  # there is no owner to expect yet
            "create_bucket",
            done_already=lambda error: isinstance(error, BucketAlreadyOwned),
            **params,
        )

    async def delete(self, ref: BucketRef) -> None:
        """Send DeleteBucket.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it is not empty.
        """
        await self.send(ref, "delete_bucket", done_already=lambda error: isinstance(error, BucketNotFound))

    async def head(self, ref: BucketRef) -> Mapping[str, Any] | None:
        """Send HeadBucket, and return the response; None if the bucket does not exist.

        Raises:
            AccessDenied: it may exist, but access is denied; this never means that it is absent.
        """
        try:
            with expecting(NotFound):
                return await self.send(ref, "head_bucket")
        except NotFound:
            return None
        except WrongRegion as error:
            if error.region is None:  # not a response of S3
                raise
            return {"BucketRegion": error.region}
        except (AccessDenied, RequestRejected):
            # A HEAD has no body, so no code to distinguish another account's bucket from a wrong key; a GET has.
            try:
                return await self.send(ref, "get_bucket_location")
            except NotFound:
                return None

    async def endpoint(self, region: str | None) -> Endpoint:
        """Return the endpoint of a region."""
        return await self._control.endpoint(region)


def outcome_unknown(error: BaseException) -> bool:
    """Return whether a write that failed with this error may have taken effect anyway."""
    return not isinstance(error, ApmS3Error) or error.may_have_happened
