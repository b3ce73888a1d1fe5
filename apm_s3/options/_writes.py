"""Options of calls that write: frozen, keyword-only, checked on creation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from apm_s3.errors import InvalidOption
from apm_s3.options._reads import check_customer_key

SseAlgorithm = Literal["AES256", "aws:kms", "aws:kms:dsse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How to store an object (PUT, multipart).

    Attributes:
        content_type: guessed from the key's extension if it is None.
        metadata: user metadata, ASCII, at most 2 KB in total
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).
        if_match: replace only the object with this ETag.
        if_none_match: "*" creates the object and never replaces one.
        encryption: None means the bucket's default.
        timeout: seconds for the whole call, instead of the manager's deadline.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    expires: datetime | None = None
    if_match: str | None = None
    if_none_match: Literal["*"] | None = None
    encryption: SseAlgorithm | None = None
    kms_key_id: str | None = None
    bucket_key: bool | None = None
    sse_customer_key: bytes | None = field(default=None, repr=False)
    object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    retain_until: datetime | None = None
    legal_hold: bool | None = None
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        _check_upload(self)


class HashedUpload(UploadOptions):
    """An upload whose readers check it against a hash of their own.

    It does not wait until it is known which checksums the server verifies and keeps: Content-MD5 does until then. Its
    `if_match` is sent as it is, which shows how the server wants ETags spelled.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How to copy an object inside S3.

    Attributes:
        source_version_id: the version to copy; the current one if it is None.
        source_if_match, source_if_none_match: conditions on the source.
        replace: the copy's metadata, content headers and tags; None keeps those of the source.
        if_match, if_none_match: conditions on the destination.
    """

    source_version_id: str | None = None
    source_if_match: str | None = None
    source_if_none_match: str | None = None
    replace: UploadOptions | None = None
    storage_class: str | None = None
    if_match: str | None = None
    if_none_match: Literal["*"] | None = None
    encryption: SseAlgorithm | None = None
    kms_key_id: str | None = None
    source_sse_customer_key: bytes | None = field(default=None, repr=False)
    sse_customer_key: bytes | None = field(default=None, repr=False)
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    expected_source_bucket_owner: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        check_customer_key(self.source_sse_customer_key)
        check_customer_key(self.sse_customer_key)
        _check_kms(self.encryption, self.kms_key_id)
        _check_condition(self.if_match, self.if_none_match)


class NewNameCopy(CopyOptions):
    """A copy to a name that nobody else uses, so that a server may ignore its condition."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete an object.

    Attributes:
        version_id: the version to delete permanently; without it, a versioned bucket gets a delete marker.
        mfa: "serial code" of the MFA device, if the bucket has MFA delete.
        bypass_governance: delete despite a GOVERNANCE lock (requires the permission).
    """

    version_id: str | None = None
    mfa: str | None = field(default=None, repr=False)
    if_match: str | None = None
    bypass_governance: bool = False
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    timeout: float | None = None


def _check_upload(options: UploadOptions) -> None:
    check_customer_key(options.sse_customer_key)
    _check_kms(options.encryption, options.kms_key_id)
    _check_condition(options.if_match, options.if_none_match)
    if options.sse_customer_key is not None and options.encryption is not None:
        raise InvalidOption("sse_customer_key and encryption are mutually exclusive", hint="pass one of them")
    if (options.object_lock_mode is None) != (options.retain_until is None):
        raise InvalidOption("object_lock_mode and retain_until need each other", hint="pass both or neither")
    if len(options.tags) > 10:
        raise InvalidOption(f"{len(options.tags)} tags are more than the 10 that S3 allows", hint="remove some")
    try:
        "".join(f"{name}{value}" for name, value in options.tags.items()).encode()
    except UnicodeEncodeError as exc:
        raise InvalidOption("a tag is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text") from exc
    size = 0
    for name, value in options.metadata.items():
        size += len(name) + len(value)
        if not (name.isascii() and value.isascii() and name.isprintable() and value.isprintable()) or not name:
            raise InvalidOption(
                f"metadata '{name}' is not printable ASCII", hint="encode it with base64 or percent-encoding"
            )
    if size > 2048:
        raise InvalidOption(f"the metadata has {size} bytes, but S3 allows 2048", hint="store it elsewhere")


def _check_kms(encryption: SseAlgorithm | None, kms_key_id: str | None) -> None:
    if kms_key_id is not None and encryption not in ("aws:kms", "aws:kms:dsse"):
        raise InvalidOption("kms_key_id needs encryption='aws:kms'", hint="set encryption='aws:kms' too")


def _check_condition(if_match: str | None, if_none_match: str | None) -> None:
    if if_match is not None and if_none_match is not None:
        raise InvalidOption("if_match and if_none_match are mutually exclusive", hint="pass one of them")


UPLOAD_DEFAULTS, COPY_DEFAULTS, DELETE_DEFAULTS = UploadOptions(), CopyOptions(), DeleteOptions()
