"""Errors tell what happened, where, and what to do; they can be pickled and contain no secret."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

from apm_s3 import errors
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketAlreadyExists,
    BucketAlreadyOwned,
    BucketNotFound,
    ClockSkewed,
    ConditionalConflict,
    ConfigNotFound,
    Conflict,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DigestRejected,
    ErrorCode,
    ExpiredToken,
    IntegrityError,
    InvalidCredentials,
    InvalidRequest,
    KmsAccessDenied,
    KmsKeyUnusable,
    KmsThrottled,
    NotConfigured,
    NotFound,
    NotModified,
    ObjectArchived,
    ObjectNotFound,
    PreconditionFailed,
    RequestRejected,
    RequestTimedOut,
    S3Error,
    ServiceUnavailable,
    Throttled,
    TransportError,
    UnsupportedByServer,
    UploadNotFound,
    UsageError,
    WrongRegion,
)
from apm_s3.reports import ValidationReport
from tests.seams.wire import error_of_response


def every_error() -> list[type[ApmS3Error]]:
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ApmS3Error)]
    return sorted(found, key=lambda cls: cls.__name__)


def make(cls: type[ApmS3Error], problem: str = "it went wrong", **where: Any) -> ApmS3Error:
    """An instance, made with the arguments of its constructor."""
    special: dict[str, Any] = {
        "size": 2,
        "limit": 1,
        "failures": {"key": ConnectionLost("lost")},
        "report": ValidationReport("loki", "config", None),
        "expected_revision": 1,
        "current_revision": 2,
        "write_id": "w1",
        "offset": 0,
        "end": 1,
    }
    parameters = inspect.signature(cls).parameters
    needed = {
        name: special[name] for name, given in parameters.items() if name in special and given.default is given.empty
    }
    return cls(**needed, **where) if "problem" not in parameters else cls(problem, **needed, **where)


@pytest.mark.parametrize("cls", every_error())
def test_an_error_survives_pickling_and_copying(cls: type[ApmS3Error]) -> None:
    error = make(cls, operation="read_file", bucket="apm", key="a/b", hint="do this")
    error.attempts = 3
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert str(twin) == str(error)
        assert vars(twin).keys() == vars(error).keys()
        assert (twin.attempts, twin.code, twin.__notes__) == (3, error.code, ["a note"])


@pytest.mark.parametrize("cls", every_error())
def test_a_message_tells_what_happened_where_and_how_often(cls: type[ApmS3Error]) -> None:
    error = make(cls, operation="read_file", bucket="apm", key="a/b", hint="do this")
    error.attempts = 2
    assert re.fullmatch(r"read_file: .* \['apm/a/b'\].* \(after 2 attempts\)\. Do this\.", str(error))


@pytest.mark.parametrize("cls", every_error())
def test_the_docstring_draws_the_error_in_the_tree(cls: type[ApmS3Error]) -> None:
    lines = (re.match(r"^ {4}([│ ├└─]*)([A-Z]\w+)\b", line) for line in (errors.__doc__ or "").splitlines())
    drawn = [(len(match[1]) // 4, match[2]) for match in lines if match]
    names = [name for _, name in drawn]
    assert names.count(cls.__name__) == 1
    place = names.index(cls.__name__)
    depth = drawn[place][0]
    parent = next((name for level, name in reversed(drawn[:place]) if level == depth - 1), None)
    assert parent in {base.__name__ for base in cls.__bases__} or cls is ApmS3Error


ABSTRACT = {"ApmS3Error", "InvalidRequest", "InvalidBucketName", "InvalidKey", "InvalidOption", "UsageError",
            "TransportError", "S3Error", "ConfigError"}  # fmt: skip


@pytest.mark.parametrize("cls", [cls for cls in every_error() if cls.__name__ not in ABSTRACT])
def test_an_error_without_a_hint_has_a_default_one(cls: type[ApmS3Error]) -> None:
    assert make(cls).hint


def test_a_location_in_the_problem_is_not_repeated() -> None:
    error = error_of_response(operation="head_file", status=404, s3_code="NoSuchKey", bucket="apm", key="a")
    assert str(error).count("apm") == 1


def test_a_short_key_is_not_mistaken_for_a_word_of_the_problem() -> None:
    assert "['a/a']" in str(ConnectionLost("a connection broke", bucket="a", key="a"))


def test_a_hint_that_starts_with_a_code_name_keeps_its_case() -> None:
    assert str(ApmS3Error("x", hint="list_files shows them")).endswith("x. list_files shows them.")


def test_the_message_of_a_response_has_code_status_and_request_id() -> None:
    error = error_of_response(
        operation="copy_file", status=404, s3_code="NoSuchBucket", bucket="apm-prod", request_id="4442587FB7D0A2F9"
    )
    assert str(error) == (
        "copy_file: bucket 'apm-prod' does not exist (BUCKET_NOT_FOUND, NoSuchBucket, 404, request 4442587FB7D0A2F9). "
        "Create it with create_bucket or create_apm_bucket, or check its name and region."
    )


def test_a_configuration_error_names_tool_and_environment() -> None:
    error = ConfigNotFound("there is no revision 7", tool="loki", environment="staging")
    assert "(loki in staging)" in str(error)


def test_a_transport_error_names_the_endpoint() -> None:
    assert "http://localhost:1" in str(ConnectFailed("refused", endpoint="http://localhost:1", bucket="b"))


# From a response to an error


@pytest.mark.parametrize(
    ("status", "s3_code", "kind", "code"),
    [
        (404, "NoSuchBucket", BucketNotFound, ErrorCode.BUCKET_NOT_FOUND),
        (404, "NoSuchKey", ObjectNotFound, ErrorCode.OBJECT_NOT_FOUND),
        (404, "NoSuchVersion", ObjectNotFound, ErrorCode.OBJECT_NOT_FOUND),
        (404, "NoSuchUpload", UploadNotFound, ErrorCode.UPLOAD_NOT_FOUND),
        (404, "", NotFound, ErrorCode.NOT_FOUND),
        (403, "AccessDenied", AccessDenied, ErrorCode.ACCESS_DENIED),
        (403, "", AccessDenied, ErrorCode.ACCESS_DENIED),
        (400, "ExpiredToken", ExpiredToken, ErrorCode.EXPIRED_TOKEN),
        (403, "InvalidAccessKeyId", InvalidCredentials, ErrorCode.INVALID_CREDENTIALS),
        (403, "RequestTimeTooSkewed", ClockSkewed, ErrorCode.CLOCK_SKEWED),
        (409, "BucketAlreadyExists", BucketAlreadyExists, ErrorCode.BUCKET_ALREADY_EXISTS),
        (409, "BucketAlreadyOwnedByYou", BucketAlreadyOwned, ErrorCode.BUCKET_ALREADY_EXISTS),
        (409, "ConditionalRequestConflict", ConditionalConflict, ErrorCode.CONFLICT),
        (409, "Other", Conflict, ErrorCode.CONFLICT),
        (412, "PreconditionFailed", PreconditionFailed, ErrorCode.PRECONDITION_FAILED),
        (412, "", PreconditionFailed, ErrorCode.PRECONDITION_FAILED),
        (304, "", NotModified, ErrorCode.NOT_MODIFIED),
        (301, "PermanentRedirect", WrongRegion, ErrorCode.WRONG_REGION),
        (307, "", WrongRegion, ErrorCode.WRONG_REGION),
        (403, "InvalidObjectState", ObjectArchived, ErrorCode.OBJECT_ARCHIVED),
        (404, "NoSuchBucketPolicy", NotConfigured, ErrorCode.NOT_CONFIGURED),
        (404, "NoSuchConfiguration", NotConfigured, ErrorCode.NOT_CONFIGURED),
        (501, "NotImplemented", UnsupportedByServer, ErrorCode.UNSUPPORTED),
        (400, "InvalidArgument", RequestRejected, ErrorCode.REQUEST_REJECTED),
        (503, "SlowDown", Throttled, ErrorCode.THROTTLED),
        (400, "KMS.DisabledException", KmsKeyUnusable, ErrorCode.KMS_KEY_UNUSABLE),
        (400, "KMS.NotFoundException", KmsKeyUnusable, ErrorCode.KMS_KEY_UNUSABLE),
        (400, "KMS.KMSInvalidStateException", KmsKeyUnusable, ErrorCode.KMS_KEY_UNUSABLE),
        (400, "KMS.InvalidKeyUsageException", KmsKeyUnusable, ErrorCode.KMS_KEY_UNUSABLE),
        (403, "KMS.AccessDeniedException", KmsAccessDenied, ErrorCode.KMS_ACCESS_DENIED),
        (400, "KMS.ThrottlingException", KmsThrottled, ErrorCode.THROTTLED),
        (500, "KMS.KMSInternalException", ServiceUnavailable, ErrorCode.SERVICE_UNAVAILABLE),
        (400, "KMS.SomethingNewException", RequestRejected, ErrorCode.REQUEST_REJECTED),
        (429, "", Throttled, ErrorCode.THROTTLED),
        (400, "RequestTimeout", ServiceUnavailable, ErrorCode.SERVICE_UNAVAILABLE),
        (500, "InternalError", ServiceUnavailable, ErrorCode.SERVICE_UNAVAILABLE),
        (502, "", ServiceUnavailable, ErrorCode.SERVICE_UNAVAILABLE),
        (400, "BadDigest", DigestRejected, ErrorCode.INTEGRITY),
    ],
)
def test_a_response_becomes_the_error_of_its_code_or_status(
    status: int, s3_code: str, kind: type[S3Error], code: ErrorCode
) -> None:
    error = error_of_response(operation="x", status=status, s3_code=s3_code, bucket="b", key="k")
    assert type(error) is kind
    assert (error.code, error.s3_code, error.status) == (code, s3_code, status)


def test_a_400_with_a_region_counts_as_a_redirect() -> None:
    error = error_of_response(operation="x", status=400, region="eu-west-1", bucket="b")
    assert isinstance(error, WrongRegion)
    assert error.region == "eu-west-1"


def test_a_503_whose_message_asks_to_slow_down_is_throttling() -> None:
    error = error_of_response(
        operation="x", status=503, s3_code="ServiceUnavailable", message="Please reduce your request rate."
    )
    assert isinstance(error, Throttled)


def test_a_403_is_never_not_found_and_says_that_the_key_may_be_missing() -> None:
    error = error_of_response(operation="read_file", status=403, s3_code="AccessDenied", bucket="b", key="k")
    assert not isinstance(error, NotFound)
    assert "s3:ListBucket" in str(error)


@pytest.mark.parametrize(
    ("operation", "permission", "policy"),
    [
        ("upload_file", "s3:PutObject", "servers that ignore conditions"),
        ("put_object", "s3:PutObject", "plain HTTP"),
        ("copy_file", "s3:PutObject, for the source s3:GetObject", "plain HTTP"),
        ("read_file", "s3:GetObject", "plain HTTP"),
        ("list_files", "s3:ListBucket", "plain HTTP"),
        ("list_versions", "s3:ListBucketVersions", "plain HTTP"),
        ("delete_file", "s3:DeleteObject", "without MFA"),
        ("set_setting", "this change of the bucket", "protections without MFA"),
        ("batch", "this", "plain HTTP"),
    ],
)
@pytest.mark.parametrize("code", ["AccessDenied", ""])
def test_a_denial_names_the_operation_its_permission_and_a_policy_that_may_be_its_cause(
    code: str, operation: str, permission: str, policy: str
) -> None:
    error = error_of_response(operation=operation, status=403, s3_code=code, bucket="b", key="k")

    assert str(error).startswith(f"{operation}: S3 denies access to ")
    assert f"allows {permission}" in str(error)
    assert policy in str(error)
    assert ("the access key id" in str(error)) == (code == "")


def test_a_denial_says_what_aws_says_of_its_cause() -> None:
    said = "User: arn:aws:iam::1:user/a is not authorized to perform: s3:PutObject with an explicit deny"
    error = error_of_response(
        operation="upload_file", status=403, s3_code="AccessDenied", message=said, bucket="b", key="k"
    )
    assert "with an explicit deny" in str(error)


def test_the_error_for_an_existing_bucket_says_whether_it_is_yours() -> None:
    theirs = error_of_response(operation="create_bucket", status=409, s3_code="BucketAlreadyExists", bucket="b")
    mine = error_of_response(operation="create_bucket", status=409, s3_code="BucketAlreadyOwnedByYou", bucket="b")
    assert "another account" in str(theirs)
    assert "is yours" in str(mine)


def test_a_signature_quoted_by_s3_is_not_repeated() -> None:
    error = error_of_response(
        operation="x", status=403, s3_code="SignatureDoesNotMatch", message="token IQoJb3JpZ2luX2VjE", bucket="b"
    )
    assert "IQoJb3JpZ2luX2VjE" not in str(error) + repr(error)


# Kinds


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidRequest, ValueError),
        (UsageError, RuntimeError),
        (RequestTimedOut, TimeoutError),
        (DeadlineExceeded, TimeoutError),
    ],
)
def test_errors_are_also_the_matching_builtin_exceptions(kind: type[ApmS3Error], builtin: type[Exception]) -> None:
    assert isinstance(make(kind), builtin)


def test_no_response_is_distinguished_from_a_refusing_response() -> None:
    for cls in every_error():
        assert not (issubclass(cls, TransportError) and issubclass(cls, S3Error))


def test_a_digest_that_s3_rejects_is_both_an_s3_error_and_an_integrity_error() -> None:
    assert issubclass(DigestRejected, S3Error)
    assert issubclass(DigestRejected, IntegrityError)


@pytest.mark.parametrize("kind", [AccessDenied, PreconditionFailed, ObjectNotFound, UsageError])
def test_permanent_errors_are_not_retryable(kind: type[ApmS3Error]) -> None:
    assert not make(kind).retryable


@pytest.mark.parametrize(
    "kind", [ConnectionLost, ConnectFailed, RequestTimedOut, DeadlineExceeded, Throttled, ServiceUnavailable]
)
def test_transient_errors_are_retryable(kind: type[ApmS3Error]) -> None:
    assert make(kind).retryable


def test_only_a_failed_connection_proves_that_nothing_was_sent() -> None:
    unsent = {cls.__name__ for cls in every_error() if issubclass(cls, TransportError) and not cls.sent}
    assert unsent == {"ConnectFailed"}


@pytest.mark.parametrize(
    ("error", "may_have"),
    [
        (ConnectFailed("x"), False),
        (ConnectionLost("x"), True),
        (RequestTimedOut("x"), True),
        (DeadlineExceeded("x"), True),
        (IntegrityError("x"), True),
        (DigestRejected("x", status=400), False),
        (UsageError("x"), False),
        *(
            (error_of_response(operation="x", status=status, s3_code=code, bucket="b", key="k"), may_have)
            for status, code, may_have in [
                (500, "InternalError", True),
                (503, "SlowDown", True),
                (429, "TooManyRequests", True),
                (400, "RequestTimeout", True),
                (409, "ConditionalRequestConflict", True),
                (409, "", True),
                (409, "BucketNotEmpty", False),
                (409, "BucketAlreadyOwnedByYou", False),
                (501, "NotImplemented", False),
                (403, "AccessDenied", False),
                (404, "NoSuchKey", False),
                (412, "PreconditionFailed", False),
                (301, "PermanentRedirect", False),
                (400, "BadDigest", False),
            ]
        ),
    ],
    ids=lambda value: (
        f"{type(value).__name__} {getattr(value, 's3_code', '')}" if isinstance(value, Exception) else None
    ),
)
def test_an_error_says_whether_the_call_may_have_taken_effect(error: ApmS3Error, may_have: bool) -> None:
    assert error.may_have_happened is may_have
    error.unresolved = True  # an earlier attempt of the same call
    assert error.may_have_happened
    assert pickle.loads(pickle.dumps(error)).may_have_happened


def test_a_missing_kms_permission_is_distinguished_from_one_of_s3() -> None:
    message = "User: arn:aws:iam::1:user/u is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/k"
    error = error_of_response(
        operation="read_file", status=403, s3_code="AccessDenied", message=message, bucket="b", key="k"
    )
    assert isinstance(error, KmsAccessDenied)
    assert "kms:GenerateDataKey" in str(error)
    assert "key/k" in str(error)
    plain = error_of_response(
        operation="read_file", status=403, s3_code="AccessDenied", message="Access Denied", bucket="b"
    )
    assert type(plain) is AccessDenied


def test_a_denial_by_kms_that_names_no_action_is_one_of_kms() -> None:
    """It is the answer to credentials that may not even learn of the key."""
    message = "The ciphertext refers to a customer master key that does not exist, or you are not allowed to access."
    error = error_of_response(
        operation="read_file", status=403, s3_code="AccessDenied", message=message, bucket="b", key="k"
    )
    assert isinstance(error, KmsAccessDenied)
    assert "kms:Decrypt" in str(error)


@pytest.mark.parametrize("code", ["KMS.ThrottlingException", "ThrottlingException"])
def test_throttling_by_kms_is_retried_and_has_a_hint(code: str) -> None:
    message = "You have exceeded the rate at which you may call KMS"
    error = error_of_response(operation="read_file", status=400, s3_code=code, message=message, bucket="b", key="k")
    assert isinstance(error, KmsThrottled)
    assert error.retryable
    assert "bucket_key" in str(error)
