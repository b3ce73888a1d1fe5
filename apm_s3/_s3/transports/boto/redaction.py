"""Keeps secrets out of the DEBUG logs of botocore, aiobotocore and urllib3.

They log whole requests, including session tokens, signatures, customer encryption keys and proxy passwords. A filter on
a parent logger does not see the records of its children, so each logger has one. It costs nothing while DEBUG is off.
"""

from __future__ import annotations

import logging
import re
from functools import cache

_PACKAGES = ("botocore", "aiobotocore", "urllib3")

_HEADERS = (
    "authorization|proxy-authorization|x-amz-security-token|x-amz-s3session-token|x-aws-ec2-metadata-token|x-amz-mfa"
    "|x-amz-(?:copy-source-)?server-side-encryption-customer-key(?:-md5)?|set-cookie|cookie"
)
_FIELDS = (
    "SecretAccessKey|secretAccessKey|SessionToken|sessionToken|Token|AccessToken|accessToken|RefreshToken|refreshToken"
    "|ClientSecret|clientSecret|WebIdentityToken|(?:CopySource)?SSECustomerKey(?:MD5)?|MFA"
    "|aws_secret_access_key|aws_session_token"
)
_MASK = "***"

_SECRETS = (
    # the repr of headers and parameters, and JSON
    rf"(?P<keep>['\"](?:{_HEADERS}|{_FIELDS})['\"]\s*[:,]\s*b?(?P<quote>['\"]))(?:\\.|(?!(?P=quote)).)*",
    # a canonical request, as a text and as the repr of bytes
    rf"(?P<keep>(?:^|\\n|\s|>)(?:{_HEADERS}):[ ]?)[^\s\\<]+(?:[ ][^\s\\<]+)*",
    r"(?P<keep>\bX-Amz-(?:Security-Token|Signature)(?:=|%3D))[^&\s'\"<]+",
    r"(?P<keep>\bSignature(?:=|:\s+))[0-9A-Za-z%+/=]+",
    rf"(?P<keep><(?:{_FIELDS}|CanonicalRequestBytes)>)[^<]+",
    r"(?P<keep>\b[a-z][a-z0-9+.-]*://)[^\s/'\"]*(?=@)",
)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    # Compiled when something is logged for the first time: it takes as long as several requests.
    return tuple(re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in _SECRETS)


class Internal(Exception):
    """Stops a botocore call from the inside; it is never logged."""


def redacted(text: str) -> str:
    """Return `text` without the secrets that botocore logs."""
    for pattern in _patterns():
        text = pattern.sub(rf"\g<keep>{_MASK}", text)
    return text


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
