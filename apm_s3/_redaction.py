"""Masks secrets in texts of others: in what botocore logs, what servers say, and what exceptions quote. Pure."""

from __future__ import annotations

import re
from functools import cache

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
    # the repr of headers and parameters, and JSON, also inside another text, where its quotes are escaped
    rf"(?P<keep>['\"](?:{_HEADERS}|{_FIELDS})\\*['\"]\s*[:,]\s*b?(?P<quote>\\*['\"]))(?:(?!(?P=quote))(?:\\.|.))*",
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


def redacted(text: str) -> str:
    """Return `text` without credentials in headers, parameters, signatures and URLs."""
    for pattern in _patterns():
        text = pattern.sub(rf"\g<keep>{_MASK}", text)
    return text
