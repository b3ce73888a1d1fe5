"""What differs between environments, made explicit: an overlay file for each tool and environment. Pure.

Where it stands: an overlay is the file `OVERLAY` of the bundle of its tool and environment, uploaded like any other. So
it is versioned, diffed, rolled back and backed up with the configuration, and committed in the same step. It takes
effect when something is deployed into the environment:

1. `base_files(source bundle)` gives what the source was before its own overlay;
2. `apply_overlay(those files, overlay of the target, variables)` gives the result, and what became of each file;
3. `release_files()` of it is what the target's new release holds: the result, the overlay, and the base of each touched
   file under a reserved name, so that the next deploy onwards starts from the base again.

A base is only believed while the file beside it still is the result that was made from it: its reserved name carries
that result's SHA-256. A file that was replaced by hand since is its own base. Names for which `is_reserved` is true
belong to this machinery: no tool reads them, so they are neither validated as a tool's files nor copied to `live/`.

    # .apm/overlay.yml
    variables: {CLUSTER: eu-1, TOKEN_FILE: null}     # defaults; null has to be given by whoever deploys
    files:
      prometheus.yml:                                # a merge patch: mappings are merged, null removes a key
        global: {external_labels: {cluster: "${CLUSTER}"}}
        scrape_configs:                              # things with names are matched by name, new ones come last
          - {job_name: node, scrape_interval: 60s}
          - {job_name: debug, $patch: delete}
      rules/debug.yml: null                          # removes the file

Mappings follow RFC 7396; a list whose items have no names is replaced as a whole. `$patch: delete` is that of
Kubernetes' strategic merge patch. `${NAME}` is replaced, in the overlay and in all texts of the bundle, for the
variables that the overlay declares, and for no others: Prometheus's `$1` and `${1}`, and what tools expand themselves,
are left alone.

Every byte of a file that no patch names and no variable occurs in is kept. Of a patched one only the values and
sections that change are written anew (see `edits`); comments in a section whose structure changes are lost, and
counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from apm_s3._naming import check_file_name
from apm_s3.configs._content.edits import fitted, load, rewrite
from apm_s3.configs._content.merging import Merger, MergeRefused, Surprise
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.serialise import serialise
from apm_s3.configs._content.structures import Steps, render
from apm_s3.errors import ApmS3Error, ConfigInvalid
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._reading.documents import format_of, read_document
from apm_s3.validators._reading.nodes import Unreadable, render_steps
from apm_s3.validators._reading.trace import Trace
from apm_s3.validators._secrets.texts import decode, mask_steps

RESERVED = ".apm/"
"""The folder, in a bundle, of what no tool reads."""
OVERLAY = ".apm/overlay.yml"
_BASE, _ABSENT, _REMOVED = ".apm/base/", ".apm/absent/", "removed"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ufeff]")
_USED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Touched:
    """What an overlay made of one file.

    Attributes:
        base, result: its bytes before and after; None where it was not there, or is not any more.
        comments_lost: comments of the base that the result does not have.
    """

    name: str
    base: bytes | None = field(repr=False)
    result: bytes | None = field(repr=False)
    comments_lost: int = 0


@dataclass(frozen=True, slots=True)
class Overlaid:
    """A bundle with an overlay applied.

    Attributes:
        files: all files as the tool reads them.
        touched: those that differ from their base, by name.
        overlay: the overlay itself; None where there was none.
        declared: the variables that it declares.
        notes: what its author may not have meant: items that it adds, removals of what is not there.
    """

    files: Mapping[str, bytes] = field(repr=False)
    touched: tuple[Touched, ...] = ()
    overlay: bytes | None = field(default=None, repr=False)
    declared: frozenset[str] = frozenset()
    notes: tuple[Issue, ...] = ()

    def release_files(self) -> dict[str, bytes]:
        """The files as the release holds them, reserved ones among them.

        Raises:
            InvalidKey: the name of a touched file is so long that its base can have none.
        """
        files = dict(self.files)
        if self.overlay is not None:
            files[OVERLAY] = self.overlay
        for each in self.touched:
            tag = _REMOVED if each.result is None else _tag(each.result)
            kept = f"{_ABSENT if each.base is None else _BASE}{tag}/{each.name}"
            files[check_file_name(kept)] = each.base or b""
        return files


def is_reserved(name: str) -> bool:
    """Whether a file of this name belongs to overlays and not to the tool."""
    return name.startswith(RESERVED)


def base_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a bundle was before the overlay of its environment; reserved files are left out."""
    base = {name: raw for name, raw in files.items() if not is_reserved(name)}
    for kept, raw in files.items():
        if not kept.startswith((_BASE, _ABSENT)):
            continue
        folder = _BASE if kept.startswith(_BASE) else _ABSENT
        tag, _, name = kept.removeprefix(folder).partition("/")
        if tag != (_tag(files[name]) if name in files else _REMOVED):
            continue
        if folder == _BASE:
            base[name] = raw
        else:
            del base[name]
    return dict(sorted(base.items()))


def apply_overlay(
    files: Mapping[str, bytes], overlay: bytes | None, variables: Mapping[str, str] = MappingProxyType({})
) -> Overlaid:
    """`files`, the base, with the overlay of the target environment. In a thread, for large bundles.

    Args:
        variables: values for those that the overlay declares; others may be meant for another tool's overlay.

    Raises:
        ConfigInvalid: the overlay is not one, a variable has no value or does not fit where it stands, or a patch does
            not fit its file; the report says which. Values are never shown.
    """
    files = {name: raw for name, raw in files.items() if not is_reserved(name)}
    if overlay is None:
        return Overlaid(files)
    values = _values(_document(overlay)[0], variables)
    patches = _document(_substituted(OVERLAY, overlay, values))[1]
    results: dict[str, bytes | None] = {name: _substituted(name, raw, values) for name, raw in files.items()}
    merger = Merger()
    for name, patch in patches.items():
        if name not in results:
            if patch is not None:
                _check_new(name, results)
            word = "there is no such file to remove" if patch is None else "the overlay adds this file"
            merger.surprises.append(Surprise(("files", name), word, did_you_mean(name, files)))
        results[name] = None if patch is None else _patched(name, results.get(name), patch, merger)
    touched = [
        Touched(name, files.get(name), result, _comments_lost(name, files.get(name), result))
        for name, result in sorted(results.items())
        if result != files.get(name)
    ]
    kept = {name: result for name, result in sorted(results.items()) if result is not None}
    return Overlaid(kept, tuple(touched), overlay, frozenset(values), tuple(map(_note, merger.surprises)))


def check_overlay(overlay: bytes) -> tuple[Issue, ...]:
    """What is wrong with an overlay, whatever it is applied to, and the variables that it uses but does not declare."""
    try:
        declared, _ = _document(overlay)
        # What has no default is given at a deploy; any text will do here.
        values = _values({name: "x" if default is None else default for name, default in declared.items()}, {})
        for name, patch in _document(_substituted(OVERLAY, overlay, values))[1].items():
            if patch is not None:
                _patched(name, None, patch, Merger())
    except ConfigInvalid as exc:
        return exc.report.issues
    hint = "declare it below variables; where the tool itself is to replace it, give it the default '${%s}'"
    return tuple(
        replace(issue, hint=hint % variable)
        for variable, issue in undeclared({OVERLAY: overlay}, declared)
        if not issue.path.startswith("variables")
    )


def undeclared(files: Mapping[str, bytes], declared: Collection[str]) -> Iterator[tuple[str, Issue]]:
    """Each `${NAME}` in a value of YAML or JSON that is not declared, with a warning that nothing replaces it.

    Prometheus's own are not among them: in `external_labels`, and for the groups of an expression in `replacement`.
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
                    message = f"nothing replaces ${{{variable}}}: no overlay declares it"
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


def _check_new(name: str, others: Iterable[str]) -> None:
    try:
        check_names([name], others)
    except ApmS3Error as exc:
        raise _invalid(OVERLAY, render(("files", name)), exc.problem, exc.hint) from exc


def _tag(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _invalid(name: str, path: str, message: str, hint: str | None = None) -> ConfigInvalid:
    issue = Issue(Severity.ERROR, path, None, None, "overlay", message, hint, file=name)
    report = ValidationReport("", "overlay", name, (issue,))
    return ConfigInvalid(f"{name}: {path + ': ' if path else ''}{message}", report=report, hint=hint)


# --------------------------------------------------------------------------------------------------------------
# The overlay's document


def _document(overlay: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables with their defaults, and patches by file name."""
    data = _load(OVERLAY, overlay)
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise _invalid(OVERLAY, "", "an overlay is a mapping", "it has the keys variables and files")
    for key in data.keys() - {"variables", "files"}:
        raise _invalid(OVERLAY, render((key,)), "no such key", "an overlay has the keys variables and files")
    patches = _mapping(data, "files")
    for name in patches:
        try:
            check_file_name(name)
        except ApmS3Error as exc:
            raise _invalid(OVERLAY, render(("files", name)), "no file can have this name") from exc
        if is_reserved(name):
            raise _invalid(OVERLAY, render(("files", name)), f"names below {RESERVED} are reserved")
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
            raise _invalid(OVERLAY, path, "no variable can have this name", "use letters, digits and underscores")
        value = given.get(name, default)
        if value is None:
            raise _invalid(
                OVERLAY, path, "this variable has no value", f"give variables={{'{name}': ...}}, or a default"
            )
        if not isinstance(value, str) or _UNSAFE.search(value):
            raise _invalid(OVERLAY, path, "a value is text of one line without control characters")
        values[name] = value
    return values


def _substituted(name: str, raw: bytes, values: Mapping[str, str]) -> bytes:
    """`raw` with its declared variables replaced; the very same bytes where there is none."""
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
    """Values were replaced inside scalars, and nothing else came of it: no `a: b` in a value makes a mapping."""
    if isinstance(old, dict) and isinstance(new, dict) and [replace(key) for key in old] == list(new):
        for key, before in old.items():
            _check_fits(name, before, new[replace(key)], replace, (*steps, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            _check_fits(name, before, after, replace, (*steps, index))
    elif (replace(old) if isinstance(old, str) else old) != new or isinstance(old, dict | list):
        raise _invalid(name, render(steps), "the value of a variable does not fit here", "put quotes around ${...}")


# --------------------------------------------------------------------------------------------------------------
# Patches


def _patched(name: str, raw: bytes | None, patch: Any, merger: Merger) -> bytes:
    path = render(("files", name))
    if not isinstance(patch, dict):
        raise _invalid(OVERLAY, path, "a patch is a mapping, or null")
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


def _comments_lost(name: str, base: bytes | None, result: bytes | None) -> int:
    if base is None or result is None or format_of(name) == "json":
        return 0
    marks = "#;" if format_of(name) == "ini" else "#"
    return max(0, _comments(base, marks) - _comments(result, marks))


def _comments(raw: bytes, marks: str) -> int:
    lines = (decode(raw) or "").split("\n")
    return sum(1 for line in lines if line.lstrip()[:1] in tuple(marks) or f" {marks[0]}" in line)
