"""Every error that apm_s3 raises.

    ApmS3Error
    ├── InvalidRequest (also ValueError)     refused before anything was sent
    │   ├── InvalidBucketName
    │   ├── InvalidKey
    │   ├── InvalidOption
    │   ├── ObjectTooLarge
    │   ├── QueryInvalid
    │   ├── MigrationRefused
    │   └── JournalRefused
    ├── UsageError (also RuntimeError)       the manager was used incorrectly
    │   ├── ManagerClosed
    │   └── WrongEventLoop
    ├── TransportError                       no response from S3
    │   ├── ConnectFailed
    │   ├── RequestTimedOut (also TimeoutError)
    │   │   └── DeadlineExceeded
    │   └── ConnectionLost
    ├── S3Error                              S3 refused the request, or failed
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
    ├── IntegrityError                       the bytes received are not the bytes sent
    │   ├── DigestRejected (also S3Error)    S3 received damaged bytes
    │   └── ObjectChanged
    ├── BatchError
    ├── PlanOutdated                         the plan no longer matches the current state
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

Each message says what went wrong, where, and what to do. All errors can be pickled, and none contains a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from apm_s3._hints import Advice

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
    "JournalRefused",
    "KmsAccessDenied",
    "KmsKeyUnusable",
    "KmsThrottled",
    "ManagerClosed",
    "MigrationRefused",
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
    """Stable codes, the same for every transport and server; `S3Error.s3_code` has S3's own code."""

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
    """Base class of all errors of this library.

    Attributes:
        code: the stable code of the error.
        hint: what to do about it.
        retryable: whether repeating the same call may succeed.
        attempts: how many times the request was sent.
        unresolved: whether an earlier attempt may have been carried out, or may still be carried out.
        changed_nothing: whether only reads were sent, or what no reader sees, whatever this kind of error leaves open.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR
    retryable: bool = False
    changed_nothing: bool = False
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
        """Return whether the call may have taken effect, or may still do so, although it raised this error.

        If it is False, nothing was changed. Earlier attempts of the same call count as well.
        """
        return not self.changed_nothing and (self.unresolved or self._is_undecided())

    def _is_undecided(self) -> bool:
        """Return whether an error of this kind leaves open if the last attempt was carried out."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        return self.worded(self.operation, self.hint)

    def worded(self, operation: str | None, hint: str | None) -> str:
        """Return the message with another name of the operation and another hint, for readers with other words."""
        before = f"{operation}: " if operation else ""
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        after = f". {_sentence(hint)}" if hint else ""
        end = "" if after.endswith("?") else "."
        return f"{before}{self.problem}{self._where()}{self._facts()}{tries}{after}{end}"

    def _where(self) -> str:
        """Return the bucket or object, unless the problem already names it."""
        names = [name for name in (self.bucket, self.key) if name is not None]
        where = place(self.bucket, self.key)
        named = where in self.problem or all(f"'{name}'" in self.problem for name in names)
        return "" if named else f" [{where}]"

    def _facts(self) -> str:
        """Return additional facts for the message, which depend on the kind of error."""
        return ""


# --------------------------------------------------------------------------------------------------------------
# Refused before anything was sent


class InvalidRequest(ApmS3Error, ValueError):
    """A value that S3 or this library does not accept; nothing was sent."""

    code = ErrorCode.INVALID_REQUEST


class InvalidBucketName(InvalidRequest):
    """The name breaks one of S3's bucket naming rules."""


class InvalidKey(InvalidRequest):
    """The object key, or the name of a configuration file, cannot be used."""


class InvalidOption(InvalidRequest):
    """An option, or a combination of options, that makes no sense."""


class ObjectTooLarge(InvalidRequest):
    """More bytes than S3, or a configured limit, allows."""

    default_hint: ClassVar[str] = Advice.TOO_LARGE()

    def __init__(self, *, size: int, limit: int, **where: Any) -> None:
        super().__init__(f"{size} bytes exceed the limit of {limit}", **where)
        self.size: int = size
        self.limit: int = limit


class QueryInvalid(InvalidRequest):
    """The text is not valid PromQL or LogQL.

    Attributes:
        offset: where the invalid part begins, in characters.
        end: where it ends.
    """

    default_hint = "correct the query at that character"

    def __init__(self, problem: str, *, offset: int, end: int, **where: Any) -> None:
        super().__init__(problem, **where)
        self.offset: int = offset
        self.end: int = end


class MigrationRefused(InvalidRequest):
    """The target cannot keep what the source has, or `delete_extra` would delete everything.

    In the first case, nothing was moved; in the second one, nothing was deleted.

    Attributes:
        capabilities: names of what the target cannot keep; `accept` takes them.
    """

    default_hint: ClassVar[str] = Advice.LOSSES()

    def __init__(self, problem: str, *, capabilities: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(problem, **where)
        self.capabilities: tuple[str, ...] = capabilities


class JournalRefused(InvalidRequest):
    """The journal is another migration's, another process is using it, or it is not a journal; nothing was changed.

    If it can no longer be written when something may have moved, `may_have_happened` is True.
    """

    default_hint = "give the journal of this migration, or the name of a new file"


class UsageError(ApmS3Error, RuntimeError):
    """The manager was used incorrectly."""

    code = ErrorCode.USAGE


class ManagerClosed(UsageError):
    """The manager was never opened, or is already closed."""

    default_hint = "use it inside 'async with S3Manager(...) as s3', or between open() and aclose()"


class WrongEventLoop(UsageError):
    """The manager was opened on another event loop."""

    default_hint = "create one S3Manager per event loop: its connections belong to the loop that opened them"


# --------------------------------------------------------------------------------------------------------------
# No response


class TransportError(ApmS3Error):
    """There was no response from S3: the request may or may not have been carried out.

    Attributes:
        sent: whether the request may have reached S3. False only if it certainly did not.
    """

    code = ErrorCode.CONNECTION_FAILED
    retryable = True
    sent: bool = True

    def __init__(self, problem: str, *, endpoint: str | None = None, sent: bool | None = None, **where: Any) -> None:
        super().__init__(problem, **where)
        self.endpoint = endpoint
        if sent is not None:
            self.sent = sent

    def _is_undecided(self) -> bool:
        return self.sent

    def _facts(self) -> str:
        return f" (endpoint {self.endpoint})" if self.endpoint and self.endpoint not in self.problem else ""


class ConnectFailed(TransportError):
    """No connection could be established (DNS, refused, TLS); nothing was sent."""

    sent = False
    default_hint: ClassVar[str] = Advice.CONNECT()


class RequestTimedOut(TransportError, TimeoutError):
    """There was no response within the timeout of one attempt."""

    code = ErrorCode.REQUEST_TIMEOUT
    default_hint: ClassVar[str] = Advice.TIMED_OUT()


class DeadlineExceeded(RequestTimedOut):
    """The call's deadline passed. It includes waiting for the pool, connecting, retries and the body.

    `sent` is False if the call only waited for a slot of the pool, and if the commit of a configuration was not sent.
    """

    default_hint: ClassVar[str] = Advice.DEADLINE()


class ConnectionLost(TransportError):
    """The connection broke before the response was complete."""

    default_hint = "repeat the call; if this happens often, check proxies and the network"


# --------------------------------------------------------------------------------------------------------------
# S3 refused the request, or failed


class S3Error(ApmS3Error):
    """S3 refused the request, or failed.

    Attributes:
        status: the HTTP status.
        s3_code: S3's own code ("NoSuchKey"), or "" if it sent none.
        request_id: S3's id of the request, for AWS support and server logs.
        retry_after: seconds to wait, if S3 sent them.
        region: the bucket's region, if S3 sent it.
        server_time: the server's clock (Unix time) at the response, if it sent one.
    """

    code = ErrorCode.REQUEST_REJECTED
    undecided: ClassVar[bool] = False
    """Whether it is unknown after such a response if the request was carried out."""

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

    def _is_undecided(self) -> bool:
        return self.status >= 500 or self.undecided

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
    """A requested resource does not exist."""

    code = ErrorCode.NOT_FOUND
    default_hint = "check the requested names"


class BucketNotFound(NotFound):
    """The bucket does not exist."""

    code = ErrorCode.BUCKET_NOT_FOUND
    default_hint: ClassVar[str] = Advice.BUCKET_NOT_FOUND()


class ObjectNotFound(NotFound):
    """The bucket exists, but the key (or that version of it) does not."""

    code = ErrorCode.OBJECT_NOT_FOUND
    default_hint: ClassVar[str] = Advice.KEY_NOT_FOUND()


class UploadNotFound(NotFound):
    """The multipart upload is not open: it was completed, aborted, or never started."""

    code = ErrorCode.UPLOAD_NOT_FOUND
    default_hint = "start the upload again"


class AccessDenied(S3Error):
    """S3 denies access. This is never treated as "not found"."""

    code = ErrorCode.ACCESS_DENIED
    default_hint = (
        "check the IAM policy and the bucket policy of these credentials; "
        "without s3:ListBucket, S3 also returns 403 for a key that does not exist"
    )


class ExpiredToken(AccessDenied):
    """The session token has expired; refreshable credentials are refreshed and the request is repeated."""

    code = ErrorCode.EXPIRED_TOKEN
    retryable = True
    default_hint = "get fresh credentials; a static session token cannot be refreshed"


class InvalidCredentials(AccessDenied):
    """S3 does not know the access key, the signature does not match its secret, or there are no credentials."""

    code = ErrorCode.INVALID_CREDENTIALS
    default_hint: ClassVar[str] = Advice.CREDENTIALS()


class KmsAccessDenied(AccessDenied):
    """S3 would allow it, but KMS denies these credentials the key that encrypts the object."""

    code = ErrorCode.KMS_ACCESS_DENIED
    default_hint = (
        "allow kms:Decrypt to read and kms:GenerateDataKey to write (a multipart upload needs both), in the IAM policy "
        "and, if the key belongs to another account, in the key's policy too"
    )


class ClockSkewed(AccessDenied):
    """This machine's clock differs too much from S3's; it is corrected once from the server's Date, then retried."""

    code = ErrorCode.CLOCK_SKEWED
    retryable = True
    default_hint = "set this machine's clock (NTP)"


class Conflict(S3Error):
    """The current state of the resource does not allow it."""

    code = ErrorCode.CONFLICT
    undecided = True
    default_hint = "check the state of the resource, and repeat the call when it allows it"


class BucketAlreadyExists(Conflict):
    """Another account owns a bucket with this name; bucket names are global."""

    code = ErrorCode.BUCKET_ALREADY_EXISTS
    undecided = False
    default_hint = "choose another name: the bucket belongs to another account"


class BucketAlreadyOwned(BucketAlreadyExists):
    """You already own a bucket with this name."""

    default_hint: ClassVar[str] = Advice.BUCKET_OWNED()


class BucketNotEmpty(Conflict):
    """Only an empty bucket can be deleted; old versions and delete markers count."""

    code = ErrorCode.BUCKET_NOT_EMPTY
    undecided = False
    default_hint: ClassVar[str] = Advice.BUCKET_NOT_EMPTY()


class ConditionalConflict(Conflict):
    """409 ConditionalRequestConflict: another write to the key was in progress; the outcome of this one is unknown."""

    retryable = True
    default_hint = "read the object again before you repeat the write"


class PreconditionFailed(S3Error):
    """If-Match, If-None-Match or another condition did not hold; nothing was changed."""

    code = ErrorCode.PRECONDITION_FAILED
    default_hint = "another writer was faster: read the object again before you repeat the write"


class NotModified(S3Error):
    """304: the caller's copy is still current."""

    code = ErrorCode.NOT_MODIFIED
    default_hint = "use the copy you have"


class WrongRegion(S3Error):
    """The bucket is in another region (301, 307, AuthorizationHeaderMalformed); its route is learned and used."""

    code = ErrorCode.WRONG_REGION
    retryable = True
    default_hint: ClassVar[str] = Advice.WRONG_REGION()


class ObjectArchived(S3Error):
    """The object is in an archive storage class and must be restored before it can be read."""

    code = ErrorCode.OBJECT_ARCHIVED
    default_hint: ClassVar[str] = Advice.OBJECT_ARCHIVED()


class KmsKeyUnusable(S3Error):
    """The KMS key for the object is disabled, pending deletion, or does not exist."""

    code = ErrorCode.KMS_KEY_UNUSABLE
    default_hint = (
        "enable the key, or cancel its deletion (aws kms enable-key, cancel-key-deletion); to write, use another key, "
        "which must be symmetric and in the bucket's region"
    )


class NotConfigured(S3Error):
    """The bucket does not have this setting."""

    code = ErrorCode.NOT_CONFIGURED
    default_hint: ClassVar[str] = Advice.NOT_CONFIGURED()


class UnsupportedByServer(S3Error):
    """This S3-compatible server does not implement the request."""

    code = ErrorCode.UNSUPPORTED
    default_hint = "use a server that has this part of S3"

    def _is_undecided(self) -> bool:
        return False  # although the status is 501


class RequestRejected(S3Error):
    """S3 refused the request for another reason; see `s3_code` and the message."""

    default_hint = "look the code up in https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"


class Throttled(S3Error):
    """S3 asks to slow down."""

    code = ErrorCode.THROTTLED
    undecided = True
    retryable = True
    default_hint: ClassVar[str] = Advice.THROTTLED()


class KmsThrottled(Throttled):
    """KMS asks to slow down: each request for an object encrypted with a KMS key is also a request to KMS."""

    default_hint: ClassVar[str] = Advice.KMS_THROTTLED()


class ServiceUnavailable(S3Error):
    """S3 failed on its side (5xx), or timed out while waiting for the request."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    undecided = True
    retryable = True
    default_hint: ClassVar[str] = Advice.UNAVAILABLE()


# --------------------------------------------------------------------------------------------------------------
# Bytes


class IntegrityError(ApmS3Error):
    """The bytes received are not the bytes sent: a checksum or a length does not match."""

    code = ErrorCode.INTEGRITY
    retryable = True
    default_hint = "repeat the call; if this happens often, suspect the network or the server"

    def _is_undecided(self) -> bool:
        return True  # the response was damaged, not the request


class DigestRejected(S3Error, IntegrityError):
    """S3 found that the body does not match its checksum; nothing was stored."""

    code = ErrorCode.INTEGRITY
    retryable = True
    default_hint = "repeat the call; if this happens often, suspect the network or a proxy"

    def _is_undecided(self) -> bool:
        return False  # S3 refused to store the object


class ObjectChanged(IntegrityError):
    """The object was replaced while it was being read, so that its parts do not belong together."""

    retryable = False
    default_hint = "read it again"


# --------------------------------------------------------------------------------------------------------------
# Several things at once


class BatchError(ApmS3Error):
    """Some of several operations failed.

    Attributes:
        failures: what failed (a key, or an operation's position) and why.
    """

    code = ErrorCode.BATCH_FAILED
    default_hint: ClassVar[str] = Advice.BATCH()

    def __init__(self, problem: str, *, failures: Mapping[str, Exception], **where: Any) -> None:
        super().__init__(problem, **where)
        self.failures: Mapping[str, Exception] = failures


# --------------------------------------------------------------------------------------------------------------
# Configurations


class ConfigError(ApmS3Error):
    """Base class of errors about stored configurations."""

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
    """The configuration is invalid; nothing was stored. `report` lists all errors."""

    code = ErrorCode.CONFIG_INVALID
    default_hint: ClassVar[str] = Advice.CONFIG_INVALID()

    def __init__(self, problem: str, *, report: ValidationReport, **where: Any) -> None:
        super().__init__(problem, **where)
        self.report = report


class ConfigNotFound(ConfigError):
    """The environment, tool, revision or file does not exist."""

    code = ErrorCode.NOT_FOUND
    default_hint: ClassVar[str] = Advice.CONFIG_NOT_FOUND()


class RevisionConflict(ConfigError):
    """Another writer committed first; nothing was changed.

    Attributes:
        expected_revision: the revision that the caller built on, if it named one.
        current_revision: the current revision (0: none).
    """

    code = ErrorCode.CONFLICT
    default_hint: ClassVar[str] = Advice.REVISION_CONFLICT()

    def __init__(self, problem: str, *, expected_revision: int | None, current_revision: int, **where: Any) -> None:
        super().__init__(problem, **where)
        self.expected_revision = expected_revision
        self.current_revision = current_revision


class EnvironmentFrozen(ConfigError):
    """The environment is frozen: it cannot be changed until it is thawed."""

    code = ErrorCode.CONFLICT
    default_hint: ClassVar[str] = Advice.FROZEN()


class DeployRefused(ConfigError):
    """The deploy plan is blocked, or no longer applies; nothing was changed. `reasons` says why."""

    code = ErrorCode.CONFLICT
    default_hint: ClassVar[str] = Advice.DEPLOY_REFUSED()

    def __init__(self, problem: str, *, reasons: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(problem, **where)
        self.reasons = reasons


class PlanOutdated(ApmS3Error):
    """A stored plan no longer describes what would happen; nothing was changed.

    Attributes:
        changes: the differences since the plan was made, one line each.
        carried_out: by tool, the revisions that a deploy of this same plan made, if they are still the current ones.
    """

    code = ErrorCode.CONFLICT
    default_hint: ClassVar[str] = Advice.PLAN_OUTDATED()

    def __init__(self, problem: str, *, changes: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(problem, **where)
        self.changes = changes
        self.carried_out: Mapping[str, int] = {}


class CommitUnknown(ConfigError):
    """The deadline passed before the outcome of the commit was known. Call `outcome(write_id)` to find out."""

    code = ErrorCode.REQUEST_TIMEOUT
    default_hint: ClassVar[str] = Advice.COMMIT_UNKNOWN(write_id="WRITE-ID")

    def __init__(self, problem: str, *, write_id: str, **where: Any) -> None:
        super().__init__(problem, **{"hint": Advice.COMMIT_UNKNOWN(write_id=write_id), **where})
        self.write_id = write_id
        self.unresolved = True


class FormatTooNew(ConfigError):
    """The document was written by a newer version of this library, and cannot be read safely."""

    code = ErrorCode.UNSUPPORTED
    default_hint: ClassVar[str] = Advice.FORMAT_TOO_NEW()


class ConditionalWritesUnsupported(ConfigError):
    """The endpoint ignores conditional headers, which every commit relies on."""

    code = ErrorCode.UNSUPPORTED
    default_hint: ClassVar[str] = Advice.CONDITIONAL_WRITES()


class BackupInvalid(ConfigError):
    """The backup is incomplete, or a hash does not match; nothing was restored from it."""

    code = ErrorCode.INTEGRITY
    default_hint: ClassVar[str] = Advice.BACKUP_INVALID()


class StoreDamaged(ConfigError):
    """Stored objects contradict each other; nothing is written or collected until they are repaired.

    Attributes:
        releases: of a history, the releases that can be read.
        lost: of a history, why the others cannot be read, by revision.
    """

    code = ErrorCode.INTEGRITY
    default_hint: ClassVar[str] = Advice.STORE_DAMAGED()
    releases: tuple[Any, ...] = ()
    lost: Mapping[int, str] = MappingProxyType({})


def place(bucket: str | None, key: str | None) -> str:
    """Return the name of an object or a bucket for messages."""
    if bucket is None:
        return "S3" if key is None else f"'{key}'"
    return f"'{bucket}/{key}'" if key is not None else f"bucket '{bucket}'"


def _sentence(hint: str) -> str:
    """Capitalize `hint`, unless it begins with a name from code."""
    first = hint.partition(" ")[0]
    return hint[:1].upper() + hint[1:] if first.isalpha() else hint
