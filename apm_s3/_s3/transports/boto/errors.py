"""The table that maps botocore's exceptions to ours, and redaction of its logs. Loads neither botocore nor aiohttp.

They log whole requests, including session tokens, signatures, customer encryption keys and proxy passwords. A filter on
a parent logger does not see the records of its children, so each logger has one. It costs nothing while DEBUG is off.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from apm_s3._hints import Advice
from apm_s3._redaction import redacted
from apm_s3._s3.transports.signed.connection import ConnectionBroken
from apm_s3._s3_responses import s3_error
from apm_s3._wire.http1 import retry_after, unix_time
from apm_s3.errors import (
    ApmS3Error,
    ConnectFailed,
    ConnectionLost,
    IntegrityError,
    InvalidCredentials,
    InvalidOption,
    InvalidRequest,
    RequestTimedOut,
)

_PACKAGES = ("botocore", "aiobotocore", "urllib3")


class Internal(Exception):
    """Stops a botocore call from the inside; it is never logged."""


class Redaction(logging.Filter):
    """Masks secrets in log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask secrets in `record`; return False to drop it."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Internal):
            return False
        record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info:
            # Format it now, because a later formatter would find the secrets in the exception again.
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_REDACTION = Redaction()


def redact_logs() -> None:
    """Add the filter to every existing logger of these packages; call it again for new loggers."""
    for package in _PACKAGES:
        logging.getLogger(package).addFilter(_REDACTION)
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _PACKAGES:
            logger.addFilter(_REDACTION)


_REFUSED = (
    "ApiVersionNotFoundError", "AwsChunkedWrapperError", "BaseEndpointResolverError", "CapacityNotAvailableError",
    "ConfigNotFound", "ConfigParseError", "DataNotFoundError", "EndpointProviderError",
    "InvalidChecksumConfigError", "InvalidConfigError", "InvalidDNSNameError", "InvalidDefaultsMode",
    "InvalidEndpointConfigurationError", "InvalidEndpointDiscoveryConfigurationError", "InvalidExpressionError",
    "InvalidHostLabelError", "InvalidIMDSEndpointError", "InvalidIMDSEndpointModeError",
    "InvalidProxiesConfigError", "InvalidRetryConfigurationError", "InvalidS3AddressingStyleError",
    "InvalidS3UsEast1RegionalEndpointConfigError", "InvalidSTSRegionalEndpointsConfigError",
    "MD5UnavailableError", "MissingDependencyException", "MissingParametersError", "OperationNotPageableError",
    "PaginationError", "ParamValidationError", "ProfileNotFound", "ServiceNotInRegionError", "StubResponseError",
    "UnknownClientMethodError", "UnknownRegionError", "UnknownServiceStyle", "UnknownSignatureVersionError",
    "UnseekableStreamError", "UnsupportedOutpostResourceError", "UnsupportedS3AccesspointConfigurationError",
    "UnsupportedS3ArnError", "UnsupportedS3ConfigurationError", "UnsupportedS3ControlArnError",
    "UnsupportedS3ControlConfigurationError", "UnsupportedServiceProtocolsError",
    "UnsupportedSignatureVersionError", "ValidationError", "WaiterConfigError", "WaiterError",
)  # fmt: skip
"""Arguments and configuration that botocore refuses before it sends anything."""

TABLE: dict[str, type[ApmS3Error]] = {
    # no response
    "ConnectionError": ConnectFailed,
    "ConnectTimeoutError": ConnectFailed,
    "EndpointConnectionError": ConnectFailed,
    "ProxyConnectionError": ConnectFailed,
    "SSLError": ConnectFailed,
    "HTTPClientError": ConnectionLost,
    "ConnectionClosedError": ConnectionLost,
    "ReadTimeoutError": RequestTimedOut,
    "ResponseStreamingError": ConnectionLost,
    "IncompleteReadError": ConnectionLost,
    # bytes
    "ChecksumError": IntegrityError,
    "FlexibleChecksumError": IntegrityError,
    "ResponseParserError": IntegrityError,
    # credentials
    "CredentialRetrievalError": InvalidCredentials,
    "LoginError": InvalidCredentials,
    "MetadataRetrievalError": InvalidCredentials,
    "NoAuthTokenError": InvalidCredentials,
    "NoCredentialsError": InvalidCredentials,
    "PartialCredentialsError": InvalidCredentials,
    "RefreshWithMFAUnsupportedError": InvalidCredentials,
    "SSOError": InvalidCredentials,
    "TokenRetrievalError": InvalidCredentials,
    "UnknownCredentialError": InvalidCredentials,
    "UnknownTokenProviderError": InvalidCredentials,
    **dict.fromkeys(_REFUSED, InvalidOption),
    # aiohttp's exceptions, which aiobotocore does not translate while a body is read or sent
    "ClientPayloadError": ConnectionLost,
    "ClientConnectionError": ConnectionLost,
    "ClientError": ConnectionLost,
    "HttpProcessingError": ConnectionLost,
    "ServerTimeoutError": RequestTimedOut,
    "TimeoutError": RequestTimedOut,
    "ConnectionBroken": ConnectionLost,
    "OSError": ConnectionLost,
}
"""By name of the exception's class or its bases, because botocore's releases have different classes."""

UNREADABLE = (ValueError, OverflowError, TypeError, LookupError)
"""Exceptions of botocore's parsers for invalid numbers, dates and documents."""


def loaded(module: str, *names: str) -> tuple[type[Any], ...]:
    """Return classes of `module` for `except` or `isinstance`: none if it is not loaded, so nothing can match."""
    home = sys.modules.get(module)
    found = [getattr(home, name, None) for name in names]
    return tuple(cls for cls in found if cls is not None)


def botocore_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions that botocore raises, plus `others`."""
    return (*loaded("botocore.exceptions", "BotoCoreError", "ClientError"), *others)


def translated(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions that a call of aiobotocore can raise, plus `others`."""
    return botocore_errors(
        *others,
        *loaded("botocore.parsers", "ResponseParserError"),
        *loaded("aiohttp", "ClientError"),
        *loaded("aiohttp.http_exceptions", "HttpProcessingError"),
        TimeoutError,
        ConnectionBroken,
        OSError,
    )


def kind_of(exc: BaseException) -> type[ApmS3Error] | None:
    """Return the row of `TABLE` for `exc`, or None."""
    for cls in type(exc).__mro__:
        kind = TABLE.get(cls.__name__)
        if kind is not None:
            return kind
    return None


def translate(exc: BaseException, *, operation: str, bucket: str | None = None, key: str | None = None) -> ApmS3Error:
    """Return our error for an exception of an aiobotocore call, to be raised `from` it."""
    where: dict[str, Any] = {"operation": operation, "bucket": bucket, "key": key}
    if isinstance(exc, loaded("botocore.exceptions", "ClientError")):
        return _answered(exc, where)
    if isinstance(exc, UnicodeEncodeError):
        return InvalidRequest(
            "an argument is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text", **where
        )
    kind = kind_of(exc)
    # Wrong arguments are ValueErrors as well.
    if kind is None and isinstance(exc, UNREADABLE):
        return IntegrityError(
            f"the response cannot be read: {type(exc).__name__}",
            hint="suspect the server, or a proxy in front of it",
            **where,
        )
    kind = kind or ConnectionLost
    if kind is InvalidCredentials:
        return InvalidCredentials(
            f"no usable credentials: {type(exc).__name__}",
            hint=Advice.GIVE_CREDENTIALS(),
            **where,
        )
    if issubclass(kind, InvalidOption):
        return kind(f"refused before it was sent: {exc}".rstrip("."), hint="correct the argument or setting", **where)
    return kind(f"{_OUTCOME[kind]}: {_cause(exc)}".rstrip("."), **where)


_OUTCOME: dict[type[ApmS3Error], str] = {
    ConnectFailed: "could not connect",
    ConnectionLost: "the connection broke",
    RequestTimedOut: "no response in time",
    IntegrityError: "the received bytes are damaged",
}


def _cause(exc: BaseException) -> str:
    inner = exc.__cause__ or exc.__context__
    return str(exc) if inner is None or str(exc) else str(inner)


def _answered(exc: Any, where: dict[str, Any]) -> ApmS3Error:
    # A traceback shows `exc` as the cause, and a server may quote in its message what it was sent.
    exc.args = (redacted(str(exc)),)
    error = exc.response.get("Error", {})
    metadata = exc.response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    code = str(error.get("Code", ""))
    status = int(metadata.get("HTTPStatusCode") or 0)
    if code.isdigit():
        status, code = status or int(code), ""
    return s3_error(
        status=status,
        s3_code=code,
        message=str(error.get("Message", "")) if code else "",
        request_id=metadata.get("RequestId") or headers.get("x-amz-request-id"),
        retry_after=retry_after(headers.get("retry-after")),
        region=headers.get("x-amz-bucket-region") or error.get("Region"),
        server_time=unix_time(headers.get("date")),
        **where,
    )


def refused_etag(error: ApmS3Error) -> str | None:
    """Return the ETag in the headers of an error response."""
    response = getattr(error.__cause__, "response", {})
    etag: str | None = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("etag")
    return etag
