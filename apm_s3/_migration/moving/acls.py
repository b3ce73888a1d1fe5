"""Access control lists of single objects, for buckets that still use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from apm_s3._migration.sides import Side
from apm_s3.errors import IntegrityError

_PARAMETERS = {
    "FULL_CONTROL": "GrantFullControl",
    "READ": "GrantRead",
    "READ_ACP": "GrantReadACP",
    "WRITE": "GrantWrite",
    "WRITE_ACP": "GrantWriteACP",
}


async def keep_acl(source: Side, key: str, version: str, target: Side, to: str) -> None:
    """Give a copy the grants of its source, with the target's owner in place of the source's.

    Raises:
        IntegrityError: the target has different grants afterwards.
    """
    ours, theirs = await _read(source, key, version), await _read(target, to, "")
    wanted = grants_for(ours, theirs.get("Owner") or {})
    if _names(wanted) == _names(theirs.get("Grants") or []):
        return
    asked = as_parameters(wanted)
    await target.engine.runner.run(
        "put_object_acl",
        target.place.bucket,
        to,
        lambda: target.engine.control.call("put_object_acl", Bucket=target.place.bucket, Key=to, **asked),
    )
    if _names((await _read(target, to, "")).get("Grants") or []) != _names(wanted):
        raise IntegrityError("the target has different grants (ACL)", operation="migrate", key=to)


def grants_for(acl: Mapping[str, Any], owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the grants of an ACL with its owner replaced by `owner`. Pure."""
    before = (acl.get("Owner") or {}).get("ID")
    grants: list[dict[str, Any]] = []
    for grant in acl.get("Grants") or []:
        grantee = dict(grant["Grantee"])
        if before is not None and grantee.get("ID") == before and owner.get("ID"):
            grantee |= {"ID": owner["ID"]}
        grantee.pop("DisplayName", None)
        grants.append({"Grantee": grantee, "Permission": grant["Permission"]})
    return grants


def as_parameters(grants: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return grants as the header parameters of PutObjectAcl. Pure.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html
    """
    found: dict[str, list[str]] = {}
    for grant in grants:
        grantee = grant["Grantee"]
        name = next(name for name in ("ID", "URI", "EmailAddress") if grantee.get(name))
        whom = f'{name.lower() if name != "EmailAddress" else "emailAddress"}="{grantee[name]}"'
        found.setdefault(_PARAMETERS[grant["Permission"]], []).append(whom)
    return {parameter: ", ".join(whom) for parameter, whom in found.items()}


def _names(grants: Any) -> set[str]:
    """Return grants as comparable strings of grantee and permission."""
    return {
        json.dumps([
            {name: value for name, value in grant["Grantee"].items() if name != "DisplayName"}, grant["Permission"]
        ], sort_keys=True)
        for grant in grants
    }  # fmt: skip


async def _read(side: Side, key: str, version: str) -> Mapping[str, Any]:
    asked: dict[str, Any] = {"VersionId": version} if version else {}
    return await side.engine.runner.run(
        "get_object_acl",
        side.place.bucket,
        key,
        lambda: side.engine.control.call("get_object_acl", Bucket=side.place.bucket, Key=key, **asked),
    )
