"""Imports of directories, prefixes and Git histories: the layout, the plan, carrying out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from apm_s3._directories import MAX_BYTES, MAX_FILES, is_part
from apm_s3._hints import Advice
from apm_s3._naming import check_environment
from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS, Tool
from apm_s3.configs._checks import check_bundle
from apm_s3.configs._content.files import read_directory
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._content.serialise import check_names
from apm_s3.configs._imports.git import Commit, GitObjects, GitRepository, TreeEntry
from apm_s3.configs._models import Release
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._reads import Views
from apm_s3.configs._uploads import Given, ToolRequest, UploadOptions, Writer
from apm_s3.errors import ConfigInvalid, ConfigNotFound, InvalidKey, InvalidOption, ObjectTooLarge, RevisionConflict
from apm_s3.reports import ValidationReport
from apm_s3.validators import ValidationOptions
from apm_s3.validators._validation.validate import LENIENT_RULES


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bundles are below the root of a layout.

    Without an environment and a tool they are in `{environment}/{tool}/`; with an environment, in `{tool}/`; with both,
    the root is the bundle.
    """

    environment: str | None = None
    tool: Tool | None = None
    exclude: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.tool is not None and self.environment is None:
            raise InvalidOption("a tool is set without an environment", hint="name the environment as well")

    @property
    def form(self) -> str:
        """Describe where files are expected."""
        if self.tool is not None:
            return "the files of one bundle"
        return "{environment}/{tool}/" if self.environment is None else "{tool}/"

    def place_of(self, path: str) -> tuple[str, Tool, str] | None:
        """Return environment, tool and name of the file at `path`; None if it is not part of a bundle."""
        environment, tool, name = self.environment, self.tool, path
        if environment is None:
            environment, _, name = name.partition("/")
        if tool is None:
            first, _, name = name.partition("/")
            if first not in TOOLS:
                return None
            tool = first
        if not name or not is_part(name, self.exclude) or not _is_environment(environment):
            return None
        return environment, tool, name

    def sort(self, paths: Iterable[str]) -> Sorted:
        """Sort the files of a layout into bundles."""
        bundles: dict[tuple[str, Tool], dict[str, str]] = {}
        left_out = []
        for path in sorted(paths):
            place = self.place_of(path)
            if place is None:
                left_out.append(path)
            else:
                bundles.setdefault(place[:2], {})[place[2]] = path
        return Sorted(bundles, tuple(left_out))


@dataclass(frozen=True, slots=True)
class Sorted:
    """The files of a layout by bundle.

    Attributes:
        bundles: by environment and tool, the path of each file by its name in the bundle.
        left_out: the paths of all other files.
    """

    bundles: Mapping[tuple[str, Tool], Mapping[str, str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def _is_environment(name: str) -> bool:
    try:
        check_environment(name)
    except InvalidKey:
        return False
    return True


Key = tuple[str, Tool]
"""An environment and a tool."""

_PARALLEL = 32
_SUBJECT = 120
"""The part of a release's message that the log keeps."""
_MAX_AUTHOR, _MAX_MESSAGE = 256, 9_000
_MAX_HELD = 256 * 1024**2
"""About the memory, in bytes, for all revisions of a history."""
_ENTRY, _STEP = 64, 8
"""What each file of a revision takes of it, and what each step of the walk counts as, for the time that it takes."""
_MAX_STEPS = 200_000
"""Maximum number of files and folders that are new in a commit."""
_MAX_PATH = 4096


@dataclass(frozen=True, slots=True)
class Importable:
    """The content of a source.

    Attributes:
        revisions: of all bundles, oldest first.
        left_out: files that belong to no bundle.
    """

    revisions: Sequence[ImportRevision]
    left_out: tuple[str, ...]
    contents: Contents


@dataclass(frozen=True, slots=True)
class Target:
    """The store that is imported to; it is part of every write id."""

    bucket: str
    prefix: str

    def revision(self, key: Key, identity: str, files: Mapping[str, str], commit: Commit | None) -> ImportRevision:
        """Return one revision to import."""
        environment, tool = key
        return ImportRevision(
            environment=environment,
            tool=tool,
            write_id=import_write_id(self.bucket, self.prefix, environment, tool, identity),
            author=None if commit is None else author_of(commit),
            message="" if commit is None else message_of(commit),
            files=files,
            commit=None if commit is None else commit.id,
            committed_at=None if commit is None else commit.time,
        )


async def find_in_directory(path: str | os.PathLike[str], layout: Layout, target: Target) -> Importable:
    """Read the bundles of a directory as they are now.

    Raises:
        InvalidRequest: it is not a directory, or contains something that cannot be stored.
    """
    root = Path(path)
    folders, others = await asyncio.to_thread(_folders, root, layout)
    read = [(key, await read_directory(folder, layout.exclude, root)) for key, folder in folders.items()]
    left_out = [
        f"{folders[key].relative_to(root).as_posix()}/{name}".removeprefix("./")
        for key, found in read
        for name in found.left_out
    ]
    return _as_they_are({key: found.files for key, found in read}, (*others, *sorted(left_out)), target)


def _folders(root: Path, layout: Layout) -> tuple[dict[Key, Path], list[str]]:
    """Return the folder of each bundle, and what else is beside them."""
    if not root.is_dir():
        raise InvalidOption(f"'{root}' is not a directory", hint=Advice.SOURCE_OF_IMPORT())
    if layout.environment is not None and layout.tool is not None:
        return {(layout.environment, layout.tool): root}, []
    depth = 2 if layout.environment is None else 1
    found: dict[Key, Path] = {}
    others: list[str] = []
    _descend(root, root, depth, layout, found, others)
    return found, others


def _descend(root: Path, folder: Path, depth: int, layout: Layout, found: dict[Key, Path], others: list[str]) -> None:
    for child in sorted(folder.iterdir()):
        name = child.relative_to(root).as_posix()
        inside = child.is_dir() and not child.is_symlink() and child.name[:1] != "."
        if inside and depth == 1:
            place = layout.place_of(f"{name}/x")
            if place is not None and any(child.iterdir()):
                found[place[:2]] = child
                continue
        if inside and depth > 1 and any((child / tool).is_dir() for tool in TOOLS):
            _descend(root, child, depth - 1, layout, found, others)
        else:
            others.append(f"{name}/" if child.is_dir() else name)


async def find_in_bucket(objects: ObjectStore, layout: Layout, target: Target) -> Importable:
    """Read the bundles below a prefix in S3 as they are now."""
    names, total = [], 0
    async with aclosing(objects.list("")) as listing:
        async for info in listing:
            if not info.key.endswith("/"):
                names.append(info.key)
                total += info.size if layout.place_of(info.key) else 0
    if total > MAX_BYTES:
        raise ObjectTooLarge(size=total, limit=MAX_BYTES, operation="import", hint="import one environment at a time")
    sorted_files = layout.sort(names)

    async def read(path: str) -> tuple[str, bytes]:
        return path, (await objects.read(path))[1]

    paths = [path for files in sorted_files.bundles.values() for path in files.values()]
    raw = dict(await run_all((read(path) for path in paths), limit=_PARALLEL))
    bundles = {key: {name: raw[path] for name, path in files.items()} for key, files in sorted_files.bundles.items()}
    return _as_they_are(bundles, sorted_files.left_out, target)


def _as_they_are(bundles: Mapping[Key, Mapping[str, bytes]], left_out: tuple[str, ...], target: Target) -> Importable:
    kept: dict[str, Mapping[str, bytes]] = {}
    revisions = []
    for key, files in bundles.items():
        hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())}
        identity = hashlib.sha256("".join(f"{each} {name}\n" for name, each in hashes.items()).encode()).hexdigest()
        revision = target.revision(key, identity, hashes, None)
        revisions.append(revision)
        kept[revision.write_id] = files

    async def contents(revision: ImportRevision) -> Mapping[str, bytes]:
        return kept[revision.write_id]

    return Importable(revisions, left_out, contents)


async def find_in_history(path: str | os.PathLike[str], ref: str, layout: Layout, target: Target) -> Importable:
    """Read the bundles of a Git checkout as of every commit of its first-parent history.

    Raises:
        InvalidOption: it is not a repository, has no such commit, or has too much for one import.
    """
    repository = GitRepository(path, ref)
    head = await repository.open()
    before: Mapping[Key, Mapping[str, str]] = {}
    revisions: list[ImportRevision] = []
    left_out: tuple[str, ...] = ()
    async with repository.objects() as objects, aclosing(repository.commits(head)) as commits:
        walk = _Walk(objects, layout)
        async for commit in commits:
            now, left_out = await walk.read(commit)
            for key in sorted(now.keys() | before.keys()):
                files = now.get(key, {})
                if files != before.get(key, {}):
                    revision = target.revision(key, commit.id, files, commit)
                    walk.spend(_ENTRY * len(files) + sys.getsizeof(revision.message))
                    revisions.append(revision)
            before = now

    async def contents(revision: ImportRevision) -> Mapping[str, bytes]:
        return await repository.contents(revision.files)

    return Importable(revisions, left_out, contents)


@dataclass(frozen=True, slots=True)
class _Folder:
    """What a folder of a commit has: bundles by their keys, the id of each file by its name, and everything else."""

    bundles: Mapping[Key, Mapping[str, str]]
    others: tuple[str, ...]


class _Walk:
    """Walks the trees of commits. What has not changed since the commit before is not walked again.

    A small repository can describe a huge tree, by using the same folder many times, so each step is counted.
    """

    def __init__(self, objects: GitObjects, layout: Layout) -> None:
        self._objects = objects
        self._layout = layout
        self._depth = 0 if layout.tool is not None else 1 if layout.environment is not None else 2
        self._before: dict[tuple[str, str], _Folder] = {}
        self._now: dict[tuple[str, str], _Folder] = {}
        self._left = _MAX_HELD
        self._steps = 0
        self._places: dict[str, tuple[Key, str] | None] = {}
        self._texts: dict[str, str] = {}

    def spend(self, size: int) -> None:
        """Count bytes, or steps, of the whole import.

        Raises:
            InvalidOption: there are too many.
        """
        self._left -= size
        if self._left < 0:
            raise _too_much()

    def _step(self) -> None:
        self.spend(_STEP)
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _too_much()

    def _place_of(self, path: str) -> tuple[Key, str] | None:
        """Return the bundle and the name of a file, None if it has none. Most are those of the commit before.

        Raises:
            InvalidOption: the name is not UTF-8.
        """
        if path not in self._places:
            self.spend(4 * sys.getsizeof(path))
            place = self._layout.place_of(path)
            if place is not None and path != _shown(path):
                hint = "rename it in a new commit"
                raise InvalidOption(f"'{_shown(path)}' is a file whose name is not UTF-8", hint=hint)
            self._places[path] = None if place is None else (place[:2], place[2])
        return self._places[path]

    def _same(self, text: str) -> str:
        """Return the one text of all equal ones."""
        if text not in self._texts:
            self.spend(2 * sys.getsizeof(text))
        return self._texts.setdefault(text, text)

    async def read(self, commit: Commit) -> tuple[Mapping[Key, Mapping[str, str]], tuple[str, ...]]:
        """Return the bundles of a commit, and the files and folders that belong to none."""
        self._now, self._steps = {}, 0
        # Trees that are known need no waiting, and must not hold the event loop.
        await asyncio.sleep(0)
        found = await self._descend("", await self._objects.top(commit.tree), self._depth)
        self._before = self._now
        return found.bundles, found.others

    async def _folder(self, path: str, tree: str, depth: int) -> _Folder:
        found = self._before.get((path, tree))
        if found is None:
            found = await self._descend(path, await self._objects.entries(tree), depth)
        self._now[path, tree] = found
        return found

    async def _descend(self, path: str, entries: Sequence[TreeEntry], depth: int) -> _Folder:
        if depth == 0:
            return await self._bundle(path, entries)
        bundles: dict[Key, Mapping[str, str]] = {}
        others: list[str] = []
        for entry in entries:
            self._step()
            name = f"{path}{entry.name}"
            if entry.is_folder and (depth == 2 or self._layout.place_of(f"{name}/x")):
                inner = await self._folder(f"{name}/", entry.id, depth - 1)
                bundles.update(inner.bundles)
                others += inner.others if inner.bundles else [f"{_shown(name)}/"]
            elif entry.is_file or entry.is_folder:
                others.append(f"{_shown(name)}/" if entry.is_folder else _shown(name))
        return _Folder(bundles, tuple(others))

    async def _bundle(self, path: str, entries: Sequence[TreeEntry]) -> _Folder:
        files: dict[str, str] = {}
        others: list[str] = []
        key: Key | None = None
        left = [(path, iter(entries))]
        while left:
            folder, rest = left[-1]
            entry = next(rest, None)
            if entry is None:
                left.pop()
                continue
            self._step()
            name = f"{folder}{entry.name}"
            if len(name) > _MAX_PATH:
                raise InvalidOption(
                    f"'{_shown(name[:_SUBJECT])}…' is too long for a path", hint="import another folder"
                )
            if entry.is_folder:
                left.append((f"{name}/", iter(await self._objects.entries(entry.id))))
            elif entry.is_file:
                if len(files) + len(others) == 2 * MAX_FILES:
                    raise _too_much()
                place = self._place_of(name)
                if place is None:
                    others.append(_shown(name))
                    continue
                key, files[place[1]] = place[0], self._same(entry.id)
        return _Folder({} if key is None else {key: dict(sorted(files.items()))}, tuple(others))


def _too_much() -> InvalidOption:
    hint = "import a folder of it, a clone with a shorter history (git clone --depth), or the directory"
    return InvalidOption("the history has too many files and folders for one import", hint=hint)


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def author_of(commit: Commit) -> str:
    """Return the author of a commit as a release has it: `Name <address>`."""
    text = f"{commit.author} <{commit.email}>" if commit.email else commit.author
    return "".join(char for char in text if char.isprintable())[:_MAX_AUTHOR] or "unknown"


def message_of(commit: Commit) -> str:
    """Return the message of a commit, with its id and time in the first line, which the log keeps."""
    plain = "".join(char for char in commit.message if char.isprintable() or char in "\n\t")
    first, _, rest = plain.partition("\n")
    mark = f" (commit {commit.id[:12]}, {commit.time.isoformat()})"
    room = _SUBJECT - len(mark)
    subject = first if len(first) <= room else f"{first[: room - 1]}…"
    # A shortened subject is kept whole below.
    body = rest.strip() if subject == first else plain.strip()
    return f"{subject}{mark}" + (f"\n\n{body[:_MAX_MESSAGE]}" if body else "")


Contents = Callable[["ImportRevision"], Awaitable[Mapping[str, bytes]]]
"""Returns the files of a revision, byte for byte."""


@dataclass(frozen=True, slots=True)
class ImportRevision:
    """One release to commit.

    Attributes:
        write_id: made from what is imported, so that a repeated import commits nothing twice.
        author, message: as the release will have them; None and empty for those of the caller.
        files: the ids of the contents by name: Git's hashes, or SHA-256; empty if the configuration is removed.
        commit, committed_at: the commit that it comes from; None without a history.
    """

    environment: str
    tool: Tool
    write_id: str
    author: str | None
    message: str
    files: Mapping[str, str] = field(repr=False)
    commit: str | None = None
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportBundle:
    """What an import would do for one tool in one environment.

    Attributes:
        found: the number of revisions in the source.
        done: how many of them were imported before.
        current_revision: the current revision (0: none).
        report: the validation of the newest revision, whose errors block the import unless it is forced; None if it is
            imported already.
        blocked: why it would be refused; None if it would not.
    """

    environment: str
    tool: Tool
    found: int
    done: int
    current_revision: int
    report: ValidationReport | None = None
    blocked: str | None = None

    @property
    def errors(self) -> tuple[str, ...]:
        """Return the errors of the newest revision, one line each."""
        return () if self.report is None else tuple(each.render(self.report.name) for each in self.report.errors)


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """A planned import: a dry run, and the argument of `import_configs`.

    Attributes:
        source: what is imported, for people.
        bundles: the bundles of the source, sorted.
        revisions: what is still to commit, in the order of the commits.
        left_out: files of the source that belong to no bundle.
    """

    source: str
    bucket: str
    prefix: str
    bundles: tuple[ImportBundle, ...]
    revisions: tuple[ImportRevision, ...]
    left_out: tuple[str, ...] = ()
    contents: Contents = field(repr=False, compare=False, kw_only=True)

    @property
    def changes(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.revisions)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Return why the import would be refused; empty if it would not."""
        return tuple(
            f"{each.tool} in '{each.environment}': {reason}"
            for each in self.bundles
            for reason in (*(() if each.blocked is None else (each.blocked,)), *each.errors[:1])
        )


def _check_all_names(revisions: Iterable[ImportRevision]) -> None:
    for names in {tuple(revision.files): None for revision in revisions}:
        check_names(name for name in names if not is_reserved(name))


def import_write_id(bucket: str, prefix: str, environment: str, tool: str, identity: str) -> str:
    """Return the write id of one imported revision: the same for the same content of the same origin."""
    text = json.dumps(["import", bucket, prefix, environment, tool, identity])
    return f"{environment}.{hashlib.sha256(text.encode()).hexdigest()[:20]}"


OLD = "an old revision of an imported history"
"""Why errors of a revision that a later one of the same import replaces are stored."""


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports to one store."""

    bucket: str
    prefix: str
    reader: Reader
    views: Views
    writer: Writer

    async def plan(self, source: str, found: Importable) -> ImportPlan:
        """Compare the source with the store.

        Raises:
            InvalidRequest: a file has a name that cannot be stored.
        """
        by_key: dict[Key, list[ImportRevision]] = {}
        # A history may have thousands of revisions with thousands of names each.
        await asyncio.to_thread(_check_all_names, found.revisions)
        for revision in found.revisions:
            by_key.setdefault((revision.environment, revision.tool), []).append(revision)
        bundles, left = [], set[str]()
        for key in sorted(by_key):
            bundle, missing = await self._plan_bundle(key, by_key[key], found)
            bundles.append(bundle)
            left.update(revision.write_id for revision in missing)
        return ImportPlan(
            source=source,
            bucket=self.bucket,
            prefix=self.prefix,
            bundles=tuple(bundles),
            revisions=tuple(revision for revision in found.revisions if revision.write_id in left),
            left_out=found.left_out,
            contents=found.contents,
        )

    async def _plan_bundle(
        self, key: Key, revisions: Sequence[ImportRevision], found: Importable
    ) -> tuple[ImportBundle, Sequence[ImportRevision]]:
        environment, tool = key
        releases = await self._history(environment, tool)
        done = _imported(revisions, releases)
        missing, blocked = revisions[done:], None
        if missing and releases and releases[0].write_id != (revisions[done - 1].write_id if done else None):
            if not done and _is_same(revisions[-1], releases[0]):
                done, missing = len(revisions), ()
            else:
                since = "after an earlier import" if done else "and was not imported from here"
                blocked = f"revision {releases[0].revision} was created {since}"
        report = await self._report(missing[-1], found) if missing else None
        current = releases[0].revision if releases else 0
        return ImportBundle(environment, tool, len(revisions), done, current, report, blocked), missing

    async def _history(self, environment: str, tool: Tool) -> list[Release]:
        try:
            return await self.views.history(tool, environment, None)
        except ConfigNotFound:
            return []

    async def _report(self, newest: ImportRevision, found: Importable) -> ValidationReport | None:
        if not newest.files:
            return None
        files = await found.contents(newest)
        return await check_bundle(newest.tool, files, await self._rules(newest.environment, newest.tool))

    async def _rules(self, environment: str, tool: Tool) -> ValidationOptions:
        try:
            snapshot = await self.reader.require(environment)
        except ConfigNotFound:
            return LENIENT_RULES
        return snapshot.current.settings.rules(tool)

    async def carry_out(
        self, plan: ImportPlan, *, author: str | None, message: str, force: str | None, steps: Steps
    ) -> tuple[Release, ...]:
        """Commit the revisions of a plan, in order."""
        if (plan.bucket, plan.prefix) != (self.bucket, self.prefix):
            raise InvalidOption("the plan is of another store", hint="carry it out on the store that made it")
        _refuse_blocked(plan, force)
        newest = {(each.environment, each.tool): each.write_id for each in plan.revisions}
        expected: dict[Key, int] = {(each.environment, each.tool): each.current_revision for each in plan.bundles}
        releases = []
        steps.begin("", "committing revisions", len(plan.revisions))
        for revision in plan.revisions:
            key = (revision.environment, revision.tool)
            terms = UploadOptions(
                author=revision.author or author,
                message=revision.message or message or f"Import of {plan.source}",
                expect_revision=expected[key],
                write_id=revision.write_id,
                force=force if revision.write_id == newest[key] else force or OLD,
            )
            request = ToolRequest(revision.tool, revision.environment, terms)
            if revision.files:
                release = await self.writer.upload(request, Given(files=await plan.contents(revision)), terms)
            else:
                release = await self.writer.remove(request)
            expected[key] = release.revision
            releases.append(release)
            steps.step()
        return tuple(releases)


def _refuse_blocked(plan: ImportPlan, force: str | None) -> None:
    for bundle in plan.bundles:
        where = {"tool": bundle.tool, "environment": bundle.environment}
        if bundle.blocked is not None:
            raise RevisionConflict(
                f"{bundle.tool} in '{bundle.environment}' cannot be imported: {bundle.blocked}; nothing was changed",
                expected_revision=0, current_revision=bundle.current_revision,
                hint="import to an environment without this tool, or upload the change", **where,
            )  # fmt: skip
        if bundle.report is not None and bundle.errors and force is None:
            more = f", and {len(bundle.errors) - 1} more" if len(bundle.errors) > 1 else ""
            raise ConfigInvalid(
                f"{bundle.tool} in '{bundle.environment}': {bundle.errors[0]}{more}",
                report=bundle.report,
                hint=Advice.CORRECT_SOURCE_OR_FORCE(), **where,
            )  # fmt: skip


def _imported(revisions: Sequence[ImportRevision], releases: Sequence[Release]) -> int:
    """Return how many of `revisions` are already there: all up to the newest whose write id a release has."""
    there = {release.write_id for release in releases}
    return max((at for at, each in enumerate(revisions, start=1) if each.write_id in there), default=0)


def _is_same(revision: ImportRevision, release: Release) -> bool:
    """Return whether a release has exactly these files; never for those of Git, whose ids are no SHA-256."""
    return dict(revision.files) == {name: entry.sha256 for name, entry in release.files.items()}
