"""Plans as documents of ids, hashes and counts, to be reviewed and carried out later. Pure.

A document contains no file content and no variable values. It is not trusted when it is read back: its hash only shows
that it is intact, as anybody who edits it can hash it again. The plan is made again, and must be the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from apm_s3._hints import Advice
from apm_s3.errors import FormatTooNew, InvalidOption, PlanOutdated, StoreDamaged

FORMAT = 1
"""The format of plans that this version writes, and the newest it reads."""

_MAX_SHOWN = 5
_HASH = re.compile("[0-9a-f]{64}")


def plan_document(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a plan, with its hash."""
    document: dict[str, Any] = {"kind": kind, "format": FORMAT, **content}
    # json.dumps does not accept read-only mappings.
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return {**plain, "hash": canonical_hash(plain)}


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """A plan read from a document. `deploy`, `restore_environment` and `ensure_bucket` make the plan again, and carry
    it out only if it is still the same.

    Attributes:
        content: the content of the document.
        hash: identifies the plan and its whole content. It is no signature: to make sure that this is the plan that was
            approved, compare it with a hash that is kept where only approvers can write.
    """

    content: Mapping[str, Any] = field(repr=False)
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        return {**self.content, "hash": self.hash}

    @classmethod
    def read(cls, kind: str, document: Mapping[str, Any]) -> Self:
        """Read the plan in `document`.

        Raises:
            InvalidOption: it is not a plan of this kind, or was modified without a new hash.
            FormatTooNew: a newer version of this library made it.
        """
        given: Any = document
        if not isinstance(given, Mapping) or given.get("kind") != kind:
            raise InvalidOption(f"this is not a document of kind '{kind}'", hint=Advice.PASS_PLAN())
        version = document.get("format")
        if type(version) is int and version > FORMAT:
            raise FormatTooNew(f"the plan has format {version}, but this version of apm_s3 supports at most {FORMAT}")
        content = {name: value for name, value in document.items() if name != "hash"}
        try:
            actual = canonical_hash(content)
        except (TypeError, ValueError, StoreDamaged) as exc:
            raise InvalidOption("the plan is not valid JSON", hint=Advice.PASS_PLAN()) from exc
        if version != FORMAT or document.get("hash") != actual:
            raise InvalidOption("the plan was modified: its hash does not match", hint="make a new plan")
        return cls(content, actual)

    def text(self, *path: str) -> str:
        """Return a string of the document.

        Raises:
            InvalidOption: it is missing.
        """
        value: Any = self.content
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, str):
            raise InvalidOption(f"the plan has no '{'.'.join(path)}'", hint=Advice.PASS_PLAN())
        return value

    def names(self, name: str) -> list[str]:
        """Return the keys, or the strings, in `name`.

        Raises:
            InvalidOption: they are missing.
        """
        value = self.content.get(name)
        if not isinstance(value, dict | list) or not all(isinstance(each, str) for each in value):
            raise InvalidOption(f"the plan has no '{name}'", hint=Advice.PASS_PLAN())
        return list(value)

    def require_store(self, name: str, bucket: str, prefix: str) -> None:
        """Refuse a plan whose `name` (source, target, backup) is in another store.

        Raises:
            InvalidOption: it is in another store.
        """
        there = self.text(name, "bucket"), self.text(name, "prefix")
        if there != (bucket, prefix):
            raise InvalidOption(
                f"the plan's {name} is bucket {there[0][:80]!r}, prefix {there[1][:80]!r}, not {bucket!r}, {prefix!r}",
                hint=Advice.SAME_STORE(),
            )

    def require_same(self, fresh: Mapping[str, Any], **where: Any) -> None:
        """Refuse to carry out the plan if it differs from `fresh`, the plan made now.

        Raises:
            PlanOutdated: it differs.
        """
        if fresh["hash"] == self.hash:
            return
        changes = _changes(self.content, {name: value for name, value in fresh.items() if name != "hash"})
        shown = "; ".join(changes[:_MAX_SHOWN])
        if len(changes) > _MAX_SHOWN:
            shown += f"; and {len(changes) - _MAX_SHOWN} more differences"
        raise PlanOutdated(
            f"plan {self.hash[:12]} is outdated: {shown}; nothing was changed", changes=tuple(changes), **where
        )


def _changes(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the differences, one line each, with their paths."""
    if old == new:
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for name in sorted(old.keys() | new.keys()):
            lines += _changes(old.get(name), new.get(name), f"{path}.{name}" if path else str(name))
        return lines
    return [f"{path} was {_shown(old)} and is {_shown(new)}"]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if _HASH.fullmatch(text):
        return text[:12]
    return text if len(text) <= 80 else f"{text[:77]}..."


def canonical_hash(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except (UnicodeEncodeError, RecursionError) as exc:
        raise StoreDamaged("a document cannot be hashed: it has lone surrogates, or is nested too deeply") from exc
    return hashlib.sha256(text).hexdigest()
