"""One request: who sends it, what it may do, and how long it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from apm_s3._tools import TOOLS
from apm_s3.configs import ConfigStore
from apm_s3.errors import UsageError
from apm_s3.fastapi._dependencies import get_configs
from apm_s3.fastapi._permissions import Action, Permission, Principal
from apm_s3.fastapi._problems import ProblemError

MAX_QUERY = 160 * 1024
"""Maximum bytes of a query: a message of 10 000 characters has up to twelve for each."""

MAX_PARAMETERS = 50

_KEY = "apm_s3.call"


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request.

    Attributes:
        principal: who sends it.
        configs: the store.
        timeout: seconds for a write to the store.
    """

    principal: Principal
    configs: ConfigStore
    timeout: float

    @property
    def author(self) -> str:
        """Return the author of the principal's changes."""
        return self.principal.name

    @property
    def hidden_names(self) -> list[str]:
        """Return the names that no answer shows: the store's bucket and prefix."""
        return [name for name in (self.configs.bucket, self.configs.prefix.rstrip("/")) if name]

    async def allows(self, permission: Permission) -> bool:
        """Return whether the principal has `permission`. Anything but True means that it has not."""
        answer: Any = self.principal.allows(permission)
        if answer is True or answer is False:
            return answer
        return isinstance(answer, Awaitable) and await answer is True

    async def require(self, *permissions: Permission) -> None:
        """Refuse the request unless the principal has all `permissions`.

        Raises:
            ProblemError: it lacks one.
        """
        for each in permissions:
            if not await self.allows(each):
                raise _refusal(each)

    async def sees_secrets(self, environment: str, tool: str | None) -> bool:
        """Return whether the principal may read the secrets of a configuration."""
        return await self.allows(Permission(Action.SECRETS, environment, tool))

    async def require_to_compare(self, environment: str, tool: str | None) -> None:
        """Refuse a request whose answer would tell a caller without access to secrets whether its content is stored.

        Otherwise, a caller who knows all of a configuration but a short password could test guesses unnoticed.

        Raises:
            ProblemError: the permission is missing.
        """
        await self.require(Permission(Action.SECRETS, environment, tool))

    async def require_to_copy(self, source: str, target: str, tools: Iterable[str | None]) -> None:
        """Refuse to copy configurations from `source` to `target` unless the principal may read what it would get.

        Whoever reads the secrets of the target could otherwise read those of the source there.

        Raises:
            ProblemError: a permission is missing.
        """
        for tool in tools:
            await self.require(Permission(Action.READ, source, tool))
            if source == target:
                continue
            # All tools include each one whose secrets the principal may read, even if it may not read all.
            for each in (tool,) if tool is not None else TOOLS:
                await self._require_secrets_too(source, target, each)

    async def _require_secrets_too(self, source: str, target: str, tool: str) -> None:
        in_target, in_source = (Permission(Action.FETCH, each, tool) for each in (target, source))
        # The feed shows secrets too.
        fetches = await self.allows(in_target) and not await self.allows(in_source)
        if fetches or await self.sees_secrets(target, tool):
            await self.require(Permission(Action.SECRETS, source, tool))


Authorise = Callable[[Request, object, ConfigStore], Awaitable[Call]]


def make_authorise(action: Action, path: str, *, by_tools: bool, timeout: float, refuses_conditions: bool) -> Authorise:
    """Return what authorises the requests of the route with this path."""
    # Where the application is mounted may have parameters too, perhaps with the same names.
    has_environment, has_tool = "{environment}" in path, "{tool}" in path

    async def authorise(request: Request, principal: object, configs: ConfigStore) -> Call:
        query = request.scope["query_string"]
        if query and (len(query) > MAX_QUERY or query.count(b"&") >= MAX_PARAMETERS):
            text = f"The query has more than {MAX_QUERY} bytes, or more than {MAX_PARAMETERS} parameters."
            raise ProblemError(422, "request-invalid", text)
        if not isinstance(principal, Principal):
            raise UsageError(
                f"the authorize dependency returned {type(principal).__name__}, not a Principal",
                hint="return Principal(name, allows), or raise HTTPException(401)",
            )
        name: object = principal.name
        if not isinstance(name, str) or not name:
            raise UsageError(
                "the authorize dependency returned a Principal without a name",
                hint="the name becomes the author of its changes: name whoever sends the request",
            )
        call = Call(principal, configs, timeout)
        environment = request.path_params["environment"] if has_environment else None
        tools: list[str | None] = [request.path_params["tool"] if has_tool else None]
        if by_tools:
            tools = [*dict.fromkeys(request.query_params.getlist("tool"))] or [None]
        for tool in tools:
            permission = Permission(action, environment, tool)
            if not await call.allows(permission):
                raise _refusal(permission)
        if refuses_conditions and ("if-match" in request.headers or "if-none-match" in request.headers):
            # RFC 9110, section 13.2.1: a condition that is not evaluated must not be taken for one that holds.
            raise ProblemError(422, "condition-invalid", "This route takes neither If-Match nor If-None-Match.")
        request.scope[_KEY] = call
        return call

    return authorise


def make_guard(authorise: Authorise, authorize: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
    """Return the dependency of a route that authorises its requests before anything else is done."""

    async def guard(
        request: Request, principal: Any = Depends(authorize), configs: ConfigStore = Depends(get_configs)
    ) -> None:
        await authorise(request, principal, configs)

    return guard


def make_bare(
    authorise: Authorise, authorize: Callable[..., Any], answer: Callable[[Request, Call], Awaitable[Response]]
) -> Callable[..., Awaitable[Response]]:
    """Return a route that authorises its requests, and then reads their parameters itself."""

    async def bare(
        request: Request, principal: Any = Depends(authorize), configs: ConfigStore = Depends(get_configs)
    ) -> Response:
        return await answer(request, await authorise(request, principal, configs))

    return bare


def _refusal(permission: Permission) -> ProblemError:
    return ProblemError(403, "forbidden", f"This needs the permission to {permission}.")


def hidden_names(request: Request) -> list[str]:
    """Return the names that no problem shows: the store's bucket and prefix."""
    call = request.scope.get(_KEY)
    return call.hidden_names if isinstance(call, Call) else []


async def get_call(request: Request) -> Call:
    """Return the authorised request.

    Raises:
        UsageError: its route has no guard.
    """
    call = request.scope.get(_KEY)
    if not isinstance(call, Call):
        raise UsageError("this route has no guard", hint="this is a bug in apm_s3")
    return call


CallDep = Annotated[Call, Depends(get_call)]
