"""Caches the results of checked files in this process, so that only changed files of a bundle are checked again.

Results are not stored with a release, because newer checks may find errors that older ones did not.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import Generic, TypeVar

from apm_s3.validators._checking import FileResult
from apm_s3.validators._validation.validate import MAX_KEPT, ValidationOptions

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_WEIGHT = 50_000
"""Maximum number of files, issues and mentions, at most about 20 MB. The least recently used are evicted first."""

Key = tuple[str, str | None, str, str, str]
"""Tool, target version, matcher mode, name and SHA-256 of the content."""


class ResultCache(Generic[K, V]):
    """A bounded, thread-safe cache of results.

    Args:
        weigh: the weight of a result; together they have at most `max_weight`.
    """

    def __init__(self, weigh: Callable[[V], int], max_weight: int = MAX_WEIGHT) -> None:
        self._weigh = weigh
        self._max_weight = max_weight
        self._results: OrderedDict[K, V] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def find(self, keys: Mapping[str, K]) -> dict[str, V]:
        """Return the cached results, by name."""
        found = {}
        with self._lock:
            for name, key in keys.items():
                if key in self._results:
                    self._results.move_to_end(key)
                    found[name] = self._results[key]
        return found

    def keep(self, keys: Mapping[str, K], results: Mapping[str, V]) -> None:
        """Cache results, by name."""
        with self._lock:
            for name, result in results.items():
                known = self._results.pop(keys[name], None)
                self._results[keys[name]] = result
                self._weight += self._weigh(result) - (0 if known is None else self._weigh(known))
            while self._weight > self._max_weight:
                _, oldest = self._results.popitem(last=False)
                self._weight -= self._weigh(oldest)


def keys_of(tool: str, files: Mapping[str, bytes], options: ValidationOptions) -> dict[str, Key]:
    """Return the cache key of each file, by name.

    There are none if promtool and amtool run too: the result depends on which of them are installed.
    """
    if options.level != "full":
        return {}
    release, mode = options.target_version, options.matchers
    return {name: (tool, release, mode, name, hashlib.sha256(raw).hexdigest()) for name, raw in files.items()}


def weight_of(result: FileResult) -> int:
    """Return the weight of a result for `ResultCache`."""
    return 1 + len(result.issues) + len(result.mentions)


results: ResultCache[Key, FileResult] = ResultCache(weight_of)
"""The results of this process."""


def keep(keys: Mapping[str, Key], fresh: Mapping[str, FileResult]) -> None:
    """Cache results, by name; none if there are no keys, or if the results may have been shortened."""
    if keys and sum(len(each.issues) for each in fresh.values()) < MAX_KEPT:
        results.keep(keys, fresh)
