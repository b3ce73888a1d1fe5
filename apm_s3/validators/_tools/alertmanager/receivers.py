"""Receivers of Alertmanager, and the templates that they use.

https://prometheus.io/docs/alerting/latest/notification_examples/#defining-reusable-templates.

https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings.

Alertmanager parses them only when it sends a notification: a configuration with a broken template loads, but its
notifications fail. So they are warnings:
https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from apm_s3._tools import MAIN_FILES
from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Member, Source, matching, notice_absent_files, patterns_in
from apm_s3.validators._decoding import Hook, Mismatch
from apm_s3.validators._query.gotemplate import TemplateNames, template_functions, template_names, template_problem
from apm_s3.validators._query.values import Url, parse_url
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, Unreadable, is_null, position
from apm_s3.validators._structs import Struct

_DEFAULT = re.compile(r"__\w+|(?:\w+\.)*default(?:\.\w+)*", re.ASCII)
"""Names of Alertmanager's own templates: `slack.default.title`, `__subject`."""


def check_templates(source: Source, context: Context) -> None:
    """Report where a template file does not parse."""
    text = source.readable_text()
    problem = template_problem(text, template_functions("alertmanager", context.target))
    if problem is not None:
        message, offset = problem
        line, column = position(text, offset)
        context.add(Issue(Severity.ERROR, "", line, column, "template", f"invalid template: {message}"))


def check_bundle(members: list[Member]) -> None:
    """Report patterns without a matching file, files without a matching pattern, and undefined templates."""
    for member in members:
        if member.kind == "web":
            notice_absent_files(member, members)
    configs = [member for member in members if member.kind == "config"]
    main = next((member for member in configs if member.name.rpartition("/")[2] == MAIN_FILES["alertmanager"]), None)
    main = main or next(iter(configs), None)
    if main is None:
        return
    notice_absent_files(main, members)
    _check_patterns(main, members)
    files = [member for member in members if member.kind == "templates"]
    names = {file.name: template_names(file.text, template_functions("alertmanager")) for file in files}
    defined = {name for each in names.values() for name in each.defined}
    for file in files:
        _check_file(file, names[file.name], defined)
    _check_receivers(main, defined)


def _check_patterns(main: Member, members: list[Member]) -> None:
    matched: dict[Member, None] = {}
    patterns = list(patterns_in(main.root, "templates"))
    for pattern in patterns:
        found = matching(main, pattern, members)
        if found == [] and not pattern.text.startswith("/"):
            message = f"{pattern.text[:80]!r} does not match any file in this bundle"
            main.context.warn(pattern.node, pattern.path, "missing-file", message)
        matched.update(dict.fromkeys(found or ()))
    for member in matched:
        if member.kind != "templates":
            # Alertmanager parses it, whatever its name is.
            member.kind = "templates"
            _parse(member)
    for member in members:
        if member.kind == "templates" and not member.used and main.tells("templates"):
            message = f"no entry of templates in {main.name} matches this file, so Alertmanager will not load it"
            member.context.add(Issue(Severity.WARNING, "", 1, 1, "unused-file", message))


def _parse(member: Member) -> None:
    try:
        check_templates(Source(member.raw, member.name), member.context)
    except Unreadable:
        message = "templates matches this file, but it is not text"
        member.context.add(Issue(Severity.ERROR, "", 1, 1, "file-kind", message))


def _check_file(file: Member, names: TemplateNames, defined: set[str]) -> None:
    for name, offset in _undefined(names, defined):
        line, column = position(file.text, offset)
        hint = file.context.hint(name, defined)
        file.context.add(Issue(Severity.WARNING, "", line, column, "undefined-reference", _message(name), hint))


def _check_receivers(main: Member, defined: set[str]) -> None:
    root = main.root
    entry = root.entries.get("receivers") if root is not None and root.kind == MAPPING else None
    for index, receiver in enumerate(entry[1].items if entry is not None and entry[1].kind == SEQUENCE else ()):
        if receiver.kind != MAPPING:
            continue
        for text, node, path in templates_of(receiver, ((None, "receivers"), index)):
            own = template_names(text, template_functions("alertmanager"))
            for name, offset in _undefined(own, defined | own.defined):
                hint = main.context.hint(name, defined)
                main.context.add(
                    main.context.issue_inside(
                        *(node, path, offset, "undefined-reference", _message(name), hint), severity=Severity.WARNING
                    )
                )


def _undefined(names: TemplateNames, defined: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, at) for name, at in names.used if name not in defined and not _DEFAULT.fullmatch(name)]


def _message(name: str) -> str:
    return f"template {name[:80]!r} is not defined in this bundle"


PLACEHOLDER = "<secret>"
"""What Alertmanager prints instead of a secret, and accepts as one."""

_RESPONDERS = ("team", "teams", "user", "escalation", "schedule")
_RESERVED_VICTOROPS = (
    "routing_key", "message_type", "state_message", "entity_display_name", "monitoring_tool", "entity_id",
    "entity_state",
)  # fmt: skip


def parse_http_url(text: str) -> Url:
    """Parse an http or https URL with a host. Errors do not quote it, because URLs may contain tokens.

    Raises:
        Mismatch: it is not valid.
    """
    url = parse_url(text)
    if url.scheme not in ("http", "https"):
        raise Mismatch("url", f"unsupported scheme {url.scheme[:20]!r}; the URL must begin with http:// or https://")
    if not url.host:
        raise Mismatch("url", "the URL has no host")
    return url


def parse_secret_url(text: str) -> Url:
    """As `parse_http_url`, but also accept the placeholder of a secret."""
    return Url("https", "secret", "", text) if text == PLACEHOLDER else parse_http_url(text)


def parse_template_url(text: str) -> Url | None:
    """Parse a URL or a possible template of one (None: an empty text), or raise `Mismatch`."""
    if "{{" not in text:
        return parse_secret_url(text) if text else None
    # `check_webhook` checks whether the target release allows templates here.
    return Url("https", "template", "", text)


def check_email(email: Struct, context: Context) -> None:
    """Check the recipient, and that no header is repeated in another case."""
    seen: set[str] = set()
    for name in email.get("headers") or ():
        if name.title() in seen:
            email.error(context, ("headers", name), "duplicate-name", f"header {name[:80]!r} is set twice", at_key=True)
        seen.add(name.title())


def check_slack(slack: Struct, context: Context) -> None:
    """Check that there is one way to authenticate, and that message updates have a token."""
    if slack.has("app_token") or not slack.empty("app_token_file"):
        for name in ("api_url", "api_url_file"):
            if not slack.empty(name):
                slack.error(context, name, "exclusive-fields", f"{name} cannot be used with app_token")
                return


def check_pagerduty(pagerduty: Struct, context: Context) -> None:
    """Check that before 0.30 the details are texts."""
    if context.is_before((0, 30)):
        for name in pagerduty.get("details") or ():
            if pagerduty.place("details", name)[0].kind != SCALAR:
                message = f"the detail {name[:80]!r} must be text before Alertmanager 0.30"
                pagerduty.error(context, ("details", name), "wrong-type", message)


def check_responder(responder: Struct, context: Context) -> None:
    """Check that the type is known, or from a template."""
    kind = responder.get("type") or ""
    if "{{" in kind:
        problem = template_problem(kind, template_functions("alertmanager", context.target))
        if problem:
            responder.error(context, "type", "template", f"invalid template: {problem[0]}")
    elif kind.lower() not in _RESPONDERS and "type" not in responder.failed:
        responder.unknown(context, "type", "type", kind, _RESPONDERS)


def check_victorops(victorops: Struct, context: Context) -> None:
    """Check that no custom field has the name of a built-in field."""
    for name in victorops.get("custom_fields") or ():
        if name in _RESERVED_VICTOROPS:
            victorops.error(context, ("custom_fields", name), "reserved-name", f"{name!r} is a built-in field")


def check_sns(sns: Struct, context: Context) -> None:
    """Check that there is one address: a topic, a target or a phone number."""
    names = ("target_arn", "topic_arn", "phone_number")
    if sum(not sns.empty(name) for name in names) in (0, 2) and not set(names) & sns.failed:
        sns.error(context, "topic_arn", "required-field", f"exactly one of {', '.join(names)} must be set")


def check_webex(webex: Struct, context: Context) -> None:
    """Check the room and the authorization."""
    client = webex.struct("http_config")
    if "http_config" not in webex.failed and (client is None or not client.has("authorization")):
        webex.error(context, "http_config", "required-field", "http_config.authorization is missing")


def check_incidentio(incidentio: Struct, context: Context) -> None:
    """Check that there is a token, or an HTTP client with authorization."""
    client = incidentio.struct("http_config")
    tokens = ("alert_source_token", "alert_source_token_file")
    if all(incidentio.empty(name) for name in tokens) and (client is None or not client.has("authorization")):
        message = f"one of {', '.join(tokens)} and http_config.authorization must be set"
        incidentio.error(context, "alert_source_token", "required-field", message)


def check_webhook(webhook: Struct, context: Context) -> None:
    """Check that before 0.30 the URL is not empty and not a template: https://github.com/prometheus/alertmanager/pull/4798."""
    node, path = webhook.place("url")
    if not webhook.given("url") or "url" in webhook.failed or is_null(node):
        return
    if not context.is_before((0, 30)):
        problem = template_problem(node.text, template_functions("alertmanager", context.target))
        if problem is not None:
            message = f"invalid template: {problem[0]}"
            context.add(context.issue_inside(node, path, problem[1], "template", message))
    elif "{{" in node.text or (not node.text and not webhook.empty("url_file")):
        try:
            parse_secret_url(node.text)
        except Mismatch as exc:
            more = "; templates are allowed since 0.30" if node.text else ""
            webhook.error(context, "url", exc.rule, exc.message + more)


def check_receiver(receiver: Struct, context: Context) -> None:
    """Check the name, its label, and that there are no empty entries."""
    name = receiver.get("name")
    labelled = (receiver.get("labels") or {}).get("name")
    if labelled is not None and name is not None and labelled != name:
        receiver.error(context, ("labels", "name"), "label-name", "the label 'name' must equal the receiver's name")
    for field, values in receiver.values.items():
        if field.endswith("_configs"):
            for index, value in enumerate(values or ()):
                if value is None:
                    receiver.error(context, (field, index), "null-entry", "an integration is empty")


HOOKS: dict[str, tuple[Hook, ...]] = {
    "alertmanager/config.Receiver": (check_receiver,),
    "alertmanager/config.EmailConfig": (check_email,),
    "alertmanager/config.SlackConfig": (check_slack,),
    "alertmanager/config.VictorOpsConfig": (check_victorops,),
    "alertmanager/config.WebexConfig": (check_webex,),
    "notify/incidentio.IncidentioConfig": (check_incidentio,),
    "notify/opsgenie.OpsGenieConfigResponder": (check_responder,),
    "notify/pagerduty.PagerdutyConfig": (check_pagerduty,),
    "notify/sns.SNSConfig": (check_sns,),
    "notify/webhook.WebhookConfig": (check_webhook,),
}
"""The checks by type of integration, beyond those of the table."""


_PLAIN = frozenset((
    "api_type", "auth_identity", "auth_password", "auth_secret", "auth_username", "hello", "http_config", "mrkdwn_in",
    "parse_mode", "sigv4", "smarthost", "threading", "tls_config",
))  # fmt: skip
"""Settings of an integration that are not templates; paths of files are not templates either."""

_LOADED = frozenset((("webhook_configs", "url"), ("responders", "type")))
"""Templates that are parsed when the configuration is loaded; their types check them."""


def check_inline_templates(receiver: Struct, context: Context) -> None:
    """Warn about templates in the settings of a receiver that do not parse."""
    functions = template_functions("alertmanager", context.target)
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
