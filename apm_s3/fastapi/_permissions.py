"""Who may do what: the values that an application's own authorisation decides about. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


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
