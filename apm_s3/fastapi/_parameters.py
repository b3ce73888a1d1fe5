"""Parameters of several routes: of paths and queries, and conditions (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from fastapi import Depends, Header, HTTPException, Path, Query

from apm_s3._tools import Tool
from apm_s3.configs import ConfigFile, ConfigStore, Release
from apm_s3.configs._uploads import CurrentRevision
from apm_s3.errors import StoreDamaged
from apm_s3.fastapi._models import ReleaseModel, bundle_etag
from apm_s3.fastapi._problems import ProblemError

EnvironmentPath = Annotated[
    str,
    Path(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        max_length=63,
        description="An environment.",
        examples=["production"],
    ),
]
ToolPath = Annotated[Tool, Path(description="A tool.", examples=["prometheus"])]
NamePath = Annotated[
    str,
    Path(min_length=1, max_length=512, description="The name of a file, with slashes.", examples=["rules/api.yml"]),
]
RevisionQuery = Annotated[
    int | None, Query(ge=1, le=99_999_999, description="A revision; by default the current one.", examples=[3])
]
ToolsQuery = Annotated[
    list[Tool] | None, Query(alias="tool", description="Only these tools; repeatable.", examples=[["prometheus"]])
]
LimitQuery = Annotated[int, Query(ge=1, le=1_000, description="The maximum number of entries.")]
MessageQuery = Annotated[
    str, Query(max_length=10_000, description="Why the change is made.", examples=["lower the scrape interval"])
]
ForceQuery = Annotated[str | None, Query(max_length=1_000, description="The reason for storing despite errors.")]
CreateQuery = Annotated[
    bool, Query(description="Allow an environment that does not exist yet; needed if there are others.")
]
WriteIdQuery = Annotated[
    str | None, Query(max_length=100, description="From `POST .../writes`: makes repeating the request safe.")
]
WriteIdPath = Annotated[
    str,
    Path(max_length=100, description="The id of a write.", examples=["production.0123456789abcdef0123"]),
]


# A list may come in several lines (RFC 9110, section 5.3), which FastAPI only reads as a list of texts.
_LINES: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def _etags(name: str, description: str, example: str) -> Any:
    return Header(alias=name, json_schema_extra=_LINES, description=description, examples=[example])


IfMatchHeader = Annotated[
    list[str] | None,
    _etags("If-Match", "The ETag of what is changed. Required if it exists.", '"3-production.0123456789abcdef0123"'),
]
AbsentHeader = Annotated[list[str] | None, _etags("If-None-Match", "`*`: only if it does not exist yet.", "*")]
_KNOWN = {
    "description": "ETags that the client has: if one is current, the answer is 304.",
    "examples": ['"3-m9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"'],
}
KNOWN_HEADER: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {**_LINES, "title": "If-None-Match", **_KNOWN},
    "description": _KNOWN["description"],
}
"""Describes `HttpCall.known` in OpenAPI. As a parameter of FastAPI, it takes a tenth of the time of a cached read."""


def raw_body(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a body of bytes."""
    schema = {"type": "string", "format": "binary"}
    content = {"application/octet-stream": {"schema": schema, "example": "global:\n  scrape_interval: 15s\n"}}
    return {"required": True, "description": description, "content": content}


_ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_OURS = re.compile(r'"(\d{1,8})-[^"]+"', re.ASCII)
_MAX_ETAGS = 20


@dataclass(frozen=True, slots=True)
class ETags:
    """The entity tags of a condition. `any` means `*`."""

    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    any: bool = False


def read_etags(lines: Sequence[str] | None) -> ETags | None:
    """Return the entity tags in the lines of a header; None if it was not sent."""
    if not lines:
        return None
    text = ",".join(lines)
    if text.strip() == "*":
        return ETags(any=True)
    found = list(islice(_ETAG.finditer(text), _MAX_ETAGS))
    return ETags(
        tuple(each[2] for each in found if not each[1]),
        tuple(each[2] for each in found if each[1]),
    )


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a change.

    Attributes:
        match: what must be there.
        absent: what must not be there.
    """

    match: ETags | None
    absent: ETags | None


async def get_conditions(if_match: IfMatchHeader = None, if_none_match: AbsentHeader = None) -> Conditions:
    """Return the conditions of a change.

    Raises:
        ProblemError: it has both kinds.
    """
    if if_match is not None and if_none_match is not None:
        raise ProblemError(422, "condition-invalid", "Send If-Match or If-None-Match, not both.")
    return Conditions(read_etags(if_match), read_etags(if_none_match))


ConditionsDep = Annotated[Conditions, Depends(get_conditions)]


def file_etag(file: ConfigFile, variant: str = "") -> str:
    """Return the ETag of a file: the bundle's revision and the file's hash, so that A, B, A is not the same."""
    return f'"{file.revision}-{variant}{file.sha256}"'


def tagged(known: Sequence[str] | None, etag: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a response, with its ETag.

    Args:
        known: the client's If-None-Match.

    Raises:
        HTTPException: 304, which becomes a response without a body: the client has it.
    """
    named = {**headers, "ETag": etag}
    tags = read_etags(known)
    if tags is not None and (tags.any or etag in tags.strong or etag in tags.weak):
        raise HTTPException(304, headers=named)
    return named


async def read_current(
    configs: ConfigStore, tool: Tool, environment: str, names: Collection[str] | None = ()
) -> CurrentRevision:
    """Return the state that the conditions of a change are about, and that the change then begins with.

    Args:
        names: the files whose contents are needed; None means all.
    """
    return await configs._current(tool, environment, names)  # noqa: SLF001 - no program but this service needs it


async def intact_history(
    configs: ConfigStore, tool: Tool, environment: str, limit: int | None = None
) -> tuple[Sequence[Release], Collection[int]]:
    """Return the releases that can be read, newest first, and the revisions whose documents are damaged."""
    try:
        return await configs.history(tool, environment, limit=limit), ()
    except StoreDamaged as exc:
        if not exc.lost:
            raise
        return exc.releases, exc.lost


def expect_bundle(conditions: Conditions, current: CurrentRevision, write_id: str | None) -> int:
    """Return the revision that a change of a whole bundle builds on.

    Raises:
        ProblemError: the condition does not hold, or it is missing although there is something to replace.
    """
    return _expected(conditions, current, (), write_id, absent=not _exists(current))


def expect_file(
    conditions: Conditions, current: CurrentRevision, name: str, tags: tuple[str, ...], write_id: str | None
) -> int:
    """Return the revision that a change of one file builds on.

    Args:
        tags: the ETags of the current file, for all that may read it; empty if there is none.

    Raises:
        ProblemError: see `expect_bundle`.
    """
    absent = current.release is None or name not in current.release.files
    return _expected(conditions, current, tags, write_id, absent=absent)


def _exists(current: CurrentRevision) -> bool:
    return current.release is not None and not current.release.removed


def _expected(
    conditions: Conditions, current: CurrentRevision, tags: tuple[str, ...], write_id: str | None, *, absent: bool
) -> int:
    # With the id of a write, the store decides: it recognises a write that it has, and otherwise refuses one that
    # builds on an older revision.
    older = None if write_id is None else current - 1
    match = conditions.match
    if match is None:
        return _expected_new(conditions.absent, current, older, absent=absent)
    known = tags if current.release is None else (*tags, bundle_etag(current.release))
    if _exists(current) and (match.any or any(tag in known for tag in match.strong)):
        return current
    named = [int(found[1]) for tag in match.strong if (found := _OURS.fullmatch(tag))]
    if older is not None and named and max(named) < current:
        return max(named)
    raise _failed(current)


def _expected_new(wanted: ETags | None, current: CurrentRevision, older: int | None, *, absent: bool) -> int:
    """Return what a change without If-Match builds on."""
    if wanted is not None and not wanted.any:
        raise ProblemError(422, "condition-invalid", "In a change, If-None-Match can only be *.")
    # A new file changes a bundle that somebody else may be changing: only the first one of all needs no condition.
    if absent if wanted is not None else not _exists(current):
        return current
    if older is not None:
        return older
    if wanted is not None:
        raise _failed(current)
    raise ProblemError(
        428,
        "condition-required",
        "This changes something that exists: send its ETag in If-Match, or If-None-Match: * to add a file.",
        current_revision=current,
    )


def _failed(revision: int) -> ProblemError:
    return ProblemError(
        412,
        "condition-failed",
        "Somebody else was faster: read it again, and apply the change to that.",
        current_revision=revision,
    )


def revision_header(release: Release | ReleaseModel | ConfigFile) -> dict[str, str]:
    """Return the header with the revision of an answer."""
    return {"X-Config-Revision": str(release.revision)}
