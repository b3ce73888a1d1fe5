"""Secrets that stand in clear in configurations: where they are, and texts and values without them. Pure.

A value is a secret by the field it stands in (the fields that the tools' own types declare as secrets, and names like
them) or by its shape (webhook addresses, keys of cloud providers, PEM blocks, passwords in URLs). What names a secret
that is kept elsewhere is none: `password_file`, `${VAR}`, `$__file{/run/secrets/x}`, `<secret>`.
Nothing here ever returns, raises or logs the secret itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

from apm_s3.configs._content.structures import Steps, render
from apm_s3.validators._reading.documents import Format, format_of, read_document
from apm_s3.validators._reading.nodes import Unreadable
from apm_s3.validators._reading.scalars import resolve_plain
from apm_s3.validators._reading.trace import Trace, Written

MASK = "<secret>"
"""What stands in place of a secret; Prometheus and Alertmanager show theirs in the same way."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands in clear.

    Attributes:
        path: leads to the value; empty where it is in a comment or in a file without structure.
        line: from 1.
        kind: what it is: "password", "token", "webhook URL" ...
    """

    file: str
    path: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path + ': ' if self.path else ''}{self.kind} in clear"


# --------------------------------------------------------------------------------------------------------------
# By name

_KINDS = {
    "connection string": ("connection_string", "connectionstring", "connstr", "dsn"),
    "credentials": ("credentials",),
    "key": (
        "access_key_secret", "account_key", "api_key", "apikey", "client_certificate_key", "consumer_key",
        "encryption_key", "integration_key", "integrationkey", "license_key", "private_key", "privatekey",
        "routing_key", "secret_access_key", "secret_key", "secretkey", "service_account_key", "service_key",
        "shared_key", "signing_key", "user_key", "userkey",
    ),
    "password": ("password", "passwd", "passphrase"),
    "secret": ("secret",),
    "token": ("token", "token_id"),
    "webhook URL": ("slack_api_url", "webhook_url", "webhookurl"),
}  # fmt: skip
_BY_ENDING = {ending: kind for kind, endings in _KINDS.items() for ending in endings}
_ENDING = re.compile(f"(?:{'|'.join(sorted(_BY_ENDING, key=len, reverse=True))})$")

_ALWAYS = frozenset(("secure_json_data", "secure_settings", "proxy_connect_header"))
"""Mappings of which every value is a secret: Grafana's provisioning, Prometheus's proxy headers."""
_URL_IN = frozenset(("slack_configs", "webhook_configs", "webhook_outputs", "settings"))
"""Where `url` and `api_url` carry the right to post: Alertmanager's receivers, Grafana's contact points."""
_HEADERS = frozenset(("headers", "http_headers"))
_SECRET_HEADER = re.compile(r"authorization|cookie|token|key|secret|password|honeycomb_team")
_NAME_HINTS = (
    "passw", "passphrase", "secret", "token", "credential", "connection", "connstr", "dsn", "webhook", "slack", "key",
    "authorization", "cookie", "secure", "header", "settings", "\\u", "\\x",
)  # fmt: skip
"""A text, in lower case, without any of these names no secret; escapes could hide one."""
_BELOW = "value below the name of a secret"
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _kind_by_name(steps: Steps) -> str | None:
    names = [
        _CAMEL.sub("_", step).lower().replace("-", "_") for step in steps if isinstance(step, str) and step != "<<"
    ]
    if not names or names[0] == "quota":  # Grafana counts API keys there
        return None
    *above, name = names
    ending = _ENDING.search(name)
    if ending is not None:
        return _BY_ENDING[ending[0]]
    return _kind_by_place(above, name)


def _kind_by_place(above: Sequence[str], name: str) -> str | None:
    if not _ALWAYS.isdisjoint(above):
        return "secret"
    if name == "files":
        return None
    headers = [at for at, step in enumerate(above) if step in _HEADERS]
    if headers and any(_SECRET_HEADER.search(step) for step in (*above[headers[0] + 1 :], name)):
        return "header"
    parent = above[-1] if above else ""
    if name in ("url", "api_url") and parent in _URL_IN:
        return "webhook URL"
    if name == "key" and "tls" in parent:
        return "key"
    if name in ("authorization", "cookie") or (name == "inline" and parent == "htpasswd"):
        return "credentials"
    if name == "secrets":
        return "secret"
    below = any(step == "secrets" or _ENDING.search(step) for step in above)
    return _BELOW if below and not name.endswith("_file") else None


# --------------------------------------------------------------------------------------------------------------
# By shape. Each pattern begins with fixed text and has bounded repetitions: none takes more than linear time.

_REST = r"[^\s\"'<>`]{4,2048}"
_USER, _PASSWORD = r"(?<![\w.:/@+-])(?!mailto:)[\w.+-]{1,64}:", r"[^\s/\"'<>(){},;`|]{1,256}"
"""Connection strings without a scheme: `user:password@tcp(db:3306)/name`."""
_PERHAPS = "perhaps a password"


class _Shape(NamedTuple):
    """What one kind of secret looks like. A text, in lower case, without any of `hints` is not searched for it."""

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_SHAPES = (
    _Shape("password in a URL", ("@",), re.compile(r"://[^\s/?#:@\"'<>(]{0,256}:([^\s/?#@\"'<>]{1,512})@")),
    _Shape(
        "password in a connection string",
        ("@",),
        re.compile(rf"{_USER}({_PASSWORD})@(?!sha\d)(?=(?:tcp|udp|unix)?[(\[]|[\w.-]{{1,255}}(?::\d|/))"),
    ),
    _Shape(
        _PERHAPS,
        ("@",),
        re.compile(rf"{_USER}({_PASSWORD})@(?!sha\d|(?:start|end)\(\))(?=[A-Za-z]|\d{{1,3}}\.\d)"),
    ),
    _Shape(
        "webhook URL",
        ("slack.com", "discord", "office.com", "azure.com", "googleapis.com", "telegram.org", "dingtalk.com",
         "feishu.cn", "weixin.qq.com", "pagerduty.com", "victorops.com"),
        re.compile(
            r"(?:hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|\.webhook\.office\.com/|outlook\.office\.com/webhook/"
            r"|\.logic\.azure\.com(?::443)?/workflows/|chat\.googleapis\.com/v1/spaces/|api\.telegram\.org/bot"
            r"|oapi\.dingtalk\.com/robot/|open\.feishu\.cn/open-apis/bot/|qyapi\.weixin\.qq\.com/cgi-bin/webhook/"
            rf"|events\.pagerduty\.com/integration/|alert\.victorops\.com/integrations/generic/\d{{8}}/alert/)({_REST})"
        ),
    ),
    _Shape(
        "token in a URL",
        ("token=", "key=", "password=", "secret=", "sig=", "signature="),
        re.compile(
            r"[?&](?:access_token|api_?key|key|password|secret|sig|signature|token)=([^\s&\"'#<>$]{4,2048})",
            re.IGNORECASE,
        ),
    ),
    _Shape(
        "AWS access key",
        ("akia", "asia"),
        re.compile(r"(?<![A-Za-z0-9])((?:AKIA|ASIA)[0-9A-Z]{16})(?![A-Za-z0-9])"),
    ),
    _Shape(
        "token",
        ("gho_", "ghp_", "ghs_", "ghr_", "ghu_", "github_pat_", "glpat-", "xox", "xapp-", "glsa_", "glc_", "sg.",
         "aiza", "k_live_", "eyj"),
        re.compile(
            r"(?<![A-Za-z0-9_])(gh[opsru]_[A-Za-z0-9]{30,255}|github_pat_\w{20,255}|glpat-[\w-]{20,255}|xox[abeoprs]-[\w-]{10,255}"
            r"|xapp-[\w-]{10,255}|glsa_\w{20,255}|glc_[\w+/=-]{20,1024}|SG\.[\w-]{16,64}\.[\w-]{16,128}|AIza[\w-]{35}"
            r"|[rs]k_live_\w{16,255}|eyJ[\w-]{10,2048}\.[\w-]{10,4096}\.[\w-]{5,1024})"
        ),
    ),
    _Shape("token", ("bearer",), re.compile(r"\bBearer\s{1,4}((?=\S{0,64}\d)[A-Za-z0-9._~+/=-]{16,4096})")),
    _Shape(
        "connection string",
        ("password", "passwd", "pwd", "secret", "accountkey", "sharedaccesskey"),
        re.compile(
            r"(?:password|passwd|pwd|secret|accountkey|sharedaccesskey)[ \t]?=[ \t]?"
            r"([^\s;,&\"'~=$<{%`|)(][^\s;,&\"'`|)]{0,512})",
            re.IGNORECASE,
        ),
    ),
)  # fmt: skip
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY-----|\Z)", re.DOTALL
)
_PEM_KIND = "private key"
_PIECE = 32 * 1024
"""Characters that the patterns are given at a time: longer texts are cut, with an overlap, so that no call is long."""
_OVERLAP = 16 * 1024

_PLACEHOLDER = re.compile(
    r"\$\{[^}]{0,256}\}|\$[A-Z_][A-Z0-9_]{0,128}|\$__\w{1,32}\{[^}]{0,512}\}|\$\([^)]{0,256}\)|<[^<>]{1,128}>|\{\{.{0,512}\}\}"
    r"|%\([^)]{0,128}\)s|%\{[^}]{0,128}\}|[*xX.•]{1,64}"
)
_NOTHING = frozenset(("", "-", "~", "null", "true", "false", "yes", "no", "on", "off"))
_SCHEME = re.compile(r"(?:Bearer|Basic|Token)\s+", re.IGNORECASE)


def _is_elsewhere(value: str) -> bool:
    """Whether `value` says nothing, or only where the secret is."""
    value = _SCHEME.sub("", value.strip(), count=1)
    return value.lower() in _NOTHING or _PLACEHOLDER.fullmatch(value) is not None


def _shapes(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, stop, kind) of what looks like a secret."""
    if "PRIVATE KEY-----" in text:
        yield from ((match.start(), match.end(), _PEM_KIND) for match in _PEM.finditer(text))
    lower = text.lower()
    for kind, hints, pattern in _SHAPES:
        if not any(hint in lower for hint in hints):
            continue
        for start in range(0, len(text), _PIECE):
            for match in pattern.finditer(text, start, start + _PIECE + _OVERLAP):
                if not _is_elsewhere(match[1]):
                    yield match.start(1), match.end(1), kind


# --------------------------------------------------------------------------------------------------------------
# In texts

_IN_LINE = re.compile(
    r"(?:"
    + "|".join(sorted(_BY_ENDING, key=len, reverse=True))
    + r")[\"']?\s{0,8}[:=]\s{0,8}(\"[^\"\n]{1,512}|'[^'\n]{1,512}|[^\s\"'#,;}\]][^\s,;}\]]{0,512})",
    re.IGNORECASE,
)
_IN_COMMENT = "secret in a comment"
_MASKED_ONLY = frozenset((_IN_COMMENT, _BELOW, _PERHAPS))
Span = tuple[int, int, str, Steps]


def find_secrets(files: Mapping[str, bytes]) -> tuple[Secret, ...]:
    """The secrets in clear in `files`, in the order of each text. Files that are no text have none.

    What only may be one, such as what stands behind the name of a secret in a comment (samples are full of that), is
    not reported, but it is masked.
    """
    found: list[Secret] = []
    for name, raw in files.items():
        text = decode(raw)
        if text is None:
            continue
        line, counted = 1, 0
        for start, _, kind, steps in _spans(name, text):
            if kind in _MASKED_ONLY:
                continue
            line, counted = line + text.count("\n", counted, start), start
            found.append(Secret(name, render(steps), line, kind))
    return tuple(found)


def mask_text(name: str, text: str) -> str:
    """`text`, the content of the file `name`, with `MASK` for every secret; it has the same number of lines."""
    parts, at = [], 0
    for start, stop, _, _ in _spans(name, text):
        parts += [text[at:start], _masked(text[start:stop])]
        at = stop
    return "".join([*parts, text[at:]])


def decode(raw: bytes) -> str | None:
    """The text of a file, without byte order mark; None for what is no text."""
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.removeprefix("\ufeff")


def _masked(secret: str) -> str:
    # Keys in PEM stand over several lines, each of which is one in the masked text, too.
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + MASK if line.strip() else line for line in secret.split("\n")
    )


def _spans(name: str, text: str) -> list[Span]:
    """The places of all secrets, in order, none overlapping another."""
    form, lower, shapes = format_of(name), text.lower(), list(_shapes(text))
    named = any(hint in lower for hint in _NAME_HINTS)
    if not named and not shapes:
        return []
    spans: list[Span] = []
    trace, parsed = _traced(text, form)
    for value in (*trace.scalars, *trace.repeated):
        spans += _by_name(text, value, to_line_end=form == "ini")
    spans += ((start, stop, kind, _steps_at(trace.scalars, start)) for start, stop, kind in shapes)
    if named and not (parsed and form == "json"):
        spans += _named_in_lines(text, comments_only=parsed)
    return _disjoint(spans)


def _traced(text: str, form: Format | None) -> tuple[Trace, bool]:
    """What stands where, as far as the text could be read, and whether it could be to its end."""
    trace = Trace(tolerant=True)
    if form is None:
        return trace, False
    try:
        read_document(text, form, trace=trace)
    except Unreadable:
        return trace, False
    return trace, True


def _by_name(text: str, value: Written, *, to_line_end: bool) -> Iterator[Span]:
    """The place of `value`, if it is a secret by its name."""
    steps, node = value
    kind = _PEM_KIND if "PRIVATE KEY-----" in node.text else _kind_by_name(steps)
    if kind is None:
        return
    stop = node.stop
    if to_line_end:
        # Grafana ends a value at '#' or ';': whoever did not know that has the rest of the password behind it.
        stop = end if (end := text.find("\n", stop)) >= 0 else len(text)
    if not _is_elsewhere(node.text):
        yield node.start, stop, kind, steps
    elif to_line_end and not node.text and text[node.start : stop].strip():
        yield node.start, stop, _IN_COMMENT, steps


def _named_in_lines(text: str, *, comments_only: bool) -> Iterator[Span]:
    """What stands behind the name of a secret where no parser has looked: in comments, or in any other text."""
    kind, offset = _IN_COMMENT if comments_only else "secret", 0
    for line in text.split("\n"):
        first = min((at for mark in "#;" if (at := line.find(mark)) >= 0), default=len(line)) if comments_only else 0
        for start in range(first, len(line), _PIECE):
            for match in _IN_LINE.finditer(line, start, start + _PIECE + _OVERLAP):
                if not _is_elsewhere(match[1].strip("\"'")):
                    yield offset + match.start(1), offset + match.end(1), kind, ()
        offset += len(line) + 1


def _steps_at(values: Sequence[Written], at: int) -> Steps:
    """The steps of the value that holds the place `at`."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle].node.start <= at:
            low = middle + 1
        else:
            high = middle
    return values[low - 1].steps if low and at < values[low - 1].node.stop else ()


def _disjoint(spans: Iterable[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each[0], -each[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
        elif span[1] > kept[-1][1]:
            start, _, kind, steps = kept[-1]
            kept[-1] = (start, span[1], kind, steps)
    return kept


# --------------------------------------------------------------------------------------------------------------
# In values


def shared_secrets(name: str, text: str) -> frozenset[str]:
    """Values that stand in several places of a YAML file by an alias, one of which makes them a secret."""
    if format_of(name) != "yaml" or "*" not in text:
        return frozenset()
    trace, _ = _traced(text, "yaml")
    repeated = {id(node) for _, node in trace.repeated}
    found: set[str] = set()
    for steps, node in (*trace.repeated, *trace.scalars):
        if id(node) in repeated and _kind_by_name(steps) is not None and not _is_elsewhere(node.text):
            found |= {node.text, str(resolve_plain(node.text))}
    return frozenset(found)


def mask_value(value: Any, steps: Steps = (), shared: AbstractSet[str] = frozenset()) -> Any:
    """`value`, which stands at `steps`, with `MASK` for every secret in it; keys, and all other values, are kept.

    Args:
        shared: values that are secrets wherever they stand; see `shared_secrets`.
    """
    if isinstance(value, Mapping):
        return {key: mask_value(item, (*steps, str(key)), shared) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(item, (*steps, index), shared) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if str(value) in shared or (_kind_by_name(steps) is not None and not _is_elsewhere(str(value))):
        return MASK
    return _mask_shapes(value) if isinstance(value, str) else value


def _mask_shapes(text: str) -> str:
    parts, at = [], 0
    for start, stop, _, _ in _disjoint((start, stop, kind, ()) for start, stop, kind in _shapes(text)):
        parts += [text[at:start], MASK]
        at = stop
    return "".join([*parts, text[at:]])
