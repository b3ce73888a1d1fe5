"""A `ConfigStore` whose calls are traced."""

from __future__ import annotations

import inspect
from typing import Any

from apm_s3._tracing import Facts, Tracer, traced
from apm_s3.configs._store import ConfigStore


class TracedConfigStore(ConfigStore):
    """A store, each of whose asynchronous methods is traced as one operation.

    A class of its own, so that stores that are not traced pay nothing for it.
    """

    def __init__(self, tracer: Tracer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tracer: Tracer = tracer
        self.facts: Facts = {"bucket": self.bucket, "prefix": self.prefix} if self.prefix else {"bucket": self.bucket}


for _name, _method in list(vars(ConfigStore).items()):
    if inspect.iscoroutinefunction(_method) and not _name.startswith("_"):
        _traced = traced(_method, "ConfigStore", lambda store: store.tracer, lambda store: store.facts)
        setattr(TracedConfigStore, _name, _traced)
