"""Relabelling rules: their validation, and the engine that applies them to static targets."""

from __future__ import annotations

import hashlib
import re

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Mismatch, Struct
from apm_s3.validators._grammars.values import anchored_program, is_label_name, is_label_template
from apm_s3.validators._query.re2_match import Match, Program

ACTIONS = (
    *("replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep"),
    *("lowercase", "uppercase"),
)
_NEED_TARGET = ("replace", "keepequal", "dropequal", "hashmod", "lowercase", "uppercase")
_NO_REPLACEMENT = ("lowercase", "uppercase", "keepequal", "dropequal")
_DEFAULTS = {"separator": ";", "replacement": "$1", "modulus": 0}


def parse_action(text: str) -> str:
    """Parse an action in any case.

    Raises:
        Mismatch: unknown action.
    """
    if text.lower() not in ACTIONS:
        raise Mismatch.unknown("relabel action", text, ACTIONS)
    return text.lower()


def parse_label_name(text: str) -> str:
    """Parse a label name.

    Raises:
        Mismatch: empty, or not UTF-8.
    """
    if not is_label_name(text):
        raise Mismatch("label-name", "a label name cannot be empty")
    return text


def check_relabel(rule: Struct, context: Context, *, legacy: bool) -> bool:
    """Check the rules of relabel.Config.Validate; `legacy` allows only label names of the legacy alphabet.

    Return False if the rule is invalid, so that it cannot be applied.
    """
    before = context.count
    _check(rule, context, legacy)
    return not rule.failed and context.count == before


def _check(rule: Struct, context: Context, legacy: bool) -> None:
    action = rule.get("action", "replace")
    if action in (None, ""):
        rule.error(context, "action", "enum", "the action cannot be empty")
        return
    if "action" in rule.failed:
        return
    for index, name in rule.strings("source_labels"):
        if legacy and name and not is_label_name(name, legacy=True):
            rule.error(context, ("source_labels", index), "label-name", f"{name[:80]!r} is not a valid label name")
    if action == "hashmod" and rule.empty("modulus"):
        rule.error(context, "modulus", "required-field", "action hashmod needs a modulus above 0")
    if action in _NEED_TARGET and rule.empty("target_label"):
        rule.error(context, "target_label", "required-field", f"action {action} needs a target_label")
    else:
        _check_target(rule, action, context, legacy)
    _check_forbidden(rule, action, context)


def _check_target(rule: Struct, action: str, context: Context, legacy: bool) -> None:
    target = rule.get("target_label") or ""
    if action in _NEED_TARGET and "target_label" not in rule.failed:
        template = action == "replace" and "$" in target
        fits = is_label_template(target, legacy=legacy) if template else is_label_name(target, legacy=legacy)
        if not fits:
            message = f"action {action} needs a label name, and {target[:80]!r} is not a valid one"
            rule.error(context, "target_label", "label-name", message)
    replacement = rule.get("replacement", "$1") or ""
    if action == "labelmap" and not is_label_template(replacement, legacy=legacy):
        message = f"action labelmap needs a label name, and {replacement[:80]!r} cannot become one"
        rule.error(context, "replacement", "label-name", message)


def _check_forbidden(rule: Struct, action: str, context: Context) -> None:
    if action in ("keepequal", "dropequal"):
        extra = [name for name in _DEFAULTS if not _is_default(rule, name)] + ["regex"] * rule.given("regex")
        allowed = "source_labels and target_label"
    elif action in ("labeldrop", "labelkeep"):
        extra = [name for name in _DEFAULTS if not _is_default(rule, name)]
        extra += ["source_labels"] * rule.has("source_labels") + ["target_label"] * (not rule.empty("target_label"))
        allowed = "regex"
    elif action in _NO_REPLACEMENT and not _is_default(rule, "replacement"):
        extra, allowed = ["replacement"], "source_labels, separator, regex and target_label"
    else:
        return
    for name in extra:
        rule.error(context, name, "relabel-action-args", f"action {action} allows only {allowed}, not {name}")


def _is_default(rule: Struct, name: str) -> bool:
    return name in rule.failed or rule.get(name, _DEFAULTS[name]) == _DEFAULTS[name]


def apply_rules(labels: dict[str, str], rules: list[Struct]) -> dict[str, str] | None:
    """Apply `rules` to `labels`; None if a rule drops the target. Each rule must have a `rule_program`."""
    for rule in rules:
        kept = _apply(labels, rule)
        if kept is None:
            return None
        labels = kept
    return labels


def rule_program(rule: Struct) -> Program | None:
    """Return the program for the regular expression of `rule`; None if it cannot be run here."""
    return anchored_program(rule.get("regex", "(.*)") or "")


def _apply(labels: dict[str, str], rule: Struct) -> dict[str, str] | None:
    action = rule.get("action", "replace")
    separator = rule.get("separator", ";")
    value = separator.join(labels.get(name, "") for name in rule.get("source_labels") or ())
    target = rule.get("target_label") or ""
    regex = rule_program(rule)
    if regex is None:
        raise ValueError("the rule cannot be applied")
    if action in ("keep", "drop"):
        return labels if bool(regex.search(value)) == (action == "keep") else None
    if action in ("keepequal", "dropequal"):
        return labels if (labels.get(target, "") == value) == (action == "keepequal") else None
    if action == "replace":
        return _replace(labels, rule, regex.search(value), target)
    if action in ("lowercase", "uppercase"):
        return _with(labels, target, value.lower() if action == "lowercase" else value.upper())
    if action == "hashmod":
        digest = hashlib.md5(value.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
        return _with(labels, target, str(int.from_bytes(digest[8:], "big") % rule.get("modulus")))
    return _map_names(labels, rule, action, regex)


def _replace(labels: dict[str, str], rule: Struct, match: Match | None, target: str) -> dict[str, str]:
    if match is None:
        return labels
    name = expand(target, match)
    if not is_label_name(name):
        return labels
    return _with(labels, name, expand(rule.get("replacement", "$1") or "", match))


def _map_names(labels: dict[str, str], rule: Struct, action: str, regex: Program) -> dict[str, str]:
    if action == "labeldrop":
        return {name: value for name, value in labels.items() if not regex.search(name)}
    if action == "labelkeep":
        return {name: value for name, value in labels.items() if regex.search(name)}
    mapped = dict(labels)
    for name, value in labels.items():
        if (match := regex.search(name)) is not None:
            mapped = _with(mapped, expand(rule.get("replacement", "$1") or "", match), value)
    return mapped


def _with(labels: dict[str, str], name: str, value: str) -> dict[str, str]:
    rest = {key: old for key, old in labels.items() if key != name}
    return {**rest, name: value} if value else rest


_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def expand(template: str, match: Match) -> str:
    """Replace `$1`, `${name}` and `$$` in `template` as Go's Regexp.Expand does: unknown groups are empty."""

    def group(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        name = reference[1] or reference[2]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError, OverflowError, ValueError):
            return ""

    return _REFERENCE.sub(group, template)
