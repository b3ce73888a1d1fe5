"""Checks the documents in the responses of the client against what S3 sends. Pure.

Behind a captive portal, or a proxy that answers by itself, a bucket would otherwise have no tags, no policy and no
public access block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from apm_s3._hints import Advice
from apm_s3._wire import xml
from apm_s3.errors import IntegrityError, UnsupportedByServer

_ROOTS = {
    "GetBucketCors": "CORSConfiguration",
    "GetBucketEncryption": "ServerSideEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketOwnershipControls": "OwnershipControls",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectLockConfiguration": "ObjectLockConfiguration",
    "GetPublicAccessBlock": "PublicAccessBlockConfiguration",
    "ListBuckets": "ListAllMyBucketsResult",
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html: root elements.

Servers have other names for some of them: "CreateBucketConfiguration" for a location, "GetBucketVersioningResponse".
"""

_LISTING, _NO_SETTINGS = "ListBucketResult", ("GetBucketLocation", "ListBuckets")
"""What a server sends that does not know the setting, and so takes the request for ListObjects."""

_OTHERS = {api: {*_ROOTS.values(), "html", "HTML"} - {root} for api, root in _ROOTS.items()}
"""Roots that tell of another document, by API."""

_PAGES = (b"<html", b"<!doctype html")
_HINT = Advice.CHECK_ENDPOINT_OR_PROXY()


def check_document(response_dict: Mapping[str, Any] | None, event_name: str, **_: Any) -> None:
    """Refuse a successful response with another document: a handler of `response-received`.

    Raises:
        UnsupportedByServer: the server has taken the request for a listing, because it does not know the setting.
        IntegrityError: it is not the document of S3, so it is not known what was done.
    """
    if response_dict is None or response_dict["status_code"] >= 300:
        return
    body = response_dict.get("body")
    if not isinstance(body, bytes):
        return
    api = event_name.rpartition(".")[2]
    if body.lstrip()[:15].lower().startswith(_PAGES):
        raise IntegrityError("the response is not a document of S3: it is a web page", hint=_HINT)
    try:
        if api in _ROOTS:
            root = xml.document(body)
            name = root.tag[xml.skip_of(root) :]
            if name == _LISTING and api not in _NO_SETTINGS:
                raise UnsupportedByServer("the server does not know this setting: it answered with a list of objects")
            if name in _OTHERS[api]:
                _refuse(f"its root is '{name}' instead of '{_ROOTS[api]}'")
        elif api == "GetBucketPolicy":
            _check_policy(body)
    except xml.ErrorInstead as exc:
        raise IntegrityError("the response is an error with the status of a success", hint=_HINT) from exc
    except (xml.MalformedDocument, ValueError) as exc:
        raise IntegrityError(f"the response is not a document of S3: {exc}", hint=_HINT) from exc


def _check_policy(body: bytes) -> None:
    if not isinstance(json.loads(body), dict):
        _refuse("it is not a JSON object")


def _refuse(why: str) -> NoReturn:
    raise xml.MalformedDocument(why)
