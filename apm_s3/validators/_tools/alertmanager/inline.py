"""Notification templates inside the settings of receivers.

Alertmanager parses them only when it sends a notification: a configuration with a broken template loads, but its
notifications fail. So they are warnings:
https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings.
"""

from __future__ import annotations

from collections.abc import Iterator

from apm_s3.reports import Severity
from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Struct, known_in
from apm_s3.validators._grammars.gotemplate import template_problem
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, Node, Path
from apm_s3.validators._tools.alertmanager.receivers import TEMPLATE_FUNCTIONS

_PLAIN = frozenset((
    "api_type", "auth_identity", "auth_password", "auth_secret", "auth_username", "hello", "http_config", "mrkdwn_in",
    "parse_mode", "sigv4", "smarthost", "threading", "tls_config",
))  # fmt: skip
"""Settings of an integration that are not templates; paths of files are not templates either."""

_LOADED = frozenset((("webhook_configs", "url"), ("responders", "type")))
"""Templates that are parsed when the configuration is loaded; their types check them."""


def check_inline_templates(receiver: Struct, context: Context) -> None:
    """Warn about templates in the settings of a receiver that do not parse."""
    functions = known_in(context, TEMPLATE_FUNCTIONS)
    for text, node, path in templates_of(receiver.node, receiver.path):
        problem = template_problem(text, functions)
        if problem is not None and not _is_loaded(path):
            message = f"invalid template, so this receiver's notifications will fail: {problem[0]}"
            issue = context.issue_inside(node, path, problem[1], "template", message, severity=Severity.WARNING)
            context.add(issue)


def templates_of(receiver: Node, path: Path) -> Iterator[tuple[str, Node, Path]]:
    """Yield the templates in the settings of a receiver, each with its node and path."""
    for field, (_, integrations) in receiver.entries.items():
        if field.endswith("_configs"):
            yield from _texts(integrations, (path, field))


def _texts(node: Node, path: Path) -> Iterator[tuple[str, Node, Path]]:
    if node.kind == SCALAR:
        if "{{" in node.text:
            yield node.text, node, path
    elif node.kind == MAPPING:
        for name, (_, value) in node.entries.items():
            if name not in _PLAIN and not name.endswith("_file"):
                yield from _texts(value, (path, name))
    else:
        for index, item in enumerate(node.items):
            yield from _texts(item, (path, index))


def _is_loaded(path: Path) -> bool:
    if path is None or path[0] is None or path[0][0] is None:
        return False
    (above, _), name = path[0], path[1]
    return above is not None and (above[1], name) in _LOADED
