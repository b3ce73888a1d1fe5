"""Routes: a registry of our own, and what all of them do: problems, deadlines, limits, clients that go away.

FastAPI since 0.137 keeps included routes as a tree, so that nobody can walk `app.routes`: every route of this package
is an `Endpoint` of a tuple.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import APIRouter, Depends
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI raises the base class of its own too
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from apm_s3.configs._writes.checks import runs_programs
from apm_s3.errors import ApmS3Error, InvalidOption, RevisionConflict
from apm_s3.fastapi._bodies import described
from apm_s3.fastapi._calls import hidden_names, make_authorise, make_bare, make_guard
from apm_s3.fastapi._conditions import PRIVATE
from apm_s3.fastapi._models import ProblemModel
from apm_s3.fastapi._permissions import Action
from apm_s3.fastapi._problems import (
    MEDIA_TYPE,
    RETRY_AFTER,
    ProblemError,
    problem,
    problem_of_error,
    problem_of_http,
    problem_of_validation,
    problem_type,
)
from apm_s3.validators._validation.offload import BOUNDED, Busy

_log = logging.getLogger("apm_s3.fastapi")

MAX_JSON = 1024**2
"""Maximum bytes of a JSON document that a caller sends."""

DEADLINE = 60.0
"""Seconds for a request, by default."""

_PACKAGE = "apm_s3"

_PATIENCE = 0.05
"""Seconds after which a request is watched for a client that goes away: most are answered by then."""

_PRIVATE = [(name.lower().encode(), value.encode()) for name, value in PRIVATE.items()]

_LATER = {"Retry-After": str(RETRY_AFTER)}

MAX_BODIES = 256 * 1024**2
"""Maximum bytes of the bodies of all requests at the same time, in this process."""

_GONE = 499
"""The status in access logs for a client that went away (nginx's)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    Attributes:
        action: the permission that it needs for its environment and tool, before anything else is done; None for
            routes that carry no user's token.
        by_tools: whether the tools are those of the query, by default all.
        errors: the statuses of its own problems; those that every route has are added.
        limit: maximum bytes of the body; 0 if it has none.
        body: the JSON document that it reads, one of `_bodies`; None if it reads none, or bytes.
        is_bare: whether the function takes the request and the call only, and reads its parameters itself, which costs
            FastAPI a third of the time of a cached read. Its OpenAPI description is in `options`.
        options: more arguments of FastAPI's `add_api_route`.
        example: the JSON document of a success; None if it has another form, or if `options` has it.
    """

    method: str
    path: str
    call: Callable[..., Any]
    summary: str
    action: Action | None = None
    by_tools: bool = False
    errors: tuple[int, ...] = ()
    limit: int = 0
    body: Any = None
    is_bare: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    example: Any = None

    @property
    def name(self) -> str:
        """Return the operation's id in a router with its default tag."""
        return self.name_in(_PACKAGE)

    def name_in(self, group: str) -> str:
        """Return the operation's id in a group of routes."""
        return f"{re.sub(r'[^a-zA-Z0-9]+', '_', group)}_{self.call.__name__}"

    @property
    def is_conditional(self) -> bool:
        """Return whether it is a change with conditions."""
        parameters = self.options.get("openapi_extra", {}).get("parameters", ())
        return any(each["name"] == "If-Match" for each in parameters)


_PROBLEM_TEXTS: Mapping[int, str] = {
    400: "The body cannot be read, or is only a part.",
    401: "There is no token, or it is not valid.",
    403: "The token does not allow this.",
    404: "The environment, tool, revision, file or backup does not exist.",
    409: "The state does not allow it: another revision, a plan that is outdated, a deploy that is refused.",
    412: "The If-Match or If-None-Match condition does not hold: somebody else was faster.",
    413: "The body is too large.",
    415: "The body is compressed, or encoded in another way: it is taken byte for byte.",
    422: "The request or the configuration is not valid; `issues` has paths and lines.",
    423: "The environment is frozen.",
    429: "Too much is waiting: repeat it, as Retry-After says.",
    428: "A change of something that exists needs If-Match.",
    500: "The stored data is damaged, or the service is set up incorrectly.",
    501: "The storage does not support this, or the data was written by a newer version.",
    502: "The storage refused a request of the service.",
    503: "The storage cannot be reached, or asks to slow down; see Retry-After.",
    504: "The storage did not answer in time. A write may have happened: see `write_id`.",
}
_EXAMPLES: Mapping[int, str] = {
    404: "config-not-found",
    409: "plan-outdated",
    412: "condition-failed",
    422: "config-invalid",
    423: "environment-frozen",
    429: "busy",
    428: "condition-required",
    500: "store-damaged",
    501: "format-too-new",
    502: "access-denied",
    503: "throttled",
    504: "commit-unknown",
}
_ALWAYS = (500, 501, 502, 503, 504)
_OF_TOKENS = (401, 403, 422)
_OF_BODIES = (400, 415)


def add_endpoints(
    router: APIRouter,
    endpoints: Iterable[Endpoint],
    *,
    authorize: Callable[..., Any] | None,
    deadline: float,
    default_tag: str,
    external_tools: bool = False,
) -> None:
    """Add routes to a router. Their operation ids begin with its tag, unless that is the default.

    Args:
        external_tools: whether requests may make the service run promtool and amtool.
    """
    endpoints = tuple(endpoints)
    group = _PACKAGE if router.tags == [default_tag] else str(router.tags[0])
    allowed: dict[str, list[str]] = {}
    for each in endpoints:
        allowed.setdefault(each.path, []).append(each.method)
    for each in endpoints:
        call, guards = each.call, []
        is_guarded = authorize is not None and each.action is not None
        if authorize is not None and each.action is not None:
            authorise = make_authorise(
                each.action,
                each.path,
                by_tools=each.by_tools,
                timeout=deadline * 0.9,
                refuses_conditions=each.method != "GET" and not each.is_conditional,
            )
            if each.is_bare:
                call = make_bare(authorise, authorize, each.call)
            else:
                guards = [Depends(make_guard(authorise, authorize))]
        statuses = {
            *each.errors,
            *_ALWAYS,
            *(_OF_TOKENS if is_guarded else ()),
            *(_OF_BODIES if each.limit else ()),
            *(() if each.method == "GET" else (429,)),
        }
        own = dict(each.options)
        if each.body is not None:
            own["openapi_extra"] = {**own.get("openapi_extra", {}), "requestBody": described(each.body)}
        responses = {**{status: problem_response(status) for status in sorted(statuses)}, **_successes(each, own)}
        router.add_api_route(
            each.path,
            call,
            methods=[each.method],
            summary=each.summary,
            description=inspect.getdoc(each.call),
            operation_id=each.name_in(group),
            name=each.name_in(group),
            dependencies=guards,
            responses=responses,
            route_class_override=_route_class(each.limit, deadline, ", ".join(allowed[each.path]), external_tools),
            **own,
        )


def _successes(endpoint: Endpoint, options: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the OpenAPI description of the other responses, taken from the options, with the example."""
    responses: dict[int, dict[str, Any]] = options.pop("responses", {})
    if endpoint.example is None:
        return responses
    content = {"application/json": {"example": jsonable_encoder(endpoint.example)}}
    successes = {options.get("status_code", 200), *(status for status in responses if status < 300)}
    return responses | {status: {**responses.get(status, {}), "content": content} for status in successes}


def check_authorize(authorize: Any, where: str) -> None:
    """Refuse to make a router without an authorisation dependency.

    Raises:
        InvalidOption: it is not a callable.
    """
    if not callable(authorize):
        raise InvalidOption(
            f"{where} needs an authorize dependency, not {type(authorize).__name__}",
            hint="pass a callable that FastAPI can call, and that returns a Principal or raises HTTPException(401)",
        )


def check_deadline(deadline: float) -> None:
    """Refuse a deadline of 0 seconds or less.

    Raises:
        InvalidOption: it is not above 0.
    """
    if not deadline > 0:
        raise InvalidOption(f"deadline {deadline} is not above 0 seconds", hint="60 is a good value")


def problem_response(status: int) -> dict[str, Any]:
    """Return the OpenAPI description of a problem."""
    phrase = HTTPStatus(status).phrase
    kind = problem_type(_EXAMPLES.get(status, phrase.lower().replace(" ", "-")))
    example = ProblemModel(type=kind, title=phrase, status=status, detail=_PROBLEM_TEXTS[status])
    return {
        "description": _PROBLEM_TEXTS[status],
        "model": ProblemModel,
        "content": _ProblemContent({MEDIA_TYPE: {"example": example.model_dump()}}),
    }


class _ProblemContent(dict[str, Any]):
    """The content of a problem, for OpenAPI.

    FastAPI refers to a response's model only under the media type of the route, and defines it only if it refers to it.
    """

    def setdefault(self, _media_type: str, default: Any = None) -> Any:
        return super().setdefault(MEDIA_TYPE, default)


class ProblemRoute(APIRoute):
    """A route that answers errors with problem documents, within a deadline and while its client is there."""

    limit: ClassVar[int] = 0
    deadline: ClassVar[float] = DEADLINE
    allow: ClassVar[str] = ""
    external_tools: ClassVar[bool] = False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse other methods with a problem document, whose `Allow` has the methods of all routes of the path."""
        try:
            await super().handle(scope, receive, send)
        except HTTPException as exc:
            # Those of the route itself were answered.
            if exc.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
                raise
            text = f"This path has only {self.allow}."
            await problem_of_http(exc.status_code, text, {"Allow": self.allow})(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler, so that the errors of dependencies are problems too."""
        handle = super().get_route_handler()
        limit, deadline, external_tools = self.limit, self.deadline, self.external_tools
        is_change = "GET" not in (self.methods or ())

        async def answer(request: Request) -> Response:
            tokens = runs_programs.set(external_tools), BOUNDED.set(is_change)
            try:
                response = await _refused_or_answered(handle, request, limit, deadline)
            finally:
                runs_programs.reset(tokens[0])
                BOUNDED.reset(tokens[1])
            headers = response.raw_headers
            for name, line in _PRIVATE:
                if not any(name == given for given, _ in headers):
                    headers.append((name, line))
            return response

        return answer


async def _refused_or_answered(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request, limit: int, deadline: float
) -> Response:
    try:
        return await _supervised(handle, request, limit, deadline)
    except ApmS3Error as exc:
        return _problem_of(exc, request)
    except ProblemError as exc:
        return problem(exc.status, exc.name, exc.detail, **exc.members)
    except RequestValidationError as exc:
        return problem_of_validation(exc.errors())
    except HTTPException as exc:
        return problem_of_http(exc.status_code, exc.detail, exc.headers)
    except Busy:
        return problem(429, "busy", "Too many validations are waiting. Try again later.", headers=_LATER)
    except MemoryError:
        return problem(503, "out-of-memory", "There is not enough memory for this. Try again later.", headers=_LATER)
    except ClientDisconnect:
        return Response(status_code=_GONE)


def _route_class(limit: int, deadline: float, allow: str, external_tools: bool) -> type[ProblemRoute]:
    own = {"limit": limit, "deadline": deadline, "allow": allow, "external_tools": external_tools}
    return type("LimitedRoute", (ProblemRoute,), own)


async def _supervised(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request, limit: int, deadline: float
) -> Response:
    """Handle a request; stop the work when the deadline passes or the client goes away."""
    if not limit:
        return await _watched(handle, request, None, deadline)
    body = _Body(request, limit)
    try:
        return await _watched(handle, Request(request.scope, body.receive), body, deadline)
    finally:
        body.release()


async def _watched(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request, body: _Body | None, deadline: float
) -> Response:
    work = handle(request)
    try:
        waits_for = work.send(None)
    except StopIteration as finished:
        # Whatever needs no waiting, such as a cached read, needs no watch, which would cost it a tenth of its time.
        response: Response = finished.value
        return response
    watch = _Watch(request, body, deadline)
    try:
        async with watch.scope:
            return await _Rest(work, waits_for)
    except TimeoutError as exc:
        if not watch.scope.expired() or isinstance(exc, ApmS3Error):
            raise
        if watch.gone:
            return Response(status_code=_GONE)
        return problem(504, "deadline-exceeded", f"The request took longer than {deadline:g} seconds.")
    finally:
        await watch.stop()


class _Rest:
    """The rest of a coroutine that was driven to its first wait."""

    def __init__(self, work: Coroutine[Any, Any, Response], waits_for: Any) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Response]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    result = yield waits_for
                except BaseException as exc:  # noqa: BLE001 - the coroutine's to handle
                    waits_for = self._work.throw(exc)
                else:
                    waits_for = self._work.send(result)
        except StopIteration as finished:
            response: Response = finished.value
            return response
        finally:
            self._work.close()


class _Watch:
    """Ends the work on a request when its deadline passes or its client goes away."""

    def __init__(self, request: Request, body: _Body | None, deadline: float) -> None:
        self._request = request
        self._body = body
        self._loop = loop = asyncio.get_running_loop()
        self._ends_at = loop.time() + deadline
        self._task: asyncio.Task[None] | None = None
        self._timer = loop.call_later(min(_PATIENCE, deadline), self._start)
        self.scope = asyncio.timeout(None)
        self.gone = False

    async def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        self.scope.reschedule(self._ends_at)
        self._task = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        if self._body is not None:
            await self._body.ended()
        # Discard a body that no route has asked for.
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        # The scope's own way of cancelling keeps cancellations of the server apart from this one.
        self.scope.reschedule(self._loop.time())


class _Body:
    """The body of a request: whole, of limited size, and without an encoding.

    Attributes:
        held: the bytes of all bodies in this process.
    """

    held: ClassVar[int] = 0

    def __init__(self, request: Request, limit: int) -> None:
        self._receive = request.receive
        self._limit = limit
        self._left = limit
        self._held = 0
        self._refusal = self._refused(request)
        self._ended = asyncio.Event()
        self._gone = False

    async def receive(self) -> Message:
        """Return the next message of the body.

        Raises:
            HTTPException: it is refused. FastAPI lets only this exception through.
        """
        if self._gone:
            return {"type": "http.disconnect"}
        if self._refusal is not None:
            raise self._refusal
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
            self._ended.set()
            return message
        size = len(message.get("body", b""))
        self._left -= size
        if self._left < 0:
            raise self._too_large()
        if _Body.held + size > MAX_BODIES:
            raise HTTPException(429, "The bodies of too many requests are waiting. Try again later.", _LATER)
        self._held += size
        _Body.held += size
        if not message.get("more_body", False):
            self._ended.set()
        return message

    def release(self) -> None:
        """Stop counting its bytes."""
        _Body.held -= self._held

    async def ended(self) -> None:
        """Wait until the whole body was read."""
        await self._ended.wait()

    def _refused(self, request: Request) -> HTTPException | None:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limit:
            return self._too_large()
        encodings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
        if any(each.strip() not in ("", "identity") for each in encodings):
            # RFC 9110, section 15.5.16.
            return HTTPException(415, "Send the body without Content-Encoding.", {"Accept-Encoding": "identity"})
        if request.method == "PUT" and "content-range" in request.headers:
            # RFC 9110, section 14.4: a part would replace everything else.
            return HTTPException(400, "Send the whole body, without Content-Range.")
        return None

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The body has more than {self._limit} bytes.")


def _problem_of(error: ApmS3Error, request: Request) -> Response:
    if isinstance(error, RevisionConflict) and _is_conditional(request):
        return problem(
            412, "revision-conflict", "Somebody else was faster: read it again, and apply the change to that.",
            expected_revision=error.expected_revision, current_revision=error.current_revision, code=error.code.value,
        )  # fmt: skip
    answer = problem_of_error(error, hidden_names(request))
    if answer.status_code >= 500:
        # The client is told no more than the kind of error, so this is where operators find it.
        _log.warning("%s %r: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return answer


def _is_conditional(request: Request) -> bool:
    return "if-match" in request.headers or "if-none-match" in request.headers
