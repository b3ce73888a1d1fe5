"""Overlays: what an environment changes in the files that a deploy brings.

The places are found when an overlay is applied, and stored with the result. To search for the texts of secrets later
would tell everybody who may write an overlay with a list of all short passwords which one is the secret.

An overlay is the file `OVERLAY` in the bundle of its tool and environment, uploaded like any other. So it is versioned,
diffed, rolled back and backed up with the configuration, and committed together with it. It is applied by a deploy to
the environment:

1. `base_files(source bundle)` returns the files of the source without its own overlay;
2. `apply_overlay(those files, overlay of the target, variables)` returns the result, and the changes of each file;
3. `release_files()` of the result are the files of the target's new release: the result, the overlay, and the base of
   each touched file under `.apm/bases/`, so that a deploy from this environment starts from the base again.

A base is only used while its file is still the result that was made from it: `.apm/results.json` has the SHA-256 of it.
A file that was replaced by hand is its own base. No tool reads names for which `is_reserved` is true, so they are
neither validated as a tool's files nor copied to `live/`. Before, the hash of a result was part of a base's name, which
more people may read than the file: such releases are still understood.

    # .apm/overlay.yml
    variables: {CLUSTER: eu-1, TOKEN_FILE: null}     # defaults; null means that a deploy must pass a value
    files:
      prometheus.yml:                                # a merge patch: mappings are merged, null removes a key
        global: {external_labels: {cluster: "${CLUSTER}"}}
        scrape_configs:                              # named items are matched by name, new ones come last
          - {job_name: node, scrape_interval: 60s}
          - {job_name: debug, $patch: delete}
      rules/debug.yml: null                          # removes the file

Mappings follow RFC 7396; a list whose items have no names is replaced as a whole. `$patch: delete` is that of
Kubernetes' strategic merge patch. `${NAME}` is replaced in the overlay and in all texts of the bundle, but only for
variables that the overlay declares: Prometheus's `$1` and `${1}`, and variables that tools expand, are not changed.

Files without a patch and without variables are kept byte for byte. In a patched file, only the values and sections that
change are rewritten (see `edits`); comments in a section whose structure changes are lost, and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from apm_s3._naming import OVERLAY, check_file_name
from apm_s3.configs._content.edits import fitted, load, rewrite
from apm_s3.configs._content.serialise import check_names, serialise
from apm_s3.configs._content.structure import Merger, MergeRefused, Steps, Surprise, render
from apm_s3.errors import ApmS3Error, ConfigInvalid
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._reading.documents import format_of, read_document
from apm_s3.validators._reading.nodes import Trace, Unreadable, render_steps
from apm_s3.validators._secrets.forms import Place, behind
from apm_s3.validators._secrets.known import Searched, SecretValue, marked, plain_steps
from apm_s3.validators._secrets.texts import decode, mask_steps


def secret_places(
    base: Searched, substituted: Searched, result: Searched, merged: Callable[[Callable[[Any], Any]], Any] | None
) -> tuple[Place, ...]:
    """Return where the secrets of `base` are in `result`.

    Args:
        substituted: the base with variables replaced.
        merged: merges the patch into the data of `substituted`, after the function that is given has changed them;
            None if there is no patch.
    """
    steps = base.secret_steps(substituted) | substituted.secret_steps()
    if not steps:
        return ()
    if merged is not None:
        steps = set(_secrets_in(merged(lambda data: marked(data, steps)), ()))
    found = set()
    trace, _ = result.read
    for each, node in (*trace.scalars, *trace.repeated):
        if plain_steps(each) in steps and node.stop > node.start:
            found.add((node.start, node.stop))
            comment = behind(result.text, node.stop, is_secret=True) if result.form in ("yaml", "ini") else None
            found |= {comment} if comment else set()
    return tuple(sorted(found))


def _secrets_in(data: Any, at: Steps) -> Iterator[Any]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _secrets_in(value, (*at, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _secrets_in(item, (*at, index))
    elif isinstance(data, SecretValue):
        yield at


RESERVED = ".apm/"
"""The folder in a bundle for files that no tool reads."""
_BASES, _RESULTS = ".apm/bases/", ".apm/results.json"
_OLD_BASE, _OLD_ABSENT, _OLD_REMOVED = ".apm/base/", ".apm/absent/", "removed"
_OLD_NAME = re.compile(r"\.apm/(?:base|absent)/[^/\s]*")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ufeff]")
_USED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Touched:
    """The effect of an overlay on one file.

    Attributes:
        base, result: its bytes before and after; None if it did not exist, or was removed.
        comments_lost: the number of comments of the base that are missing in the result.
        secrets: where the secrets of the base are in the text of the result.
    """

    name: str
    base: bytes | None = field(repr=False)
    result: bytes | None = field(repr=False)
    comments_lost: int = 0
    secrets: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Overlaid:
    """A bundle with an overlay applied.

    Attributes:
        files: all files as the tool reads them.
        touched: the files that differ from their base, by name.
        overlay: the overlay itself, or None.
        declared: the variables that it declares.
        notes: effects that may be unintended: added items, and removals of missing ones.
    """

    files: Mapping[str, bytes] = field(repr=False)
    touched: tuple[Touched, ...] = ()
    overlay: bytes | None = field(default=None, repr=False)
    declared: frozenset[str] = frozenset()
    notes: tuple[Issue, ...] = ()

    def release_files(self) -> dict[str, bytes]:
        """Return the files of the release, including reserved ones.

        Raises:
            InvalidKey: the name of a touched file is too long for the name of its base.
        """
        files = dict(self.files)
        if self.overlay is not None:
            files[OVERLAY] = self.overlay
        if self.touched:
            told = {
                each.name: {
                    "result": None if each.result is None else _sha256(each.result),
                    "has_base": each.base is not None,
                    "secrets": each.secrets,
                }
                for each in self.touched
            }
            files[_RESULTS] = f"{json.dumps(told)}\n".encode()
        files |= {check_file_name(_BASES + each.name): each.base for each in self.touched if each.base is not None}
        return files


def is_reserved(name: str) -> bool:
    """Return whether a file of this name belongs to overlays and not to the tool."""
    return name.startswith(RESERVED)


def is_internal(name: str) -> bool:
    """Return whether a file of this name is made by overlays, and uploaded by nobody."""
    return is_reserved(name) and name != OVERLAY


def inputs_of(name: str, others: Iterable[str]) -> list[str]:
    """Return which of the files `others` of a bundle the file `name` may have been made from by an overlay."""
    bases = [each for each in others if each.startswith(RESERVED) and _name_of_base(each) == name]
    return [*bases, *(each for each in (_RESULTS, OVERLAY) if bases and each in others)]


def secrets_in(name: str, raw: bytes, others: Mapping[str, bytes]) -> tuple[Place, ...] | None:
    """Return where the secrets of its base are in the text of the file `name`; None if that was not recorded.

    Args:
        others: files of its bundle that are made by overlays.
    """
    for each, told in _results(others.get(_RESULTS, b"{}")):
        if each == name and told.get("result") == _sha256(raw) and isinstance(told.get("secrets"), list):
            return tuple([(start, stop) for start, stop in map(_place, told["secrets"]) if 0 <= start < stop])
    return None


def has_old_base(name: str, raw: bytes, others: Iterable[str]) -> bool:
    """Return whether the file was made by an overlay when the places of its secrets were not recorded yet."""
    return f"{_OLD_BASE}{_sha256(raw)[:16]}/{name}" in others


def _place(told: Any) -> Place:
    is_place = isinstance(told, list) and len(told) == 2 and all(type(each) is int for each in told)
    return (told[0], told[1]) if is_place else (0, 2**62)


def without_hashes(text: str) -> str:
    """Return `text` without the hashes that old names of bases contain."""
    return _OLD_NAME.sub(".apm/base", text)


def _name_of_base(name: str) -> str | None:
    if name.startswith(_BASES):
        return name.removeprefix(_BASES)
    return name.split("/", 3)[-1] if _OLD_NAME.match(name) else None


def base_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a bundle without the overlay of its environment, and without reserved files."""
    base = {name: raw for name, raw in files.items() if not is_reserved(name)}
    for name, told in _results(files.get(_RESULTS, b"{}")):
        if not is_reserved(name) and told.get("result", "") == (_sha256(files[name]) if name in files else None):
            # A base that is missing although it should not be is like a file that was replaced by hand.
            _put_base(base, name, files.get(_BASES + name, files.get(name)) if told.get("has_base") else None)
    for kept, raw in files.items():
        if kept.startswith((_OLD_BASE, _OLD_ABSENT)):
            folder = _OLD_BASE if kept.startswith(_OLD_BASE) else _OLD_ABSENT
            tag, _, name = kept.removeprefix(folder).partition("/")
            if tag == (_sha256(files[name])[:16] if name in files else _OLD_REMOVED):
                _put_base(base, name, raw if folder == _OLD_BASE else None)
    return dict(sorted(base.items()))


def _put_base(base: dict[str, bytes], name: str, raw: bytes | None) -> None:
    if raw is None:
        base.pop(name, None)
    else:
        base[name] = raw


def _results(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    try:
        results = json.loads(raw)
    except (ValueError, RecursionError):
        return []
    told = results.items() if isinstance(results, dict) else ()
    return [(name, each) for name, each in told if isinstance(each, dict)]


def apply_overlay(
    files: Mapping[str, bytes], overlay: bytes | None, variables: Mapping[str, str] = MappingProxyType({})
) -> Overlaid:
    """Apply the overlay of the target environment to `files`, the base. Use a thread for large bundles.

    Args:
        variables: values of variables that the overlay declares; others may belong to another tool's overlay.

    Raises:
        ConfigInvalid: the overlay is not valid, a variable has no value or is not valid in its position, or a patch
            does not match its file; see the report. Values are never shown.
    """
    files = {name: raw for name, raw in files.items() if not is_reserved(name)}
    if overlay is None:
        return Overlaid(files)
    values = _values(_document(overlay)[0], variables)
    patches = _document(_substituted(OVERLAY, overlay, values))[1]
    substituted = {name: _substituted(name, raw, values) for name, raw in files.items()}
    results: dict[str, bytes | None] = {**substituted}
    merger = Merger()
    _check_new([name for name, patch in patches.items() if patch is not None and name not in results], results)
    for name, patch in patches.items():
        if name not in results:
            word = "the file to remove does not exist" if patch is None else "the overlay adds this file"
            merger.note(("files", name), word, name, files)
        results[name] = None if patch is None else _patched(name, results.get(name), patch, merger)
    touched = [
        Touched(
            name,
            files.get(name),
            result,
            _comments_lost(name, files.get(name), result),
            _secret_places(name, files.get(name), substituted.get(name), patches.get(name), result),
        )
        for name, result in sorted(results.items())
        if result != files.get(name)
    ]
    kept = {name: result for name, result in sorted(results.items()) if result is not None}
    return Overlaid(kept, tuple(touched), overlay, frozenset(values), tuple(map(_note, merger.surprises)))


def check_overlay(overlay: bytes) -> tuple[Issue, ...]:
    """Validate an overlay by itself, and return issues and the variables that it uses but does not declare."""
    try:
        declared, _ = _document(overlay)
        # Variables without a default get a value at a deploy; any text works here.
        values = _values({name: "x" if default is None else default for name, default in declared.items()}, {})
        for name, patch in _document(_substituted(OVERLAY, overlay, values))[1].items():
            if patch is not None:
                _patched(name, None, patch, Merger())
    except ConfigInvalid as exc:
        return exc.report.issues
    hint = "declare it under variables; if the tool itself replaces it, use the default '${%s}'"
    return tuple(
        replace(issue, hint=hint % variable)
        for variable, issue in undeclared({OVERLAY: overlay}, declared)
        if not issue.path.startswith("variables")
    )


def undeclared(files: Mapping[str, bytes], declared: Collection[str]) -> Iterator[tuple[str, Issue]]:
    """Yield a warning for each undeclared `${NAME}` in a value of YAML or JSON.

    This excludes Prometheus's own: in `external_labels`, and for groups of an expression in `replacement`.
    """
    for name, raw in files.items():
        form = format_of(name)
        if b"${" not in raw or form not in ("yaml", "json"):
            continue
        trace = Trace(tolerant=True)
        with suppress(Unreadable):
            read_document(raw, form, trace=trace)
        for steps, node in (*trace.scalars, *trace.keys):
            if "external_labels" in steps or steps[-1:] == ("replacement",):
                continue
            for variable in dict.fromkeys(_USED.findall(node.text)):
                if variable not in declared:
                    message = f"${{{variable}}} is not replaced: no overlay declares it"
                    hint = did_you_mean(variable, declared)
                    path, line, column = render_steps(steps), node.line, node.column
                    yield (
                        variable,
                        Issue(Severity.WARNING, path, line, column, "undeclared-variable", message, hint, file=name),
                    )


def _note(surprise: Surprise) -> Issue:
    severity = Severity.INFO if surprise.hint is None else Severity.WARNING
    path = render(mask_steps(surprise.steps))
    return Issue(severity, path, None, None, "overlay", surprise.message, surprise.hint, file=OVERLAY)


def _check_new(names: Iterable[str], others: Iterable[str]) -> None:
    try:
        check_names(names, others)
    except ApmS3Error as exc:
        raise _invalid(OVERLAY, "files", exc.problem, exc.hint) from exc


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _invalid(name: str, path: str, message: str, hint: str | None = None) -> ConfigInvalid:
    issue = Issue(Severity.ERROR, path, None, None, "overlay", message, hint, file=name)
    report = ValidationReport("", "overlay", name, (issue,))
    return ConfigInvalid(f"{name}: {path + ': ' if path else ''}{message}", report=report, hint=hint)


# --------------------------------------------------------------------------------------------------------------
# The overlay's document


def _document(overlay: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parse variables with their defaults, and patches by file name."""
    data = _load(OVERLAY, overlay)
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise _invalid(OVERLAY, "", "an overlay must be a mapping", "use the keys variables and files")
    for key in data.keys() - {"variables", "files"}:
        raise _invalid(OVERLAY, render((key,)), "unknown key", "use the keys variables and files")
    patches = _mapping(data, "files")
    for name in patches:
        try:
            check_file_name(name)
        except ApmS3Error as exc:
            raise _invalid(OVERLAY, render(("files", name)), "this is not a valid file name") from exc
        if is_reserved(name):
            raise _invalid(OVERLAY, render(("files", name)), f"names under {RESERVED} are reserved")
    declared = data.get("variables")
    if isinstance(declared, list) and all(isinstance(item, str) for item in declared):
        return dict.fromkeys(declared), patches
    return _mapping(data, "variables"), patches


def _mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(OVERLAY, key, "is a mapping")
    return value


def _load(name: str, raw: bytes) -> Any:
    try:
        return load(raw, format_of(name) or "yaml")
    except Unreadable as exc:
        raise _invalid(name, "", f"it cannot be parsed: {exc}") from exc


# --------------------------------------------------------------------------------------------------------------
# Variables


def _values(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, default in declared.items():
        path = render(("variables", name))
        if not _NAME.fullmatch(name):
            raise _invalid(OVERLAY, path, "this is not a valid variable name", "use letters, digits and underscores")
        value = given.get(name, default)
        if value is None:
            raise _invalid(
                OVERLAY, path, "this variable has no value", f"pass variables={{'{name}': ...}}, or set a default"
            )
        if not isinstance(value, str) or _UNSAFE.search(value):
            raise _invalid(OVERLAY, path, "a value must be text of one line without control characters")
        values[name] = value
    return values


def _substituted(name: str, raw: bytes, values: Mapping[str, str]) -> bytes:
    """Replace declared variables in `raw`; return the same bytes if there are none."""
    text = decode(raw) if b"${" in raw and values else None
    if text is None:
        return raw
    pattern = re.compile(r"\$\{(" + "|".join(map(re.escape, values)) + r")\}")

    def replace(text: str) -> str:
        return pattern.sub(lambda match: values[match[1]], text)

    result = replace(text)
    if result == text:
        return raw
    if format_of(name) is not None:
        _check_fits(name, _load(name, raw), _load(name, result.encode()), replace, ())
    return result.encode()


def _check_fits(name: str, old: Any, new: Any, replace: Callable[[str], str], steps: Steps) -> None:
    """Check that only scalars changed: for example, `a: b` in a value must not create a mapping."""
    if isinstance(old, dict) and isinstance(new, dict) and [replace(key) for key in old] == list(new):
        for key, before in old.items():
            _check_fits(name, before, new[replace(key)], replace, (*steps, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            _check_fits(name, before, after, replace, (*steps, index))
    elif (replace(old) if isinstance(old, str) else old) != new or isinstance(old, dict | list):
        raise _invalid(name, render(steps), "the value of a variable is not valid here", "put quotes around ${...}")


# --------------------------------------------------------------------------------------------------------------
# Patches


def _patched(name: str, raw: bytes | None, patch: Any, merger: Merger) -> bytes:
    path = render(("files", name))
    if not isinstance(patch, dict):
        raise _invalid(OVERLAY, path, "a patch must be a mapping, or null")
    form = format_of(name)
    if form is None:
        raise _invalid(OVERLAY, path, "only YAML, JSON and INI files can be patched")
    patch = fitted(patch, form)
    try:
        if raw is None:
            return serialise(merger.merge({}, patch, ("files", name)), name)
        base = _load(name, raw)
        if not isinstance(base, dict | None):
            raise _invalid(OVERLAY, path, f"'{name}' is not a mapping")
        return rewrite(name, raw, base or {}, merger.merge(base, patch, ("files", name)))
    except MergeRefused as exc:
        raise _invalid(OVERLAY, render(exc.steps), exc.problem) from exc
    except ConfigInvalid:
        raise
    except ApmS3Error as exc:
        raise _invalid(OVERLAY, path, exc.problem, exc.hint) from exc


def _secret_places(
    name: str, base: bytes | None, substituted: bytes | None, patch: Any, result: bytes | None
) -> tuple[Place, ...]:
    form = format_of(name)
    texts = [None if raw is None else decode(raw) for raw in (base, substituted, result)]
    if form is None or substituted is None or None in texts:
        return ()

    def merged(change: Callable[[Any], Any]) -> Any:
        return Merger().merge(change(_load(name, substituted)), fitted(patch, form), ("files", name))

    before, between, after = [Searched(name, text or "") for text in texts]
    return secret_places(before, between, after, None if patch is None else merged)


def _comments_lost(name: str, base: bytes | None, result: bytes | None) -> int:
    if base is None or result is None or format_of(name) == "json":
        return 0
    marks = "#;" if format_of(name) == "ini" else "#"
    return max(0, _comments(base, marks) - _comments(result, marks))


def _comments(raw: bytes, marks: str) -> int:
    lines = (decode(raw) or "").split("\n")
    return sum(1 for line in lines if line.lstrip()[:1] in tuple(marks) or f" {marks[0]}" in line)
