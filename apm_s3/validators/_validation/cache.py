"""Caches the results of checked files in this process, so that only changed files of a bundle are checked again.

Results are not stored with a release, because newer checks may find errors that older ones did not.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

from apm_s3.validators._checking import FileResult

MAX_WEIGHT = 50_000
"""Maximum number of files, issues and mentions, at most about 20 MB. The least recently used are evicted first."""

Key = tuple[str, str | None, str, str, str]
"""Tool, target version, matcher mode, name and SHA-256 of the content."""


class ResultCache:
    """A bounded, thread-safe cache of results."""

    def __init__(self, max_weight: int = MAX_WEIGHT) -> None:
        self._max_weight = max_weight
        self._results: OrderedDict[Key, FileResult] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def find(self, keys: Mapping[str, Key]) -> dict[str, FileResult]:
        """Return the cached results, by name."""
        found = {}
        with self._lock:
            for name, key in keys.items():
                if key in self._results:
                    self._results.move_to_end(key)
                    found[name] = self._results[key]
        return found

    def keep(self, keys: Mapping[str, Key], results: Mapping[str, FileResult]) -> None:
        """Cache results, by name."""
        with self._lock:
            for name, result in results.items():
                known = self._results.pop(keys[name], None)
                self._results[keys[name]] = result
                self._weight += _weight(result) - (0 if known is None else _weight(known))
            while self._weight > self._max_weight:
                _, oldest = self._results.popitem(last=False)
                self._weight -= _weight(oldest)


def keys_of(tool: str, files: Mapping[str, bytes], target_version: str | None, matchers: str) -> dict[str, Key]:
    """Return the cache key of each file, by name."""
    return {
        name: (tool, target_version, matchers, name, hashlib.sha256(raw).hexdigest()) for name, raw in files.items()
    }


def _weight(result: FileResult) -> int:
    return 1 + len(result.issues) + len(result.mentions)
