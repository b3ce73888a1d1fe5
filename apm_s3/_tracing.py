"""What traces of calls are made through: protocols that `apm_s3.exporters.tracing` implements.

Without a tracer nothing here is called, and OpenTelemetry is never imported.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from apm_s3._logs import Exchanges
    from apm_s3.events import OperationEvent

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])

Facts = Mapping[str, str | tuple[str, ...]]
"""Facts of an operation by name: bucket, key, prefix, tool, environment, source_environment."""

_FACTS = {
    "bucket": "bucket",
    "name": "bucket",
    "tool": "tool",
    "environment": "environment",
    "source_environment": "source_environment",
    "target_environment": "environment",
}
"""Parameters that are facts."""

_HARMLESS = re.compile(r"[A-Za-z0-9._:/-]{1,255}", re.ASCII)
"""Names and ARNs, but no URL with a password: a method is traced before it checks its arguments."""


class RequestTrace(Protocol):
    """The trace of one call of S3, with all its attempts. It is the current one until `leave`."""

    def waited(self, seconds: float) -> None:
        """Record that the call waited for a slot of the pool."""

    def sending(self, attempt: int, exchanges: Exchanges) -> AbstractContextManager[object]:
        """Record an attempt, whose requests `exchanges` will name. Other instrumentations are off inside."""

    def told(self, event: OperationEvent) -> None:
        """Record a failed attempt (`Outcome.RETRY`), or the end of the call or of its body."""

    def leave(self) -> None:
        """Stop being current: the call returned, though its body may still be read."""

    def entered(self) -> AbstractContextManager[object]:
        """Be current again inside the block."""


class OperationTrace(Protocol):
    """The trace of an operation of many requests."""

    def commit(self, facts: Facts) -> AbstractContextManager[object]:
        """Trace a commit that this operation makes, and link to it."""


class Tracer(Protocol):
    """Makes traces."""

    def request(self, operation: str, bucket: str | None, key: str | None, region: str | None) -> RequestTrace:
        """Begin the trace of one call of S3, and make it current."""

    def operation(self, name: str, facts: Facts) -> AbstractContextManager[OperationTrace]:
        """Trace the block, which sends many requests."""


_OPERATION: ContextVar[OperationTrace | None] = ContextVar("apm_s3_operation", default=None)


@contextmanager
def operation(tracer: Tracer, name: str, facts: Facts) -> Iterator[None]:
    """Trace the block as the operation `name`."""
    with tracer.operation(name, facts) as trace:
        token = _OPERATION.set(trace)
        try:
            yield
        finally:
            _OPERATION.reset(token)


def committing(facts: Facts) -> AbstractContextManager[object]:
    """Trace the block as a commit of the current operation, if that is traced."""
    trace = _OPERATION.get()
    return nullcontext() if trace is None else trace.commit(facts)


def traced(
    method: Method, prefix: str, tracer_of: Callable[[Any], Tracer | None], known: Callable[[Any], Facts]
) -> Method:
    """Return `method`, traced as an operation if `tracer_of(self)` returns a tracer.

    Args:
        prefix: of the operation's name; the method's name follows.
        known: returns the facts that every call of `self` has.
    """
    code = method.__code__
    parameters = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    named = [(position, name) for position, name in enumerate(parameters) if name in _FACTS or name == "plan"]
    name = f"{prefix}.{method.__name__}"

    @functools.wraps(method)
    async def call(self: Any, *args: Any, **options: Any) -> Any:
        tracer = tracer_of(self)
        if tracer is None:
            return await method(self, *args, **options)
        given = {parameter: args[place] if place < len(args) else options.get(parameter) for place, parameter in named}
        with operation(tracer, name, {**known(self), **_facts(given)}):
            return await method(self, *args, **options)

    return cast("Method", call)


def _facts(given: dict[str, Any]) -> Facts:
    plan = given.pop("plan", None)
    for name in ("source_environment", "target_environment"):
        if plan is not None:
            given[name] = getattr(plan, name, None)
    return {
        _FACTS[name]: str(value)
        for name, value in given.items()
        if isinstance(value, str) and _HARMLESS.fullmatch(value)
    }
