"""Routes: a registry of our own, and what all of them do: problems, deadlines, limits, clients that go away.

FastAPI since 0.137 keeps included routes as a tree, so that nobody can walk `app.routes`: every route of this package
is an `Endpoint` of a tuple.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI raises the base class of its own too
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apm_s3.configs import ConfigStore
from apm_s3.configs._checks import runs_programs
from apm_s3.errors import ApmS3Error, InvalidOption, RevisionConflict
from apm_s3.fastapi._authorisation import Action, HttpCall, Permission, check_principal
from apm_s3.fastapi._bodies import Given, described, reader_of
from apm_s3.fastapi._lifespan import get_configs
from apm_s3.fastapi._models import ProblemModel
from apm_s3.fastapi._parameters import KNOWN_HEADER
from apm_s3.fastapi._problems import (
    LATER,
    MEDIA_TYPE,
    ProblemError,
    problem,
    problem_of_error,
    problem_of_http,
    problem_of_validation,
    problem_type,
)
from apm_s3.fastapi._supervision import GONE, supervised
from apm_s3.validators._validation.offload import BOUNDED, Busy

_log = logging.getLogger("apm_s3.fastapi")

MAX_JSON = 1024**2
"""Maximum bytes of a JSON document that a caller sends."""

MAX_QUERY = 160 * 1024
"""Maximum bytes of a query: a message of 10 000 characters has up to twelve for each."""

MAX_PARAMETERS = 50

DEADLINE = 60.0
"""Seconds for a request, by default."""

_PRIVATE = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization"))
"""Every answer depends on the token: no shared cache may keep it, and a browser's must ask first."""

_PACKAGE = "apm_s3"

_CALL = "apm_s3.call"
"""Where the scope of a request has its `HttpCall`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    Attributes:
        call: its function. `call` is the authorised request, `given` the JSON document in its body.
        action: the permission that it needs for its environment and tool, before anything else is done; None for
            routes that carry no user's token.
        by_tools: whether the tools are those of the query, by default all.
        errors: the statuses of its own problems; those that every route has are added.
        limit: maximum bytes of the body; 0 if it has none.
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
    def body(self) -> type[Given] | None:
        """Return the model of the JSON document that the function takes as `given`; None if it takes none."""
        given = inspect.signature(self.call, eval_str=True).parameters.get("given")
        return None if given is None else given.annotation

    @property
    def is_conditional(self) -> bool:
        """Return whether it is a change with conditions, which may fail."""
        return 412 in self.errors


_PROBLEMS: Mapping[int, tuple[str, str | None]] = {
    400: ("The body cannot be read, or is only a part.", None),
    401: ("There is no token, or it is not valid.", None),
    403: ("The token does not allow this.", None),
    404: ("The environment, tool, revision, file or backup does not exist.", "config-not-found"),
    409: (
        "The state does not allow it: another revision, a plan that is outdated, a deploy that is refused.",
        "plan-outdated",
    ),
    412: ("The If-Match or If-None-Match condition does not hold: somebody else was faster.", "condition-failed"),
    413: ("The body is too large.", None),
    415: ("The body is compressed, or encoded in another way: it is taken byte for byte.", None),
    422: ("The request or the configuration is not valid; `issues` has paths and lines.", "config-invalid"),
    423: ("The environment is frozen.", "environment-frozen"),
    429: ("Too much is waiting: repeat it, as Retry-After says.", "busy"),
    428: ("A change of something that exists needs If-Match.", "condition-required"),
    500: ("The stored data is damaged, or the service is set up incorrectly.", "store-damaged"),
    501: ("The storage does not support this, or the data was written by a newer version.", "format-too-new"),
    502: ("The storage refused a request of the service.", "access-denied"),
    503: ("The storage cannot be reached, or asks to slow down; see Retry-After.", "throttled"),
    504: ("The storage did not answer in time. A write may have happened: see `write_id`.", "commit-unknown"),
}
"""By status, what problems mean, and the name of one of them, by default that of the status."""

_ALWAYS = (500, 501, 502, 503, 504)
_OF_TOKENS = (401, 403, 422)
_OF_BODIES = (400, 415)


def make_router(
    endpoints: Collection[Endpoint],
    *,
    tag: str,
    default_tag: str,
    deadline: float,
    authorize: Callable[..., Any] | None = None,
    external_tools: bool = False,
) -> APIRouter:
    """Return a router with routes, whose operation ids begin with its tag, unless that is the default.

    Args:
        authorize: the dependency of routes with an action, which returns a `Principal`.
        external_tools: whether requests may make the service run promtool and amtool.

    Raises:
        InvalidOption: `deadline` is not above 0.
    """
    if not deadline > 0:
        raise InvalidOption(f"deadline {deadline} is not above 0 seconds", hint="60 is a good value")
    router = APIRouter(tags=[tag])
    group = _PACKAGE if tag == default_tag else tag
    allowed: dict[str, list[str]] = {}
    for each in endpoints:
        allowed.setdefault(each.path, []).append(each.method)
    for each in endpoints:
        function = each.call
        if authorize is not None and each.action is not None:
            function = _authorised(each, each.action, authorize, deadline * 0.9)
        own = dict(each.options)
        if each.body is not None:
            own["openapi_extra"] = {**own.get("openapi_extra", {}), "requestBody": described(each.body)}
        if 304 in own.get("responses", ()):
            own["openapi_extra"] = {"parameters": [KNOWN_HEADER]}
        responses = {**_problems(each, is_guarded=function is not each.call), **_successes(each, own)}
        router.add_api_route(
            each.path,
            function,
            methods=[each.method],
            summary=each.summary,
            description=inspect.getdoc(each.call),
            operation_id=each.name_in(group),
            name=each.name_in(group),
            responses=responses,
            route_class_override=_route_class(each.limit, deadline, ", ".join(allowed[each.path]), external_tools),
            **own,
        )
    return router


def _authorised(
    endpoint: Endpoint, action: Action, authorize: Callable[..., Any], timeout: float
) -> Callable[..., Any]:
    """Return the function of a route for FastAPI, which checks the permission first, and then reads the body."""
    signature = inspect.signature(endpoint.call, eval_str=True)
    parameters = dict(signature.parameters)
    depends = {"call": Depends(_check_of(endpoint, action, authorize, timeout))}
    if endpoint.body is not None:
        depends["given"] = Depends(reader_of(endpoint.body))
    for name, each in depends.items():
        parameters[name] = parameters[name].replace(annotation=Annotated[parameters[name].annotation, each])

    @wraps(endpoint.call)
    async def authorised(**arguments: Any) -> Any:
        return await endpoint.call(**arguments)

    ordered = [parameters.pop("call"), *parameters.values()]
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in ordered]
    authorised.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return authorised


def _check_of(
    endpoint: Endpoint, action: Action, authorize: Callable[..., Any], timeout: float
) -> Callable[..., Awaitable[HttpCall]]:
    """Return the dependency that checks the permission of a route's requests before anything else is done."""
    # Where the application is mounted may have parameters too, perhaps with the same names.
    has_environment, has_tool = "{environment}" in endpoint.path, "{tool}" in endpoint.path
    refuses_conditions = endpoint.method != "GET" and not endpoint.is_conditional

    async def check_permission(
        request: Request, principal: Any = Depends(authorize), configs: ConfigStore = Depends(get_configs)
    ) -> HttpCall:
        query = request.scope["query_string"]
        if query and (len(query) > MAX_QUERY or query.count(b"&") >= MAX_PARAMETERS):
            text = f"The query has more than {MAX_QUERY} bytes, or more than {MAX_PARAMETERS} parameters."
            raise ProblemError(422, "request-invalid", text)
        call = HttpCall(check_principal(principal), configs, timeout, request.headers.getlist("if-none-match"))
        environment = request.path_params["environment"] if has_environment else None
        tools: list[str | None] = [request.path_params["tool"] if has_tool else None]
        if endpoint.by_tools:
            tools = [*dict.fromkeys(request.query_params.getlist("tool"))] or [None]
        await call.require(*(Permission(action, environment, tool) for tool in tools))
        if refuses_conditions and ("if-match" in request.headers or "if-none-match" in request.headers):
            # RFC 9110, section 13.2.1: a condition that is not evaluated must not be taken for one that holds.
            raise ProblemError(422, "condition-invalid", "This route takes neither If-Match nor If-None-Match.")
        request.scope[_CALL] = call
        return call

    return check_permission


def _problems(endpoint: Endpoint, *, is_guarded: bool) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems of a route."""
    statuses = {
        *endpoint.errors,
        *_ALWAYS,
        *(_OF_TOKENS if is_guarded else ()),
        *(_OF_BODIES if endpoint.limit else ()),
        *(() if endpoint.method == "GET" else (429,)),
    }
    return {status: problem_response(status) for status in sorted(statuses)}


def _successes(endpoint: Endpoint, options: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the other responses, taken from the options, with the example."""
    responses: dict[int | str, dict[str, Any]] = options.pop("responses", {})
    if endpoint.example is None:
        return responses
    content = {"application/json": {"example": endpoint.example}}
    successes = {options.get("status_code", 200), *(status for status in responses if int(status) < 300)}
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


def own_response(description: str, content: dict[str, Any], unchanged: str | None = None) -> dict[str, Any]:
    """Return the options of a route that makes its successful response itself.

    Args:
        unchanged: the description of 304.
    """
    responses = {200: {"description": description, "content": content}}
    if unchanged is not None:
        responses[304] = {"description": unchanged}
    return {"response_class": Response, "responses": responses}


def problem_response(status: int) -> dict[str, Any]:
    """Return the OpenAPI description of a problem."""
    phrase = HTTPStatus(status).phrase
    text, name = _PROBLEMS[status]
    kind = problem_type(name or phrase.lower().replace(" ", "-"))
    example = ProblemModel(type=kind, title=phrase, status=status, detail=text)
    return {
        "description": text,
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
            given = {name for name, _ in response.raw_headers}
            response.raw_headers += [each for each in _PRIVATE if each[0] not in given]
            return response

        return answer


async def _refused_or_answered(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request, limit: int, deadline: float
) -> Response:
    try:
        return await supervised(handle, request, limit, deadline)
    except ApmS3Error as exc:
        return _problem_of(exc, request)
    except ProblemError as exc:
        return problem(exc.status, exc.name, exc.detail, **exc.members)
    except RequestValidationError as exc:
        return problem_of_validation(exc.errors())
    except HTTPException as exc:
        return problem_of_http(exc.status_code, exc.detail, exc.headers)
    except Busy:
        return problem(429, "busy", "Too much work is waiting. Try again later.", headers=LATER)
    except MemoryError:
        return problem(503, "out-of-memory", "There is not enough memory for this. Try again later.", headers=LATER)
    except ClientDisconnect:
        return Response(status_code=GONE)


def _route_class(limit: int, deadline: float, allow: str, external_tools: bool) -> type[ProblemRoute]:
    own = {"limit": limit, "deadline": deadline, "allow": allow, "external_tools": external_tools}
    return type("LimitedRoute", (ProblemRoute,), own)


def _problem_of(error: ApmS3Error, request: Request) -> Response:
    if isinstance(error, RevisionConflict) and _is_conditional(request):
        return problem(
            412, "revision-conflict", "Somebody else was faster: read it again, and apply the change to that.",
            expected_revision=error.expected_revision, current_revision=error.current_revision, code=error.code.value,
        )  # fmt: skip
    call: HttpCall | None = request.scope.get(_CALL)
    answer = problem_of_error(error, call.hidden_names if call else ())
    if answer.status_code >= 500:
        # The client is told no more than the kind of error, so this is where operators find it.
        _log.warning("%s %r: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return answer


def _is_conditional(request: Request) -> bool:
    return "if-match" in request.headers or "if-none-match" in request.headers
