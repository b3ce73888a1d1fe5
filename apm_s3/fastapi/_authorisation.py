"""Who may do what, and one authorised request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from apm_s3._hints import Advice
from apm_s3._tools import TOOLS
from apm_s3.configs import ChangeKeywords, ConfigStore, Release
from apm_s3.errors import ConfigNotFound, UsageError
from apm_s3.fastapi._models import ReleaseModel
from apm_s3.fastapi._problems import ProblemError
from apm_s3.validators._checking import did_you_mean


class Action(StrEnum):
    """What a request does.

    READ: reads configurations with their secrets masked, and everything about them.
    SECRETS: reads the bodies of configurations with their secrets, if it may read them.
    WRITE: uploads, removes, rolls back, marks, backs up and restores.
    DEPLOY: deploys to an environment.
    MANAGE: freezes and thaws an environment, and sets its settings.
    FETCH: reads whole configurations from the feed, with their secrets.
    """

    READ = "read"
    SECRETS = "secrets"
    WRITE = "write"
    DEPLOY = "deploy"
    MANAGE = "manage"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Permission:
    """The permission that a request needs, or one that a principal has.

    Attributes:
        environment: None means all environments.
        tool: None means all tools.
    """

    action: Action
    environment: str | None = None
    tool: str | None = None

    def __str__(self) -> str:
        return f"{self.action.value} {self.tool or 'all tools'} in {self.environment or 'all environments'}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request. An `authorize` dependency returns it, or refuses the request with an `HTTPException`.

    Attributes:
        name: the author of the principal's changes, in releases and in the log.
        allows: whether the principal has a permission; may be a coroutine function. Only True allows anything.
    """

    name: str
    allows: Callable[[Permission], bool | Awaitable[bool]]

    @classmethod
    def granted(cls, name: str, *permissions: Permission) -> Self:
        """Return a principal that has `permissions`, and nothing else."""
        granted = frozenset((each.action, each.environment, each.tool) for each in permissions)

        def allows(wanted: Permission) -> bool:
            action, environment, tool = wanted.action, wanted.environment, wanted.tool
            return (
                (action, environment, tool) in granted
                or (action, environment, None) in granted
                or (action, None, tool) in granted
                or (action, None, None) in granted
            )

        return cls(name, allows)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One authorised request.

    Attributes:
        principal: who sends it.
        configs: the store.
        timeout: seconds for a write to the store.
        known: the lines of the header If-None-Match, for reads.
    """

    principal: Principal
    configs: ConfigStore
    timeout: float
    known: Sequence[str]
    _known: dict[Permission, bool] = field(default_factory=dict, repr=False)

    @property
    def author(self) -> str:
        """Return the author of the principal's changes."""
        return self.principal.name

    def change(self, message: str, write_id: str | None) -> ChangeKeywords:
        """Return the arguments of a change of the store that the principal makes."""
        return {"author": self.author, "message": message, "timeout": self.timeout, "write_id": write_id}

    @property
    def hidden_names(self) -> list[str]:
        """Return the names that no answer shows: the store's bucket and prefix."""
        return [name for name in (self.configs.bucket, self.configs.prefix.rstrip("/")) if name]

    async def allows(self, permission: Permission) -> bool:
        """Return whether the principal has `permission`, of which it is asked once. Only True means that it has."""
        known = self._known.get(permission)
        if known is None:
            answer: Any = self.principal.allows(permission)
            known = (await answer if isinstance(answer, Awaitable) else answer) is True
            self._known[permission] = known
        return known

    async def require(self, *permissions: Permission) -> None:
        """Refuse the request unless the principal has all `permissions`.

        Raises:
            ProblemError: it lacks one.
        """
        for each in permissions:
            if not await self.allows(each):
                raise ProblemError(403, "forbidden", f"This needs the permission to {each}.")

    async def sees_secrets(self, environment: str, tool: str | None) -> bool:
        """Return whether the principal may read the secrets of a configuration."""
        return await self.allows(Permission(Action.SECRETS, environment, tool))

    async def shown(self, release: Release) -> ReleaseModel:
        """Return the document of a release, with what depends on secrets if the principal may read them."""
        return ReleaseModel.of(release, secrets=await self.sees_secrets(release.environment, release.tool))

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

    async def unknown_environment(self, name: str) -> ConfigNotFound:
        """Return the refusal to create an environment; it names only those that the caller may read."""
        names = await self.configs.environments()
        known = [each for each in names if await self.allows(Permission(Action.READ, each, None))]
        hint = Advice.CREATE_ENVIRONMENT(near=did_you_mean(name, known) or "check its name;")
        return ConfigNotFound(f"there is no environment '{name}'", environment=name, hint=hint)

    async def _require_secrets_too(self, source: str, target: str, tool: str) -> None:
        in_target, in_source = (Permission(Action.FETCH, each, tool) for each in (target, source))
        # The feed shows secrets too.
        fetches = await self.allows(in_target) and not await self.allows(in_source)
        if fetches or await self.sees_secrets(target, tool):
            await self.require(Permission(Action.SECRETS, source, tool))


def check_principal(principal: object) -> Principal:
    """Return what `authorize` returned.

    Raises:
        UsageError: it is no principal, or has no name.
    """
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
    return principal
