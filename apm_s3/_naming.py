"""Names that S3, and this library, accept. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from apm_s3.errors import InvalidBucketName, InvalidKey

MAX_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""

MAX_NAME_BYTES = 512
"""Our limit for the name of a configuration file, so that every key that contains it is within S3's limit."""

OVERLAY = ".apm/overlay.yml"
"""The file of a bundle with the differences of its environment. No tool reads it."""

EXPRESS = "--x-s3"
"""The end of the names of directory buckets (S3 Express), whose listings are unordered.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html
"""

PRODUCTION = ("production", "prod")
"""Environments that are changed only after their name was typed, and whose buckets are protected more."""

_SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_IP = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", EXPRESS, "--table-s3", "-an")
_HIDDEN = frozenset(("Cc", "Cf", "Zl", "Zp"))
"""Unicode categories of control and format characters and line separators, which make a name misleading."""
_FOREIGN = re.compile(r'[<>:"|?*]')
_DEVICES = frozenset(("aux", "clock$", "con", "conin$", "conout$", "nul", "prn")) | {
    f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"
}
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]|arn:[^\s/?#]+[:/][^\s?#]+", re.ASCII)


def check_bucket_name(name: str) -> str:
    """Return `name` if it is a valid name for a new general purpose bucket.

    Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.

    Raises:
        InvalidBucketName: the name breaks a rule; the message says which.
    """
    problem = _bucket_problem(name)
    if problem:
        raise InvalidBucketName(
            f"'{name}' is not a valid bucket name: {problem}",
            bucket=name,
            hint="use 3 to 63 characters of a-z, 0-9 and '-', beginning and ending with a letter or digit",
        )
    return name


def _bucket_problem(name: str) -> str | None:
    if not 3 <= len(name) <= 63:
        return f"it has {len(name)} characters, but 3 to 63 are allowed"
    if not _BUCKET.fullmatch(name):
        return "only a-z, 0-9, '.' and '-' are allowed, with a letter or digit at both ends"
    if ".." in name or ".-" in name or "-." in name:
        return "dots may not be next to dots or hyphens"
    if _IP.fullmatch(name):
        return "it looks like an IP address"
    for prefix in _RESERVED_PREFIXES:
        if name.startswith(prefix):
            return f"the prefix '{prefix}' is reserved"
    for suffix in _RESERVED_SUFFIXES:
        if name.endswith(suffix):
            return f"the suffix '{suffix}' is reserved"
    return None


@lru_cache(maxsize=1024)
def check_bucket(bucket: str) -> None:
    """Refuse a name that no existing bucket can have. Old buckets may have names that S3 does not allow any more.

    Raises:
        InvalidBucketName: `bucket` is neither a bucket name nor the ARN of an access point.
    """
    if not _TARGET.fullmatch(bucket):
        raise InvalidBucketName(
            f"{bucket[:80]!r} is not a valid bucket name", hint="pass only the name, without a scheme or path"
        )


def split_s3(text: object) -> tuple[str, str] | None:
    """Return bucket and key of "s3://bucket/key", as they are; None if `text` is something else."""
    if not isinstance(text, str) or not text.startswith(_SCHEME):
        return None
    bucket, _, key = text[len(_SCHEME) :].partition("/")
    return bucket, key


def as_folder(prefix: str) -> str:
    """Return the prefix with "/" at its end, unless it is empty."""
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def check_key(key: str, *, bucket: str | None = None) -> str:
    """Return `key` if S3 accepts it: 1 to 1024 bytes of UTF-8.

    Raises:
        InvalidKey: it is empty, too long, or contains a lone surrogate.
    """
    if not key:
        raise InvalidKey("the key is empty", bucket=bucket, key=key, hint="name the object")
    if key.isascii():
        size = len(key)
    else:
        try:
            size = len(key.encode())
        except UnicodeEncodeError as exc:
            raise InvalidKey(
                "the key is not valid Unicode (it has a lone surrogate)", bucket=bucket, hint="use UTF-8 text"
            ) from exc
    if size > MAX_KEY_BYTES:
        raise InvalidKey(f"the key has {size} bytes, but S3 allows {MAX_KEY_BYTES}", bucket=bucket, hint="shorten it")
    return key


def check_file_name(name: str) -> str:
    """Return `name` if it is valid for a stored file of a configuration: a plain relative POSIX path.

    `check_new_file_name` is stricter for new files; older stored files stay readable.

    Raises:
        InvalidKey: it is not a string, empty, over 512 bytes, absolute, or has '.', '..' or empty segments, a
            backslash, invisible characters, spaces at the start or end of a segment, or a segment over 255 bytes.
    """
    problem = _file_name_problem(name)
    if problem:
        raise InvalidKey(
            f"{name!r:.80} is not a valid file name: {problem}",
            hint="use a relative path such as 'prometheus.yml' or 'rules/api.yml'",
        )
    return name


def check_new_file_name(name: str) -> str:
    """Return `name` if it is valid for a new file: every operating system must be able to write it.

    Windows' rules: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.

    Raises:
        InvalidKey: as in `check_file_name`; or it has one of `<>:"|?*`, a segment that ends with a dot, or the name of
            a Windows device, such as `con` or `aux.yml`.
    """
    check_file_name(name)
    problem = next((found for found in map(_foreign_problem, dict.fromkeys(name.split("/"))) if found), None)
    if problem:
        raise InvalidKey(
            f"Windows cannot write a file named {name!r:.80}: {problem}",
            hint="bundles are used on several systems: use letters, digits, '-', '_', and dots inside names",
        )
    return name


def folded_name(name: str) -> str:
    """Normalize case and Unicode form: macOS and Windows treat names that differ only in these as equal."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _foreign_problem(segment: str) -> str | None:
    if found := _FOREIGN.search(segment):
        return f"it contains '{found[0]}'"
    if segment.endswith("."):
        return "a segment ends with a dot"
    if segment.partition(".")[0].rstrip().lower() in _DEVICES:
        return f"'{segment}' is the name of a device"
    return None


def _file_name_problem(name: object) -> str | None:
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}"
    if not name:
        return "it is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if size > MAX_NAME_BYTES:
        return f"it has {size} bytes, but at most {MAX_NAME_BYTES} are allowed"
    if "\\" in name:
        return "it contains a backslash"
    hidden = None if name.isprintable() else next((c for c in name if unicodedata.category(c) in _HIDDEN), None)
    if hidden is not None:
        return f"it contains a control or format character (U+{ord(hidden):04X})"
    if name.startswith("/"):
        return "it is absolute"
    return _segments_problem(list(dict.fromkeys(name.split("/"))))


def _segments_problem(segments: list[str]) -> str | None:
    if "" in segments:
        return "it has an empty segment"
    if "." in segments or ".." in segments:
        return "it has a '.' or '..' segment"
    if any(segment != segment.strip() for segment in segments):
        return "a segment begins or ends with a space"
    if any(len(segment.encode()) > 255 for segment in segments):
        return "a segment has more than 255 bytes"
    return None


def on_one_line(name: str) -> str:
    """Return a key or another name as it can stand in a line of text: escaped if not all of it can be printed."""
    return name if name.isprintable() else ascii(name)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 object" or "2 objects"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def check_environment(name: str) -> str:
    """Return `name` if it is a valid environment name: 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends.

    Raises:
        InvalidKey: it is not valid.
    """
    if not _is_label(name):
        raise InvalidKey(
            f"{name!r:.80} is not a valid environment name",
            hint="use 1 to 63 characters of a-z, 0-9 and '-', such as 'staging' or 'production-eu'",
        )
    return name


def _is_label(name: object) -> bool:
    return isinstance(name, str) and _LABEL.fullmatch(name) is not None


HEALTH_PREFIX = ".apm-s3/health/"
"""Where health checks write and delete: outside every configuration store, and without its protection."""


_NO_STORE = (
    (EXPRESS, "a directory bucket (S3 Express): its listings are unordered, and cannot start after a key"),
    ("--xa-s3", "an access point to a directory bucket (S3 Express): its listings are unordered"),
    ("--op-s3", "an Outposts bucket, which lacks conditional writes"),
    ("--ol-s3", "an Object Lambda access point, which changes what is read"),
    (".mrap", "a multi-Region access point: a read may be served by a region that the last write has not reached"),
    (":s3-outposts:", "an Outposts bucket, which lacks conditional writes"),
    (":s3-object-lambda:", "an Object Lambda access point, which changes what is read"),
)


def check_store_bucket(bucket: str) -> None:
    """Refuse forms of S3 on which a configuration store cannot keep its guarantees.

    It needs conditional writes, reads that see the last write, and listings in key order.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html

    Raises:
        InvalidBucketName: `bucket` has one of these forms.
    """
    for mark, what in _NO_STORE:
        if mark in bucket if mark.startswith(":") else bucket.endswith(mark):
            raise InvalidBucketName(
                f"'{bucket}' is {what}", bucket=bucket, hint="keep configurations in a general purpose bucket"
            )
