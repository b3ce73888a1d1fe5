"""The methods of `ConfigStore` that read."""

from __future__ import annotations

import builtins
import os
from collections.abc import Collection, Sequence
from datetime import datetime
from types import NoneType

from apm_s3._naming import check_environment
from apm_s3._tools import Tool
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.directories import EXCLUDED, read_directory, write_directory
from apm_s3.configs._content.overlays import OVERLAY, is_reserved
from apm_s3.configs._content.sources import check_revisions, check_tool, check_tools, check_type
from apm_s3.configs._models import Bundle, ConfigFile, Release
from apm_s3.configs._record import LogEntry
from apm_s3.configs._views import Views, compare
from apm_s3.errors import InvalidOption


class ReadMethods:
    """Files, bundles, environments, history and differences. A part of `ConfigStore`."""

    _views: Views

    async def download(
        self, tool: Tool, environment: str, name: str | None = None, *, revision: int | None = None
    ) -> ConfigFile:
        """One file, by default the main one, of the current revision or an older one.

        Raises:
            ConfigNotFound: there is no such environment, configuration, revision or file.
            StoreDamaged: it is not what was stored.
        """
        check_revisions(revision=revision)
        return await self._views.file(check_tool(tool), check_environment(environment), name, revision)

    async def download_bundle(self, tool: Tool, environment: str, *, revision: int | None = None) -> Bundle:
        """All files of the current revision or an older one.

        Raises:
            ConfigNotFound: there is no such environment, configuration or revision.
            StoreDamaged: it is not what was stored.
        """
        check_revisions(revision=revision)
        return await self._views.bundle(check_tool(tool), check_environment(environment), revision)

    async def download_environment(self, environment: str, tools: Sequence[Tool] | None = None) -> dict[str, Bundle]:
        """The bundles of all tools, or of `tools`, as they were at one moment: the states of one and the same commit.

        Raises:
            ConfigNotFound: there is no such environment, or one of `tools` is not in it.
            StoreDamaged: it is not what was stored.
        """
        wanted = check_tools(tools)
        return await self._views.environment(check_environment(environment), wanted)

    async def environments(self) -> tuple[str, ...]:
        """The environments that there are, by name."""
        return tuple(await self._views.environments())

    async def list(self, environment: str | None = None) -> tuple[Release, ...]:
        """The current release of each tool, in one environment or in all of them."""
        name = None if environment is None else check_environment(environment)
        return tuple(await self._views.releases(name))

    async def history(self, tool: Tool, environment: str, *, limit: int | None = None) -> tuple[Release, ...]:
        """The releases of a tool that are kept, newest first, at most `limit`.

        Raises:
            ConfigNotFound: there is no such environment or configuration.
            StoreDamaged: one of them is not what was stored.
        """
        check_type("limit", limit, int, NoneType)
        if limit is not None and limit < 1:
            raise InvalidOption(f"limit {limit} is less than 1", hint="leave it out for all of them")
        return tuple(await self._views.history(check_tool(tool), check_environment(environment), limit))

    async def log(
        self,
        environment: str,
        *,
        limit: int | None = None,
        tool: str | None = None,
        since: int | datetime | None = None,
    ) -> builtins.list[LogEntry]:
        """Every commit of an environment, newest first: who changed what, when and why.

        The last 64 cost one request. Each entry is checked against the hash that the one after it carries; entries
        older than a collection's `keep_log` are gone.

        Args:
            limit: at most so many.
            tool: only those that changed this tool's configuration or its marks.
            since: only those after the entry with this sequence, or from this time on.

        Raises:
            ConfigNotFound: there is no such environment.
            StoreDamaged: an entry is missing, or is not what was written.
        """
        check_type("limit", limit, int, NoneType)
        check_type("since", since, int, datetime, NoneType)
        if limit is not None and limit < 1:
            raise InvalidOption(f"limit {limit} is less than 1", hint="leave it out for all of them")
        if isinstance(since, datetime) and since.tzinfo is None:
            raise InvalidOption("since is a time without a zone", hint="use datetime.now(UTC)")
        name = None if tool is None else check_tool(tool)
        return await self._views.log(check_environment(environment), limit, name, since)

    async def diff(
        self,
        tool: Tool,
        environment: str,
        old_revision: int | None = None,
        new_revision: int | None = None,
        *,
        to_environment: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        exclude: Collection[str] = EXCLUDED,
    ) -> BundleDiff:
        """How two bundles of a tool differ, as text and by structure, secrets masked.

        Compared are two revisions of an environment (by default the current one with the one before), or the current
        revisions of `environment` and `to_environment`, or a revision (by default the current one) with a directory, of
        which `exclude` leaves out the same as in `upload_dir`.

        Raises:
            InvalidOption: arguments that exclude each other, or a directory that cannot be read.
            ConfigNotFound: there is no such environment, configuration or revision.
            StoreDamaged: it is not what was stored.
        """
        check_tool(tool)
        check_environment(environment)
        check_revisions(old_revision=old_revision, new_revision=new_revision)
        if directory is not None and (to_environment is not None or new_revision is not None):
            raise InvalidOption(
                "directory is the new side: it excludes to_environment and new_revision", hint="give one"
            )
        elsewhere = None if to_environment is None else check_environment(to_environment)
        if directory is not None:
            files = (await read_directory(directory, exclude)).files
            old = await self._views.files_of(tool, environment, old_revision)
            # An upload of the directory would keep the overlay, where it has none.
            kept = {OVERLAY: old[1][OVERLAY]} if OVERLAY in old[1] else {}
            return await compare(old, (str(directory), {**kept, **files}))
        new = await self._views.files_of(tool, elsewhere or environment, new_revision)
        if old_revision is None and elsewhere is None:
            current = await self._views.wanted(tool, environment, new_revision)
            old_revision = current.revision - 1
        old = await self._views.files_of(tool, environment, old_revision)
        return await compare(old, new)

    async def download_dir(
        self,
        tool: Tool,
        environment: str,
        path: str | os.PathLike[str],
        *,
        revision: int | None = None,
        replace: bool = False,
    ) -> Release:
        """Make `path` a directory that holds the bundle and nothing else, in one step.

        Args:
            replace: also take the place of a directory that has something in it, which is then deleted.

        Raises:
            ConfigNotFound, StoreDamaged: see `download_bundle`.
            InvalidOption: there is something at `path` already, or it holds the home or the working directory.
        """
        check_type("path", path, str, os.PathLike)
        bundle = await self.download_bundle(tool, environment, revision=revision)
        files = {name: file.raw for name, file in bundle.files.items() if not is_reserved(name)}
        await write_directory(path, files, replace=replace)
        return bundle.release
