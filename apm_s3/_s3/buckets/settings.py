"""Bucket settings. "Not configured" is None; denied, throttled and unsupported are errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar, cast

from apm_s3._s3.buckets.requests import BucketRef, BucketRequests
from apm_s3._s3.engine import TRANSITIONS
from apm_s3._tasks import run_all
from apm_s3._wire.bucket_settings import SETTINGS, SettingApi
from apm_s3.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwned,
    BucketNotFound,
    FormatTooNew,
    IntegrityError,
    InvalidOption,
    NotConfigured,
    RequestRejected,
    S3Error,
    UnsupportedByServer,
)
from apm_s3.events import expecting
from apm_s3.options._bucket_settings import BucketSetting, Policy, Versioning
from apm_s3.options._buckets import Lifecycle

S = TypeVar("S", bound=BucketSetting)


class BucketSettings:
    """Reads, writes and removes bucket settings."""

    def __init__(self, requests: BucketRequests) -> None:
        self._requests = requests

    async def read(self, ref: BucketRef, kind: type[S]) -> S | None:
        """Return the setting of this kind; None if it is not configured.

        Raises:
            UnsupportedByServer: the server does not know this kind.
        """
        api = _api(kind)
        if self._requests.capabilities.lacks(kind.__name__):
            raise _unsupported(ref, kind.__name__)
        try:
            with expecting(NotConfigured):
                response = await self._requests.send(ref, api.get)
        except NotConfigured:
            return None
        except S3Error as error:
            if not _is_unknown(error):
                raise
            self._requests.capabilities.learn_lack(kind.__name__)
            raise _unsupported(ref, kind.__name__) from error
        try:
            return cast("S | None", api.read(response))
        except FormatTooNew as error:
            error.operation, error.bucket = ref.operation, ref.name
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"the response is not a document of S3: {type(error).__name__} in the {kind.__name__}",
                operation=ref.operation, bucket=ref.name, hint="suspect the server, or a proxy in front of it",
            ) from error  # fmt: skip

    async def read_many(
        self, ref: BucketRef, kinds: Iterable[type[BucketSetting]]
    ) -> tuple[dict[type[BucketSetting], BucketSetting | None], tuple[str, ...]]:
        """Read settings in parallel, and return them with the names of the kinds that the server does not know."""

        async def one(kind: type[BucketSetting]) -> tuple[type[BucketSetting], BucketSetting | None, bool]:
            try:
                with expecting(UnsupportedByServer):
                    return kind, await self.read(ref, kind), True
            except UnsupportedByServer:
                return kind, None, False

        found = await run_all([one(kind) for kind in kinds])
        settings = {kind: setting for kind, setting, supported in found if supported}
        return settings, tuple(kind.__name__ for kind, _, supported in found if not supported)

    async def write(self, ref: BucketRef, setting: BucketSetting, *, mfa: str | None = None) -> None:
        """Set a setting of the bucket, replacing the current one of its kind.

        Raises:
            InvalidOption: S3 would refuse it; nothing was sent.
            UnsupportedByServer: the server does not know this kind; nothing was changed.
        """
        setting.check()
        params = _api(type(setting)).write(setting) | _extras(setting, mfa)
        await self._send(ref, _feature(setting), type(setting), _api(type(setting)).put, params)

    async def require_bucket(self, ref: BucketRef) -> None:
        """On S3-compatible servers, make sure that the bucket exists before something is written to it.

        A server that lacks a setting may treat its PUT as CreateBucket, which is harmless if the bucket exists.
        The response also has the server's name, from which its gaps are known.

        Raises:
            BucketNotFound: it does not exist.
        """
        is_aws = (await self._requests.endpoint(ref.region)).is_aws
        if not is_aws and await self._requests.head(ref) is None:
            raise BucketNotFound(
                f"bucket '{ref.name}' does not exist", operation=ref.operation, bucket=ref.name, status=404
            )

    async def remove(self, ref: BucketRef, kind: type[BucketSetting], *, mfa: str | None) -> None:
        """Remove the setting: versioning is suspended, and object lock loses its default retention."""
        api = _api(kind)
        # A server that lacks a setting may treat its DELETE as DeleteBucket, so settings that do not exist are not
        # deleted.
        is_aws = (await self._requests.endpoint(ref.region)).is_aws
        if (kind is Versioning or not is_aws) and await self.read(ref, kind) is None:
            return
        params = dict(api.removal)
        if kind is Versioning and mfa is not None:
            params["MFA"] = mfa
        # Some servers return an error if there is nothing to remove.
        with suppress(NotConfigured):
            await self._send(ref, kind.__name__, kind, api.remove, params)

    async def _send(
        self,
        ref: BucketRef,
        feature: str,
        kind: type[BucketSetting],
        method: str,
        params: Mapping[str, Any],
    ) -> None:
        for name in (kind.__name__, feature):
            if self._requests.capabilities.lacks(name):
                raise _unsupported(ref, name)
        try:
            await self._requests.send(ref, method, **params)
        except S3Error as error:
            # BucketAlreadyExists: it was treated as CreateBucket, which is harmless because the bucket exists.
            taken = isinstance(error, BucketAlreadyExists | BucketAlreadyOwned)
            if not (_is_unknown(error) or taken or await self._is_foreign(ref, kind, error)):
                raise
            self._requests.capabilities.learn_lack(feature)
            raise _unsupported(ref, feature) from error

    async def _is_foreign(self, ref: BucketRef, kind: type[BucketSetting], error: S3Error) -> bool:
        """Return whether a change was refused because the server does not know this kind, which reading it shows."""
        if not isinstance(error, RequestRejected) or (await self._requests.endpoint(ref.region)).is_aws:
            return False
        _, missing = await self.read_many(ref, [kind])
        return bool(missing)


def without_transitions(lifecycle: Lifecycle) -> Lifecycle | None:
    """Return the lifecycle without transitions, for servers that lack them; None if nothing is left."""
    kept = (replace(rule, transitions=(), noncurrent_transitions=()) for rule in lifecycle.rules)
    rules = tuple(rule for rule in kept if not rule.does_nothing)
    return replace(lifecycle, rules=rules) if rules else None


def check_mfa(setting: Versioning, mfa: str | None) -> None:
    """Refuse MFA delete without a code.

    Raises:
        InvalidOption: the code is missing.
    """
    if setting.mfa_delete and mfa is None:
        raise InvalidOption(
            "MFA delete needs the code of an MFA device", hint="pass mfa='serial code' of the root user's device"
        )


def _api(kind: type[BucketSetting]) -> SettingApi:
    try:
        return SETTINGS[kind]
    except KeyError:
        names = ", ".join(known.__name__ for known in SETTINGS)
        raise InvalidOption(f"{kind!r} is not a kind of bucket setting", hint=f"use one of {names}") from None


def _extras(setting: BucketSetting, mfa: str | None) -> dict[str, Any]:
    """Return parameters in addition to the document."""
    if isinstance(setting, Versioning) and mfa is not None:
        document = {
            "Status": "Enabled" if setting.enabled else "Suspended",
            "MFADelete": "Enabled" if setting.mfa_delete else "Disabled",
        }
        return {"MFA": mfa, "VersioningConfiguration": document}
    if isinstance(setting, Versioning):
        check_mfa(setting, mfa)
    # Without this, S3 refuses a policy that its author could not change again.
    if isinstance(setting, Policy) and "s3:PutBucketPolicy" in setting.text:
        return {"ConfirmRemoveSelfBucketAccess": True}
    return {}


def _feature(setting: BucketSetting) -> str:
    """Return what a server lacks that does not know this setting; for a lifecycle, maybe only transitions."""
    if isinstance(setting, Lifecycle) and any(
        rule.transitions or rule.noncurrent_transitions for rule in setting.rules
    ):
        return TRANSITIONS
    return type(setting).__name__


def _is_unknown(error: S3Error) -> bool:
    return isinstance(error, UnsupportedByServer) or error.status == 405


def _unsupported(ref: BucketRef, feature: str) -> UnsupportedByServer:
    return UnsupportedByServer(
        f"this S3-compatible server has no {feature} for bucket '{ref.name}'", operation=ref.operation, bucket=ref.name
    )
