"""Jaeger's own extensions and exporter: their fields, and the storage backends that they name.

Rules: https://www.jaegertracing.io/docs/latest/configuration/.
"""

from __future__ import annotations

import posixpath

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, resolve_plain
from apm_s3.validators._tools.jaeger.collector import Ids, check_fields, expect_mapping, is_null_or_absent, is_variable
from apm_s3.validators._tools.jaeger.components import (
    AI,
    BACKEND_FIELDS,
    BACKENDS,
    METRIC_BACKENDS,
    QUERY,
    QUERY_STORAGE,
    RENAMED,
    SAMPLING,
    STORAGE,
)

_MOVED_QUERY = {name: RENAMED[name] for name in RENAMED if name not in QUERY}


def check_jaeger(ids: Ids, root: Node, context: Context) -> None:
    """Report the problems of `jaeger_storage`, `jaeger_query`, `remote_sampling` and the storage exporter."""
    checker = _Checker(context)
    for section, kind, check in (
        ("extensions", "jaeger_storage", checker.check_storage),
        ("extensions", "jaeger_query", checker.check_query),
        ("extensions", "remote_sampling", checker.check_sampling),
        ("extensions", "remote_storage", checker.check_remote_storage),
        ("exporters", "jaeger_storage_exporter", checker.check_exporter),
    ):
        for text, settings in ids[section].items():
            if text.split("/", 1)[0] == kind:
                key = root.entries[section][1].entries[text][0]
                check(key, settings, ((None, section), text))


class _Checker:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._backends: set[str] | None = None
        self._metric_backends: set[str] = set()

    def check_storage(self, key: Node, settings: Node, path: Path) -> None:
        self._backends = self._backends or set()
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, path, "required", "at least one storage backend is required")
            return
        check_fields(settings, path, STORAGE, self._context, RENAMED)
        self._backends |= self._check_backends(settings, path, "backends", BACKENDS)
        self._metric_backends |= self._check_backends(settings, path, "metric_backends", METRIC_BACKENDS)
        if not self._backends and not is_variable(settings):
            self._context.error(key, (path, "backends"), "required", "at least one storage backend is required")

    def _check_backends(self, settings: Node, path: Path, field: str, kinds: frozenset[str]) -> set[str]:
        entry = settings.entries.get(field)
        at: Path = (path, field)
        if entry is None or not expect_mapping(entry[1], at, self._context):
            return set()
        for name, (key, backend) in entry[1].entries.items():
            self._check_backend(key, backend, (at, name), kinds)
        return set(entry[1].entries)

    def _check_backend(self, key: Node, backend: Node, path: Path, kinds: frozenset[str]) -> None:
        if is_variable(backend):
            return
        if not expect_mapping(backend, path, self._context):
            self._context.error(key, path, "required", f"name one kind of storage: {', '.join(sorted(kinds))}")
            return
        check_fields(backend, path, kinds, self._context, {})
        given = [name for name, (_, value) in backend.entries.items() if name in kinds and not is_null_or_absent(value)]
        if len(given) != 1 and len([name for name in backend.entries if name in kinds]) != 1:
            message = f"a backend has exactly one kind of storage, not {len(given)}: {', '.join(sorted(kinds))}"
            self._context.error(key, path, "exactly-one", message)
        for kind in given:
            value, at = backend.entries[kind][1], (path, kind)
            if expect_mapping(value, at, self._context) and kind in BACKEND_FIELDS:
                check_fields(value, at, BACKEND_FIELDS[kind], self._context, {})

    def check_query(self, key: Node, settings: Node, path: Path) -> None:
        storage = None
        if expect_mapping(settings, path, self._context):
            check_fields(settings, path, QUERY, self._context, _MOVED_QUERY)
            self._check_base_path(settings, path)
            self._check_ai(settings, path)
            self._check_interceptors(settings, path)
            storage = settings.entries.get("storage")
        at: Path = (path, "storage")
        if storage is None or not expect_mapping(storage[1], at, self._context):
            self._context.error(key, (at, "traces"), "required", "storage.traces must name a storage backend")
            return
        check_fields(storage[1], at, QUERY_STORAGE, self._context, {})
        self._check_reference(key, storage[1], at, "traces", required=True)
        self._check_reference(key, storage[1], at, "traces_archive")
        self._check_reference(key, storage[1], at, "metrics", self._metric_backends)

    def _check_ai(self, settings: Node, path: Path) -> None:
        """Refuse an `ai` without chat and without tools for agents."""
        entry, at = settings.entries.get("ai"), (path, "ai")
        if entry is None or not expect_mapping(entry[1], at, self._context):
            return
        check_fields(entry[1], at, AI, self._context, {})
        agent = entry[1].entries.get("agent_url")
        enabled = entry[1].entries.get("enable_mcp") or entry[1].entries.get("mcp")
        if agent is None or agent[1].kind != SCALAR or agent[1].text or is_null_or_absent(agent[1]):
            return
        if enabled is None or (enabled[1].kind == SCALAR and resolve_plain(enabled[1].text) is False):
            message = "ai needs an agent_url (the chat) or mcp (tools for agents)"
            self._context.error(agent[1], (at, "agent_url"), "required", message)

    def _check_interceptors(self, settings: Node, path: Path) -> None:
        entry, at = settings.entries.get("query_interceptors"), (path, "query_interceptors")
        if entry is None or is_null_or_absent(entry[1]) or is_variable(entry[1]):
            return
        if entry[1].kind != SEQUENCE:
            self._context.error(entry[1], at, "wrong-type", "expected a list of extensions")

    def _check_base_path(self, settings: Node, path: Path) -> None:
        entry = settings.entries.get("base_path")
        if entry is None or entry[1].kind != SCALAR or is_variable(entry[1]) or entry[1].text in ("", "/"):
            return
        text = entry[1].text
        if not text.startswith("/") or posixpath.normpath(text) != text:
            self._context.error(
                entry[1], (path, "base_path"), "base-path", "must begin with / and have no empty, '.' or '..' segments"
            )

    def check_sampling(self, key: Node, settings: Node, path: Path) -> None:
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, path, "exactly-one", "needs exactly one of file, adaptive")
            return
        check_fields(settings, path, SAMPLING, self._context, {})
        given = [name for name in ("file", "adaptive") if name in settings.entries]
        if len(given) != 1:
            self._context.error(key, path, "exactly-one", f"needs exactly one of file, adaptive, not {len(given)}")
        adaptive = settings.entries.get("adaptive")
        if adaptive is not None and adaptive[1].kind == MAPPING:
            at: Path = (path, "adaptive")
            self._check_reference(adaptive[0], adaptive[1], at, "sampling_store", required=True)

    def check_remote_storage(self, key: Node, settings: Node, path: Path) -> None:
        if settings.kind == MAPPING:
            self._check_reference(key, settings, path, "storage")

    def check_exporter(self, key: Node, settings: Node, path: Path) -> None:
        if not expect_mapping(settings, path, self._context):
            self._context.error(key, (path, "trace_storage"), "required", "trace_storage must name a storage backend")
            return
        self._check_reference(key, settings, path, "trace_storage", required=True)

    def _check_reference(
        self,
        key: Node,
        settings: Node,
        path: Path,
        field: str,
        known: set[str] | None = None,
        *,
        required: bool = False,
    ) -> None:
        entry = settings.entries.get(field)
        at: Path = (path, field)
        if entry is None or is_null_or_absent(entry[1]) or (entry[1].kind == SCALAR and not entry[1].text):
            if required:
                self._context.error(key, at, "required", f"{field} must name a storage backend")
            return
        node = entry[1]
        if node.kind != SCALAR:
            self._context.error(node, at, "wrong-type", "expected the name of a storage backend")
            return
        known = self._backends if known is None else known
        # A file without jaeger_storage may be merged with another file that has it.
        if self._backends is None or is_variable(node) or known is None or node.text in known:
            return
        message = f"no backend {node.text[:80]!r} under jaeger_storage; defined: {', '.join(sorted(known)) or 'none'}"
        self._context.error(node, at, "undefined-reference", message, self._context.hint(node.text, known))
