"""Every error that apm_s3 raises.

    ApmS3Error
    ├── InvalidRequest (also ValueError)     refused before anything was sent
    │   ├── InvalidBucketName
    │   ├── InvalidKey
    │   ├── InvalidOption
    │   ├── ObjectTooLarge
    │   └── QueryInvalid
    ├── UsageError (also RuntimeError)       the manager was used wrongly
    │   ├── ManagerClosed
    │   └── WrongEventLoop
    ├── TransportError                       no answer from S3
    │   ├── ConnectFailed
    │   ├── RequestTimedOut (also TimeoutError)
    │   │   └── DeadlineExceeded
    │   └── ConnectionLost
    ├── S3Error                              an answer that says no
    │   ├── NotFound
    │   │   ├── BucketNotFound
    │   │   ├── ObjectNotFound
    │   │   └── UploadNotFound
    │   ├── AccessDenied
    │   │   ├── ExpiredToken
    │   │   ├── InvalidCredentials
    │   │   ├── KmsAccessDenied
    │   │   └── ClockSkewed                  recoverable
    │   ├── Conflict
    │   │   ├── BucketAlreadyExists
    │   │   │   └── BucketAlreadyOwned
    │   │   ├── BucketNotEmpty
    │   │   └── ConditionalConflict
    │   ├── PreconditionFailed
    │   ├── NotModified
    │   ├── WrongRegion                      recoverable
    │   ├── ObjectArchived
    │   ├── KmsKeyUnusable
    │   ├── NotConfigured
    │   ├── UnsupportedByServer
    │   ├── RequestRejected                  any other 4xx
    │   ├── Throttled
    │   │   └── KmsThrottled
    │   └── ServiceUnavailable               500, 502, 503, 504 and RequestTimeout
    ├── IntegrityError                       the bytes are not those that were sent
    │   ├── DigestRejected (also S3Error)    S3 found it, on the way in
    │   └── ObjectChanged
    ├── BatchError
    ├── PlanOutdated                         planned anew, something is different
    └── ConfigError
        ├── ConfigInvalid
        ├── ConfigNotFound
        ├── RevisionConflict
        ├── EnvironmentFrozen
        ├── DeployRefused
        ├── CommitUnknown
        ├── FormatTooNew
        ├── ConditionalWritesUnsupported
        ├── BackupInvalid
        └── StoreDamaged

Each message says what was wrong, where, and what to do. All of them pickle, and none carries a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from apm_s3.reports import ValidationReport

__all__ = [
    "AccessDenied",
    "ApmS3Error",
    "BackupInvalid",
    "BatchError",
    "BucketAlreadyExists",
    "BucketAlreadyOwned",
    "BucketNotEmpty",
    "BucketNotFound",
    "ClockSkewed",
    "CommitUnknown",
    "ConditionalConflict",
    "ConditionalWritesUnsupported",
    "ConfigError",
    "ConfigInvalid",
    "ConfigNotFound",
    "Conflict",
    "ConnectFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "DeployRefused",
    "DigestRejected",
    "EnvironmentFrozen",
    "ErrorCode",
    "ExpiredToken",
    "FormatTooNew",
    "IntegrityError",
    "InvalidBucketName",
    "InvalidCredentials",
    "InvalidKey",
    "InvalidOption",
    "InvalidRequest",
    "KmsAccessDenied",
    "KmsKeyUnusable",
    "KmsThrottled",
    "ManagerClosed",
    "NotConfigured",
    "NotFound",
    "NotModified",
    "ObjectArchived",
    "ObjectChanged",
    "ObjectNotFound",
    "ObjectTooLarge",
    "PlanOutdated",
    "PreconditionFailed",
    "QueryInvalid",
    "RequestRejected",
    "RequestTimedOut",
    "RevisionConflict",
    "S3Error",
    "ServiceUnavailable",
    "StoreDamaged",
    "Throttled",
    "TransportError",
    "UnsupportedByServer",
    "UploadNotFound",
    "UsageError",
    "WrongEventLoop",
    "WrongRegion",
]


class ErrorCode(StrEnum):
    """Our own stable codes, the same over every transport and server; S3's own stands in `S3Error.s3_code`."""

    ACCESS_DENIED = "ACCESS_DENIED"
    BATCH_FAILED = "BATCH_FAILED"
    BUCKET_ALREADY_EXISTS = "BUCKET_ALREADY_EXISTS"
    BUCKET_NOT_EMPTY = "BUCKET_NOT_EMPTY"
    BUCKET_NOT_FOUND = "BUCKET_NOT_FOUND"
    CLOCK_SKEWED = "CLOCK_SKEWED"
    CONFIG_INVALID = "CONFIG_INVALID"
    CONFLICT = "CONFLICT"
    CONNECTION_FAILED = "CONNECTION_FAILED"
    EXPIRED_TOKEN = "EXPIRED_TOKEN"  # noqa: S105 - a code, not a token
    INTEGRITY = "INTEGRITY"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
    INVALID_REQUEST = "INVALID_REQUEST"
    KMS_ACCESS_DENIED = "KMS_ACCESS_DENIED"
    KMS_KEY_UNUSABLE = "KMS_KEY_UNUSABLE"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    NOT_FOUND = "NOT_FOUND"
    NOT_MODIFIED = "NOT_MODIFIED"
    OBJECT_ARCHIVED = "OBJECT_ARCHIVED"
    OBJECT_NOT_FOUND = "OBJECT_NOT_FOUND"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    REQUEST_REJECTED = "REQUEST_REJECTED"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    THROTTLED = "THROTTLED"
    UNSUPPORTED = "UNSUPPORTED"
    UPLOAD_NOT_FOUND = "UPLOAD_NOT_FOUND"
    USAGE = "USAGE"
    WRONG_REGION = "WRONG_REGION"


def _rebuild(cls: type[ApmS3Error], args: tuple[Any, ...], state: dict[str, Any]) -> ApmS3Error:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ApmS3Error(Exception):
    """The root of all errors of this library.

    Attributes:
        code: our own code for the error.
        hint: what to do about it.
        retryable: whether the same call may succeed if it is simply made again.
        attempts: how many times the request was sent.
        unresolved: whether an earlier attempt may have been carried out, or may still be.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR
    retryable: bool = False
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        problem: str,
        *,
        operation: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.operation = operation
        self.bucket = bucket
        self.key = key
        self.hint: str | None = hint if hint is not None else self.default_hint or None
        self.attempts = 1
        self.unresolved = False

    @property
    def may_have_happened(self) -> bool:
        """Whether what was asked for may have been done, or may still be, although it ended with this error.

        Only where it is False, nothing was changed for certain. An earlier attempt of the same call counts as well.
        """
        return self.unresolved

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        operation = f"{self.operation}: " if self.operation else ""
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        hint = f". {_sentence(self.hint)}" if self.hint else ""
        end = "" if hint.endswith("?") else "."
        return f"{operation}{self.problem}{self._where()}{self._facts()}{tries}{hint}{end}"

    def _where(self) -> str:
        """The place, unless the problem names it already."""
        names = [name for name in (self.bucket, self.key) if name is not None]
        where = place(self.bucket, self.key)
        named = where in self.problem or all(f"'{name}'" in self.problem for name in names)
        return "" if named else f" [{where}]"

    def _facts(self) -> str:
        """What an error of this kind knows beside the place."""
        return ""


# --------------------------------------------------------------------------------------------------------------
# Refused before anything was sent


class InvalidRequest(ApmS3Error, ValueError):
    """A value that S3, or this library, would not take; nothing was sent."""

    code = ErrorCode.INVALID_REQUEST


class InvalidBucketName(InvalidRequest):
    """The name breaks one of S3's bucket naming rules."""


class InvalidKey(InvalidRequest):
    """The object key, or the name of a configuration file, cannot be used."""


class InvalidOption(InvalidRequest):
    """An option, or a combination of options, that makes no sense."""


class ObjectTooLarge(InvalidRequest):
    """More bytes than S3, or a bound that was set, allows."""

    default_hint = "send less, or raise the bound where it is one of this library's settings"

    def __init__(self, *, size: int, limit: int, **where: Any) -> None:
        super().__init__(f"{size} bytes are more than the {limit} that are allowed", **where)
        self.size: int = size
        self.limit: int = limit


class QueryInvalid(InvalidRequest):
    """A text that is not PromQL or not LogQL.

    Attributes:
        offset: where the part that is wrong begins, in characters.
        end: where it ends.
    """

    default_hint = "correct the text from that character on"

    def __init__(self, problem: str, *, offset: int, end: int, **where: Any) -> None:
        super().__init__(problem, **where)
        self.offset: int = offset
        self.end: int = end


class UsageError(ApmS3Error, RuntimeError):
    """The manager was used in a way that cannot work."""

    code = ErrorCode.USAGE


class ManagerClosed(UsageError):
    """The manager was never opened, or is closed already."""

    default_hint = "use it inside 'async with S3Manager(...) as s3', or between open() and aclose()"


class WrongEventLoop(UsageError):
    """The manager was opened on another event loop."""

    default_hint = "make one S3Manager per event loop: its connections belong to the loop that opened them"


# --------------------------------------------------------------------------------------------------------------
# No answer


class TransportError(ApmS3Error):
    """S3 gave no answer: what was asked for may have happened, or not.

    Attributes:
        sent: whether the request may have reached S3. False only where it certainly did not.
    """

    code = ErrorCode.CONNECTION_FAILED
    retryable = True
    sent: bool = True

    def __init__(self, problem: str, *, endpoint: str | None = None, **where: Any) -> None:
        super().__init__(problem, **where)
        self.endpoint = endpoint

    @property
    def may_have_happened(self) -> bool:
        """It may, unless it was certainly not sent."""
        return self.unresolved or self.sent

    def _facts(self) -> str:
        return f" (endpoint {self.endpoint})" if self.endpoint and self.endpoint not in self.problem else ""


class ConnectFailed(TransportError):
    """No connection could be made (DNS, refused, TLS): nothing was sent."""

    sent = False
    default_hint = "check endpoint_url, the network, proxies and certificates"


class RequestTimedOut(TransportError, TimeoutError):
    """No answer came within the timeout of one attempt."""

    code = ErrorCode.REQUEST_TIMEOUT
    default_hint = "make the call again, or raise S3Settings.timeouts.read where the server is slow"


class DeadlineExceeded(RequestTimedOut):
    """The call's deadline passed: waiting for the pool, connecting, retries and the body are all counted.

    `sent` is False where the call did nothing but wait for a slot of the pool.
    """

    default_hint = "raise the deadline (S3Settings.timeouts.deadline), or lower the load"


class ConnectionLost(TransportError):
    """The connection broke before the answer was whole."""

    default_hint = "make the call again, and look at proxies and the network if it happens often"


# --------------------------------------------------------------------------------------------------------------
# An answer that says no


class S3Error(ApmS3Error):
    """S3 answered, and said no.

    Attributes:
        status: the HTTP status.
        s3_code: S3's own code ("NoSuchKey"), or "" where it sent none.
        request_id: S3's id of the request, for its support and logs.
        retry_after: seconds that S3 asked to wait, if it did.
        region: the region that S3 named, if it did.
        server_time: the server's clock (Unix time) when it answered, if it said.
    """

    code = ErrorCode.REQUEST_REJECTED
    undecided: ClassVar[bool] = False
    """Whether such an answer leaves open what became of the request."""

    def __init__(
        self,
        problem: str,
        *,
        status: int = 0,
        s3_code: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        region: str | None = None,
        server_time: float | None = None,
        **where: Any,
    ) -> None:
        super().__init__(problem, **where)
        self.status = status
        self.s3_code = s3_code
        self.request_id = request_id
        self.retry_after = retry_after
        self.region = region
        self.server_time = server_time

    @property
    def may_have_happened(self) -> bool:
        """It may where S3 failed on its side, or says only that something else was in the way."""
        return self.unresolved or self.status >= 500 or self.undecided

    def _facts(self) -> str:
        facts = [self.code.value]
        if self.s3_code:
            facts.append(self.s3_code)
        if self.status:
            facts.append(str(self.status))
        if self.request_id:
            facts.append(f"request {self.request_id}")
        return f" ({', '.join(facts)})"


class NotFound(S3Error):
    """Something that was asked for is not there."""

    code = ErrorCode.NOT_FOUND
    default_hint = "check the names that were asked for"


class BucketNotFound(NotFound):
    """The bucket does not exist."""

    code = ErrorCode.BUCKET_NOT_FOUND
    default_hint = "create it with create_bucket or create_apm_bucket, or check its name and region"


class ObjectNotFound(NotFound):
    """The bucket is there, the key (or that version of it) is not."""

    code = ErrorCode.OBJECT_NOT_FOUND
    default_hint = "check the key (and the version id); list_files shows what is there"


class UploadNotFound(NotFound):
    """The multipart upload is not open: completed, aborted, or never begun."""

    code = ErrorCode.UPLOAD_NOT_FOUND
    default_hint = "begin the upload again"


class AccessDenied(S3Error):
    """S3 does not allow it. Never taken for "not found"."""

    code = ErrorCode.ACCESS_DENIED
    default_hint = (
        "check the IAM policy and the bucket policy of these credentials; "
        "without s3:ListBucket, S3 answers 403 for a key that does not exist, too"
    )


class ExpiredToken(AccessDenied):
    """The session token has expired; refreshable credentials are refreshed and the request repeated."""

    code = ErrorCode.EXPIRED_TOKEN
    retryable = True
    default_hint = "get fresh credentials; a static session token cannot be refreshed"


class InvalidCredentials(AccessDenied):
    """S3 does not know the access key, or the signature does not match its secret; or there are none at all."""

    code = ErrorCode.INVALID_CREDENTIALS
    default_hint = "check the access key id and its secret"


class KmsAccessDenied(AccessDenied):
    """S3 would allow it, but KMS does not let these credentials use the key that the object is encrypted with."""

    code = ErrorCode.KMS_ACCESS_DENIED
    default_hint = (
        "allow kms:Decrypt to read and kms:GenerateDataKey to write (a multipart upload needs both), in the IAM policy "
        "and, where the key belongs to another account, in the key's policy too"
    )


class ClockSkewed(AccessDenied):
    """This machine's clock is too far from S3's. Corrected once from the server's Date, then repeated."""

    code = ErrorCode.CLOCK_SKEWED
    retryable = True
    default_hint = "set this machine's clock (NTP)"


class Conflict(S3Error):
    """The state of the resource does not allow it now."""

    code = ErrorCode.CONFLICT
    undecided = True
    default_hint = "look at the resource's state, and make the call again when it allows it"


class BucketAlreadyExists(Conflict):
    """The name is taken, by somebody else: bucket names are global."""

    code = ErrorCode.BUCKET_ALREADY_EXISTS
    undecided = False
    default_hint = "it belongs to another account: choose another name"


class BucketAlreadyOwned(BucketAlreadyExists):
    """The bucket exists and is yours."""

    default_hint = "it is yours already: use ensure_bucket"


class BucketNotEmpty(Conflict):
    """Only an empty bucket can be deleted; old versions and delete markers count."""

    code = ErrorCode.BUCKET_NOT_EMPTY
    undecided = False
    default_hint = "delete_bucket(name, force=True) empties it first"


class ConditionalConflict(Conflict):
    """409 ConditionalRequestConflict: another write to the key was under way; nothing is known of this one."""

    retryable = True
    default_hint = "read the object again and decide anew"


class PreconditionFailed(S3Error):
    """If-Match, If-None-Match or another condition did not hold; nothing was changed."""

    code = ErrorCode.PRECONDITION_FAILED
    default_hint = "somebody else was faster: read again and decide anew"


class NotModified(S3Error):
    """304: what the caller has already is still current."""

    code = ErrorCode.NOT_MODIFIED
    default_hint = "use what you have"


class WrongRegion(S3Error):
    """The bucket lives elsewhere (301, 307, AuthorizationHeaderMalformed); the new route is learned and used."""

    code = ErrorCode.WRONG_REGION
    retryable = True
    default_hint = "name the bucket's region"


class ObjectArchived(S3Error):
    """The object is in an archive class and has to be restored before it can be read."""

    code = ErrorCode.OBJECT_ARCHIVED
    default_hint = "ask for it with restore_archived(bucket, key, days=...), wait, and read it again"


class KmsKeyUnusable(S3Error):
    """The KMS key that the object is, or is to be, encrypted with is disabled, about to be deleted, or not there."""

    code = ErrorCode.KMS_KEY_UNUSABLE
    default_hint = (
        "enable the key, or cancel its deletion (aws kms enable-key, cancel-key-deletion); to write, name another one, "
        "which has to be a symmetric key in the bucket's region"
    )


class NotConfigured(S3Error):
    """The bucket has no such setting."""

    code = ErrorCode.NOT_CONFIGURED
    default_hint = "set it with set_setting, or take it as absent"


class UnsupportedByServer(S3Error):
    """This S3-compatible server does not implement the request."""

    code = ErrorCode.UNSUPPORTED
    default_hint = "the server lacks this part of S3"

    @property
    def may_have_happened(self) -> bool:
        """It did not, though the status is 501."""
        return self.unresolved


class RequestRejected(S3Error):
    """S3 refused the request for another reason, which `s3_code` and the message name."""

    default_hint = "look the code up in https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"


class Throttled(S3Error):
    """S3 asks to slow down."""

    code = ErrorCode.THROTTLED
    undecided = True
    retryable = True
    default_hint = "lower max_concurrency, or spread keys over more prefixes"


class KmsThrottled(Throttled):
    """KMS asks to slow down: each request for an object that is encrypted with a KMS key is one of KMS, too."""

    default_hint = (
        "turn on S3 Bucket Keys (Encryption(bucket_key=True)), raise the KMS request quota, or lower max_concurrency"
    )


class ServiceUnavailable(S3Error):
    """S3 failed on its side (5xx, or it gave up waiting for the request)."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    undecided = True
    retryable = True
    default_hint = "make the call again later, and look at the server's health"


# --------------------------------------------------------------------------------------------------------------
# Bytes


class IntegrityError(ApmS3Error):
    """What arrived is not what was sent: a checksum or a length does not match."""

    code = ErrorCode.INTEGRITY
    retryable = True
    default_hint = "make the call again, and suspect the network or the server if it happens often"

    @property
    def may_have_happened(self) -> bool:
        """It may: what came damaged was an answer."""
        return True


class DigestRejected(S3Error, IntegrityError):
    """S3 found that the body does not match its checksum; nothing was stored."""

    code = ErrorCode.INTEGRITY
    retryable = True
    default_hint = "make the call again, and suspect what lies between here and S3 if it happens often"

    @property
    def may_have_happened(self) -> bool:
        """It did not: S3 refused to store it."""
        return self.unresolved


class ObjectChanged(IntegrityError):
    """The object was replaced while it was being read; the parts would not fit together."""

    retryable = False
    default_hint = "read it again"


# --------------------------------------------------------------------------------------------------------------
# Several things at once


class BatchError(ApmS3Error):
    """Some operations of several failed.

    Attributes:
        failures: what failed (a key, or an operation's position) and why.
    """

    code = ErrorCode.BATCH_FAILED
    default_hint = "'failures' says what failed and why"

    def __init__(self, problem: str, *, failures: Mapping[str, Exception], **where: Any) -> None:
        super().__init__(problem, **where)
        self.failures: Mapping[str, Exception] = failures


# --------------------------------------------------------------------------------------------------------------
# Configurations


class ConfigError(ApmS3Error):
    """The root of what can go wrong with stored configurations."""

    def __init__(
        self,
        problem: str,
        *,
        tool: str | None = None,
        environment: str | None = None,
        **where: Any,
    ) -> None:
        super().__init__(problem, **where)
        self.tool = tool
        self.environment = environment

    def _facts(self) -> str:
        names = [name for name in (self.tool, self.environment) if name is not None and name not in self.problem]
        return f" ({' in '.join(names)})" if names else ""


class ConfigInvalid(ConfigError):
    """The configuration has errors; nothing was stored. `report` lists every one of them."""

    code = ErrorCode.CONFIG_INVALID
    default_hint = "correct what 'report' lists, and upload it again"

    def __init__(self, problem: str, *, report: ValidationReport, **where: Any) -> None:
        super().__init__(problem, **where)
        self.report = report


class ConfigNotFound(ConfigError):
    """There is no such environment, tool, revision or file."""

    code = ErrorCode.NOT_FOUND
    default_hint = "list() and history() show what there is"


class RevisionConflict(ConfigError):
    """Somebody else committed first; nothing was changed.

    Attributes:
        expected_revision: the revision the caller built on, if it named one.
        current_revision: the revision that is there now (0: none).
    """

    code = ErrorCode.CONFLICT
    default_hint = "look at what is current now, and make the change again on top of it; for a deploy, plan it again"

    def __init__(self, problem: str, *, expected_revision: int | None, current_revision: int, **where: Any) -> None:
        super().__init__(problem, **where)
        self.expected_revision = expected_revision
        self.current_revision = current_revision


class EnvironmentFrozen(ConfigError):
    """The environment is frozen: it takes no change until it is thawed."""

    code = ErrorCode.CONFLICT
    default_hint = "thaw it, or wait until whoever froze it does"


class DeployRefused(ConfigError):
    """A deploy plan that is blocked, or no longer fits; nothing was changed. `reasons` says why."""

    code = ErrorCode.CONFLICT
    default_hint = "make a new plan once 'reasons' are dealt with"

    def __init__(self, problem: str, *, reasons: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(problem, **where)
        self.reasons = reasons


class PlanOutdated(ApmS3Error):
    """A plan that was written down no longer says what would happen; nothing was changed.

    Attributes:
        changes: what is different since it was made, one line each.
    """

    code = ErrorCode.CONFLICT
    default_hint = "make a new plan, and have that one approved"

    def __init__(self, problem: str, *, changes: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(problem, **where)
        self.changes = changes


class CommitUnknown(ConfigError):
    """The deadline passed before it was known whether the commit took effect. `outcome(write_id)` will tell."""

    code = ErrorCode.REQUEST_TIMEOUT
    default_hint = "ask outcome(write_id) before you try again"

    def __init__(self, problem: str, *, write_id: str, **where: Any) -> None:
        super().__init__(problem, **where)
        self.write_id = write_id
        self.unresolved = True


class FormatTooNew(ConfigError):
    """The document was written by a newer version of this library, and is not guessed at."""

    code = ErrorCode.UNSUPPORTED
    default_hint = "upgrade apm_s3"


class ConditionalWritesUnsupported(ConfigError):
    """The endpoint ignores conditional headers, on which every commit rests."""

    code = ErrorCode.UNSUPPORTED
    default_hint = "use a server that honours If-Match, or give up safety with require_conditional_writes=False"


class BackupInvalid(ConfigError):
    """The backup is incomplete, or a hash in it does not match; nothing was restored from it."""

    code = ErrorCode.INTEGRITY
    default_hint = "take another backup: list_backups shows them"


class StoreDamaged(ConfigError):
    """What is stored contradicts itself; nothing is written or collected until it is repaired."""

    code = ErrorCode.INTEGRITY
    default_hint = "run fsck, which explains what is wrong, and repair, which mends it"


def place(bucket: str | None, key: str | None) -> str:
    """How messages name an object, or a bucket."""
    if bucket is None:
        return "S3" if key is None else f"'{key}'"
    return f"'{bucket}/{key}'" if key is not None else f"bucket '{bucket}'"


def _sentence(hint: str) -> str:
    """`hint` with a capital, unless it begins with the name of something in code."""
    first = hint.partition(" ")[0]
    return hint[:1].upper() + hint[1:] if first.isalpha() else hint
