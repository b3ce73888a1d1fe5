"""Checks what must hold of the log from outside, in every version of current.json as plain JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

Document = dict[str, Any]


_BY_NOBODY = ("rule_out", "repair")
"""Actions of the store itself, or in an emergency."""


class RecordBroken(Exception):
    """A rule of the log was broken."""


class Witness:
    """Sees every write of one environment's reference document, and remembers what the log has to say.

    Attributes:
        truth: every entry that was ever written, oldest first.
    """

    def __init__(self, objects: dict[str, Any], environment: str) -> None:
        self._objects = objects
        self._environment = environment
        self._before: Document | None = None
        self.truth: list[Document] = []

    def look(self, document: Document) -> None:
        """Called after each write of the reference document."""
        before, self._before = self._before, document
        if document["format"] == 1:
            if before is not None and before["format"] != 1:
                raise RecordBroken("an old version has written over the new format")
            return
        self._look_at_entry(before, document)
        self._look_at_place(before, document)
        self._look_at_unknown_fields(before, document)

    def _look_at_entry(self, before: Document | None, document: Document) -> None:
        """Exactly one entry for this write, which says what it changed and carries the hash of the one before it."""
        entry = document["log"]["entries"][-1]
        if before is not None and document["sequence"] != before["sequence"] + 1:
            raise RecordBroken("a commit without its sequence")
        if entry["seq"] != document["sequence"]:
            raise RecordBroken("a commit without its entry")
        if any(entry["id"] == known["id"] for known in self.truth):
            raise RecordBroken("a second entry of one write")
        if entry["prev"] != (_hash(self.truth[-1]) if self.truth else None):
            raise RecordBroken("an entry that does not carry the hash of the one before it")
        settings = {} if before is None else before.get("settings", {})
        if settings.get("require_author") and "author" not in entry and entry["action"] not in _BY_NOBODY:
            raise RecordBroken(f"{entry['action']} without the author that the environment requires")
        tools = {} if before is None else before["tools"]
        changed = {
            tool: [tools[tool]["release"]["revision"] if tool in tools else 0, state["release"]["revision"]]
            for tool, state in document["tools"].items()
            if tool not in tools or tools[tool]["release"]["key"] != state["release"]["key"]
        }
        if entry.get("tools", {}) != changed:
            raise RecordBroken(f"an entry that tells {entry.get('tools')}, where {changed} happened")
        self.truth.append(entry)

    def _look_at_place(self, before: Document | None, document: Document) -> None:
        """Every entry that is kept stands in the document, or in stored parts that lead to one another."""
        log = document["log"]
        held = [entry["seq"] for entry in log["entries"]]
        if self._entries(held[0], held[-1]) != log["entries"]:
            raise RecordBroken("entries that were never written, or not like this")
        stored = log["stored"]
        first = held[0] if stored is None else min(held[0], stored["last"] + 1)
        if first < held[0] or (stored is None and held[0] > max(self.truth[0]["seq"], log["oldest"])):
            raise RecordBroken("an entry has left before it was stored")
        if stored is None or (before is not None and before["format"] == 2 and before["log"]["stored"] == stored):
            return
        part = self._part(stored)
        if before is not None and before["format"] == 2 and part["before"] != before["log"]["stored"]:
            raise RecordBroken("a stored part has left out the one before it")
        start = self.truth[0]["seq"] if part["before"] is None else part["before"]["last"] + 1
        if self._entries(start, stored["last"]) != part["entries"]:
            raise RecordBroken("a stored part has other entries than were written")

    def _look_at_unknown_fields(self, before: Document | None, document: Document) -> None:
        """What a later version has written stays, whoever writes next: counted up by that version's writes alone."""
        by_later = "by_later" in document["log"]["entries"][-1]
        was = 0 if before is None else before.get("later", {}).get("writes", 0)
        if document.get("later", {}).get("writes", 0) != was + by_later:
            raise RecordBroken("an unknown field was lost")
        if before is None or by_later:
            return
        for tool, state in before["tools"].items():
            if state.get("later") != document["tools"][tool].get("later"):
                raise RecordBroken(f"an unknown field of {tool} was lost")

    def check_kept(self) -> None:
        """Every entry from the oldest kept one on can be had."""
        if self._before is None or self._before["format"] == 1:
            return
        log = self._before["log"]
        low, ref = log["entries"][0]["seq"], log["stored"]
        while ref is not None and ref["last"] >= log["oldest"]:
            part = self._part(ref)
            low, ref = min(low, part["entries"][0]["seq"]), part["before"]
        if low > max(self.truth[0]["seq"], log["oldest"]):
            raise RecordBroken("entries are kept, but cannot be had")

    def check_read(self, told: list[tuple[int, str]]) -> None:
        """Sequences and hashes that a caller of `log` was told, newest first."""
        if told and [(entry["seq"], _hash(entry)) for entry in self._entries(told[-1][0], told[0][0])] != told[::-1]:
            raise RecordBroken("a log that never was")

    def _entries(self, first: int, last: int) -> list[Document]:
        return [entry for entry in self.truth if first <= entry["seq"] <= last]

    def _part(self, ref: Document) -> Document:
        stored = self._objects.get(ref["key"])
        if stored is None:
            raise RecordBroken(f"{ref['key']} was named, but is not there")
        if hashlib.sha256(stored.body).hexdigest() != ref["sha256"]:
            raise RecordBroken(f"{ref['key']} is not the part that was named")
        part: Document = json.loads(stored.body)
        return part


def _hash(entry: Document) -> str:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
