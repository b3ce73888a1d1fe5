"""Finds secrets by the name of their field and by their form, also in texts that are not parsed. Pure.

Each pattern begins with fixed text and has bounded repetitions, so that it takes at most linear time. Texts that are
not parsed (comments, other formats, configurations inside values) are searched line by line: the name of a secret, the
rest of its line, and the lines that continue its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

NamedSteps = tuple[str | int | tuple[str, str], ...]
"""The path to a value. Names and indexes of list items are ignored."""
Labels = Mapping[NamedSteps, str]
"""The names of named mappings, by the steps that lead to them."""

_KINDS = {
    "connection string": ("connection_string", "connectionstring", "connstr", "dsn"),
    "credentials": ("credentials", "x_auth", "xauth"),
    "key": (
        "access_key_secret", "account_key", "api_key", "apikey", "app_key", "auth_key", "client_certificate_key",
        "consumer_key", "encryption_key", "hmac_key", "integration_key", "integrationkey", "jwt_key",
        "license_key", "master_key", "private_key", "privatekey", "routing_key", "secret_access_key", "secret_key",
        "secretkey", "service_account_key", "service_key", "shared_key", "signature_key", "signed_url_key",
        "signing_key", "user_key", "userkey",
    ),
    "password": ("password", "passwd", "passphrase"),
    "secret": ("secret", "http_header_value", "httpheadervalue"),
    "token": ("token", "token_id", "assertion", "access_signature"),
    "webhook URL": ("slack_api_url", "webhook_url", "webhookurl"),
}  # fmt: skip
BY_ENDING = {ending: kind for kind, endings in _KINDS.items() for ending in endings}
ENDINGS = tuple(sorted(BY_ENDING, key=len, reverse=True))
_ENDING = re.compile(rf"({'|'.join(ENDINGS)})(?:_?\d{{1,3}})?$")
_SHORT = re.compile(r"(?:^|_)(?:pass|pwd|psk)(?:_?\d{1,3})?$")

_ALWAYS = frozenset(("secure_json_data", "secure_settings", "proxy_connect_header"))
"""Mappings whose values are all secrets: Grafana's provisioning, Prometheus's proxy headers."""
_URL_IN = frozenset(("slack_configs", "webhook_configs", "webhook_outputs", "settings"))
"""Sections whose `url` and `api_url` grant the right to post: Alertmanager's receivers, Grafana's contact points."""
_HEADERS = frozenset(("headers", "http_headers"))
_SECRET_HEADER = re.compile(
    r"auth|bearer|cookie|credential|honeycomb_team|jwt|key|passw|secret|session|signature|token|x_vault"
)
_HEADER_TEXT = re.compile(
    rf"(?:^|[,;\n])[^\S\n]*[\w.-]{{0,64}}?(?:{_SECRET_HEADER.pattern.replace('_', '[-_]')})"
    r"[\w.-]{0,64}\s*[=:]\s*(?!\$)\S",
    re.IGNORECASE,
)
"""OpenTelemetry's `api-key=abc,other=def`."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATOR = re.compile(r"[-. ]")
_AROUND = re.compile(r"^[\s\"'`\u00ad\u200b-\u200f\u2060\ufeff]+|[\s\"'`\u00ad\u200b-\u200f\u2060\ufeff]+$")
"""Blanks around a name, including those of no width, and quotes that the format does not know."""

NAME_HINTS = (
    "passw", "passphrase", "secret", "token", "credential", "connection", "connstr", "dsn", "webhook", "slack", "key",
    "auth", "cookie", "secure", "header", "settings", "assertion", "signature", "pass", "pwd", "psk", "\\u", "\\x",
)  # fmt: skip
"""A lower-case text without any of these contains no name of a secret; escapes could hide one."""
BELOW = "value below the name of a secret"

_REMEMBERED = 4096
"""Most names to cache: a configuration repeats a few names many times."""
_LABELS = frozenset(("name", "key", "header", "header_name", "field", "param", "parameter", "variable"))
_VALUES = frozenset(("value", "values", "val"))
_SECRET_LABELS = frozenset(("apikey", "auth", "jwt", "key", "session", "sid", "sig", "signature"))
"""Names of query parameters that grant access, if they are named in a list."""


def hints_at_secrets(text: str) -> bool:
    """Return whether a text may contain the name of a secret."""
    lower = text.lower()
    return any(hint in lower for hint in NAME_HINTS)


def kind_by_name(steps: NamedSteps, value: str = "") -> str | None:
    """Return the kind of secret at `steps`, judged by the names that lead to it; None if it is not a secret."""
    names = [_normal(step) for step in steps if isinstance(step, str) and step != "<<"]
    if not names or names[0] == "quota":  # Grafana counts API keys there
        return None
    *above, name = names
    kind = _kind_by_ending(name) or _kind_by_place(above, name, value)
    if kind in (None, BELOW) and isinstance(steps[-1], int):
        # `tokens: [a, b]` lists tokens; `tokens: 5` counts them.
        kind = _kind_by_ending(name.removesuffix("s")) or kind
    return kind


def is_secret_name(steps: NamedSteps) -> bool:
    """Return whether the last name alone shows that a secret follows."""
    kind = kind_by_name(steps)
    return kind is not None and kind != BELOW


def labelled(steps: NamedSteps, labels: Labels) -> NamedSteps:
    """Add the name that a list item gives its value: `{name: api-key, value: x}` counts as `api-key: x`."""
    at = len(steps) - 1
    while at > 0 and isinstance(steps[at], int):
        at -= 1
    step = steps[at] if steps else 0
    if not isinstance(step, str) or _normal(step) not in _VALUES:
        return steps
    label = labels.get(unmerged(steps[:at]))
    if label is None:
        return steps
    return (*steps[:at], "secret" if _normal(label) in _SECRET_LABELS else label)


def unmerged(steps: NamedSteps) -> NamedSteps:
    """Return the steps without merge keys: `{<<: *named, value: x}` has the name of what is merged into it."""
    return tuple([step for step in steps if step != "<<"]) if "<<" in steps else steps


def is_label(step: object) -> bool:
    """Return whether a field of this name is the name of its mapping."""
    return isinstance(step, str) and _normal(step) in _LABELS


@lru_cache(maxsize=_REMEMBERED)
def _normal(step: str) -> str:
    return _SEPARATOR.sub("_", _CAMEL.sub("_", _AROUND.sub("", step)).lower())


@lru_cache(maxsize=_REMEMBERED)
def _kind_by_ending(name: str) -> str | None:
    if ending := _ENDING.search(name):
        return BY_ENDING[ending[1]]
    return "password" if _SHORT.search(name) else None


def _kind_by_place(above: list[str], name: str, value: str) -> str | None:
    if not _ALWAYS.isdisjoint(above):
        return "secret"
    if "basic_auth_users" in above:
        # Hashes of passwords in Prometheus's web.yml: nothing else can be written there, but they can be guessed.
        return BELOW
    if name == "files":
        return None
    if _is_header(above, name, value):
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
    below = any(step == "secrets" or _kind_by_ending(step) for step in above)
    return BELOW if below and not name.endswith("_file") else None


def _is_header(above: list[str], name: str, value: str) -> bool:
    headers = [at for at, step in enumerate(above) if step in _HEADERS]
    if headers and any(_SECRET_HEADER.search(step) for step in (*above[headers[0] + 1 :], name)):
        return True
    return name.endswith(("headers", "headers_list")) and _HEADER_TEXT.search(value) is not None


MASK = "<secret>"
"""The replacement of a secret, the same as in Prometheus and Alertmanager."""

_REST = r"[^\s\"'<>`]{4,2048}"
_USER, _PASSWORD = r"(?<![\w.:/@+-])(?!mailto:)[\w.+-]{1,64}:", r"[^\s/\"'<>(){},;`|]{1,256}"
"""Connection strings without a scheme: `user:password@tcp(db:3306)/name`."""
PERHAPS = "perhaps a password"


class _Shape(NamedTuple):
    """The form of one kind of secret. A text is searched only if its lower-case form contains one of `hints`."""

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_SHAPES = (
    _Shape("password in a URL", ("@",), re.compile(r":\\?/\\?/[^\s/?#:@\"'<>(]{0,256}:([^\s/?#@\"'<>]{1,512})@")),
    _Shape(
        "password in a connection string",
        ("@",),
        re.compile(rf"{_USER}({_PASSWORD})@(?!sha\d)(?=(?:tcp|udp|unix)?[(\[]|[\w.-]{{1,255}}(?::\d|/))"),
    ),
    _Shape(
        PERHAPS,
        ("@",),
        re.compile(rf"{_USER}({_PASSWORD})@(?!sha\d|(?:start|end)\(\))(?=[A-Za-z]|\d{{1,3}}\.\d)"),
    ),
    _Shape(
        "token in a URL",
        ("@",),
        re.compile(r"(?:https?|wss?):\\?/\\?/(?=[^\s/@]{0,512}\d)([^\s/?#:@\"'<>(){}]{12,512})@"),
    ),
    _Shape(PERHAPS, ("@",), re.compile(r"(?:https?|wss?):\\?/\\?/([^\s/?#:@\"'<>(){}]{1,512})@")),
    _Shape(
        "webhook URL",
        ("slack.com", "discord", "office.com", "azure.com", "googleapis.com", "telegram.org", "dingtalk.com",
         "feishu.cn", "weixin.qq.com", "pagerduty.com", "victorops.com"),
        re.compile(
            # JSON may escape slashes.
            (
                r"(?:hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|\.webhook\.office\.com/|outlook\.office\.com/webhook/"
                r"|\.logic\.azure\.com(?::443)?/workflows/|chat\.googleapis\.com/v1/spaces/|api\.telegram\.org/bot"
                r"|oapi\.dingtalk\.com/robot/|open\.feishu\.cn/open-apis/bot/|qyapi\.weixin\.qq\.com/cgi-bin/webhook/"
                r"|events\.pagerduty\.com/integration/|alert\.victorops\.com/integrations/generic/\d{8}/alert/)"
            ).replace("/", r"\\?/")
            + rf"({_REST})"
        ),
    ),
    _Shape(
        "token in a URL",
        ("token=", "key=", "pass=", "passwd=", "password=", "secret=", "sig=", "signature=", "assertion=", "auth=",
         "jwt="),
        re.compile(
            r"[?&](?:[\w.-]{0,24}(?:token|pass(?:wd|word)?|secret)|(?:access|api)[-_.]?key|key"
            r"|sig|(?:x-amz-)?signature|(?:client_)?assertion|auth|jwt)=([^\s&\"'#<>$]{4,2048})",
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
    _Shape(
        "token",
        ("--",),
        re.compile(
            r"--[\w.-]{0,32}(?:token|api-?key|secret|password|passphrase)[= ](?!-)([^\s\"',;]{4,512})", re.IGNORECASE
        ),
    ),
    _Shape(
        "header",
        ("authorization", "x-"),
        re.compile(
            r"(?:authorization|x-[\w-]{0,24}(?:auth|key|token))[ \t]?:[ \t]?(?:(?:basic|bearer|token)[ \t])?"
            r"(?!(?:basic|bearer|token)\b)([^\s\"',;{\[$][^\s\"',;]{3,1024})",
            re.IGNORECASE,
        ),
    ),
    _Shape(
        "secret",
        ("</",),
        re.compile(r"<\w{0,32}(?:api_?key|passphrase|password|secret|token)>([^<>\s]{1,256})</", re.IGNORECASE),
    ),
    _Shape(PERHAPS, ("$2",), re.compile(r"(\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53})")),
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
PEM_KIND = "private key"
PIECE = 32 * 1024
"""Characters to search at a time. Longer texts are cut, with an overlap, so that no single search takes long."""
OVERLAP = 16 * 1024

_VARIABLE = re.compile(r"\$\{([^}]{0,256})\}")
_DEFAULTED = re.compile(r"(?:[a-z]{1,16}:)?\w{1,128}:?[-=+](.*)|[A-Z_][A-Z0-9_]{0,128}:(?![?=+-])(.*)", re.DOTALL)
"""The inside of `${NAME:-value}`, `${env:NAME:-value}` and `${NAME:value}`, but not of `${env:NAME}`, `${name:raw}`."""
_ACTION = re.compile(r"\{\{.{0,512}\}\}")
_LITERAL = re.compile(
    r"(?:\{\{-?\s{0,8}|\b(?:coalesce|default|or|ternary)\b.{0,256}?)"
    r"(?:\"[^\"]{1,256}\"|'[^']{1,256}'|`[^`]{1,256}`)"
)
"""A template action that contains a literal: `{{ env "X" | default "secret" }}`, `{{ "secret" }}`."""
_PLACEHOLDER = re.compile(
    r"\$[A-Z_][A-Z0-9_]{0,128}|\$__\w{1,32}\{[^}]{0,512}\}|\$\([^)]{0,256}\)|<[^<>]{1,128}>"
    r"|%\([^)]{0,128}\)s|%\{[^}]{0,128}\}|[*xX.•]{1,64}"
)
_NOTHING = frozenset(("", "-", "~", "null", "true", "false", "yes", "no", "on", "off"))
_SCHEME = re.compile(r"(?:Bearer|Basic|Token)\s+", re.IGNORECASE)


def is_elsewhere(value: str) -> bool:
    """Return whether `value` is empty, or only says where the secret is."""
    value = _SCHEME.sub("", value.strip(), count=1)
    if value.lower() in _NOTHING or _PLACEHOLDER.fullmatch(value) is not None:
        return True
    if variable := _VARIABLE.fullmatch(value):
        default = _DEFAULTED.fullmatch(variable[1])
        return default is None or is_elsewhere(default[1] or default[2] or "")
    return _ACTION.fullmatch(value) is not None and _LITERAL.search(value) is None


def shapes_in(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, stop, kind) of everything that looks like a secret."""
    if "PRIVATE KEY-----" in text:
        yield from ((match.start(), match.end(), PEM_KIND) for match in _PEM.finditer(text))
    lower = text.lower()
    for kind, hints, pattern in _SHAPES:
        if not any(hint in lower for hint in hints):
            continue
        for start in range(0, len(text), PIECE):
            for match in pattern.finditer(text, start, start + PIECE + OVERLAP):
                if not is_elsewhere(match[1]):
                    yield match.start(1), match.end(1), kind


def mask_shapes(text: str) -> str:
    """Mask everything in `text` that looks like a secret."""
    parts, at = [], 0
    for start, stop, _ in sorted(shapes_in(text)):
        if stop > at:
            parts += [text[at : max(start, at)], MASK if start >= at else ""]
            at = stop
    return "".join([*parts, text[at:]])


Place = tuple[int, int]
"""Start and end of a secret."""

BLANK = r"[\s\u00ad\u200b-\u200f\u2060\ufeff]"
"""Every kind of blank, including those of no width, which no parser of a configuration treats as blanks."""
_ENDS = "|".join(ENDINGS).replace("_", "[-_. ]?")
_NAMES = rf"(?:(?:{_ENDS}|(?<![a-z0-9])(?:authorization|cookie|pass|pwd|psk))(?:_?\d{{1,3}})?)"
NAME = rf"{_NAMES}[\"']?{BLANK}{{0,64}}(?::?=>?|:|->){BLANK}{{0,64}}"
"""The name of a secret, and everything between it and its value."""
_VALUE = rf"(?:{NAME}(?=\S|$)|{_NAMES}s[\"']?:[ \t]{{0,64}}(?=\[|$))"
"""`tokens: 5` is a count of tokens; `tokens:` is followed by a list of them."""
_LEAD = r"[ \t]*(?:(?:[#;]+|//+)[ \t]*)?(?:- )?(?:export |set )?[\"']?[\w.-]{0,64}?"
_FIRST = _LEAD + _VALUE
_ASSIGNED = rf"{_LEAD}{_NAMES}[\"']?[ \t]{{0,64}}=(?![=~>])[ \t]{{0,64}}(\S)"
_WORD_ASSIGNED = rf"{_LEAD}{_NAMES}[\"']?:[ \t]{{1,64}}((?=\S*\d)\S+)$"
"""`password: hunter2` as a one-line value. Without a digit it may be a sentence, such as `Password: expired`."""
_WORD = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|\$\{[^}\n]*\}|\{\{[^\n]*?\}\}|[^\s\"',;}\])]+")
_ENDED = re.compile(r"\s*(?:$|[,;}\])#\"'])|\s+/[/*]")
"""The end of a value."""

_MARK = re.compile(r"[ \t]*(?:[#;]+|//+)")
_COMMENT_MARKS = "#;"
_ITEM = re.compile(r"[ \t]*(?:- +)*")
_HEAD = re.compile(r"[|>][-+]?\d?[-+]?(?=\s)")
_BLOCK = re.compile(r"[|>][-+]?\d?[-+]?(?:\s+#.*)?$")
"""The head of a YAML block."""
_QUOTES = ('"""', "'''", '"', "'", "`")
_MAX_QUOTED = 100
"""Most lines to search for the end of a quoted value."""
_KEY = re.compile(r"[ \t]*(?:- )?[\"']?[\w.-]+[\"']?\s*[:=]|[ \t]*\[[^\]]*\]\s*$")
_PLAIN = r"(?:sha|md|hs|rs|es|aes|base|utf|oauth|pbkdf|x|rfc|ed|http|ipv|iso)-?\d+"
"""Words that have letters and digits, and are no secrets: `sha256`, `base64`, `oauth2`."""
_BESIDE = (
    rf"{_NAMES}[ \t]{{1,16}}(?:(?:is|was)[ \t]{{1,16}})?[\"'`]?"
    rf"(?!(?:{_PLAIN}|\d+[a-z]{{1,2}}|v\d+(?:alpha|beta)\d*|(?-i:[a-z0-9]+(?:[-_./:][a-z0-9]+)+|[A-Z0-9]+(?:[-_][A-Z0-9]+)+))(?![^\s\"'`,;.)]))"
    r"((?=[^\s]{0,64}[a-z])(?=[^\s]{0,64}\d)[^\s\"'`,;<>(){}$/]{6,256})"
)
"""`password hunter2` in a comment: without a colon, only a word with letters and digits is taken for the secret.

Prose has none behind such a name, except for the words above and for names of things, as in `secret grafana-ldap-1`.
"""
_BARE = (
    rf"(?:- )?[\"']?[\w.-]{{0,64}}?{_NAMES}[\"']?(?:[ \t]{{0,64}}[:=][ \t]{{0,64}}|[ \t]{{1,64}})"
    r"([\"'][^\"'\n]{1,512}[\"']?|[^\s:=]{1,512})[\"']?[ \t]{0,64}:?$"
)
"""`password 'hunter2'` as a whole line: a field whose colon or equals sign is missing."""
_LONGEST_BARE = 1024
"""Characters of such a line, so that many lines take no time either."""

_BEHIND = re.compile(r"(?:[^\S\n]|[,}\]\"'])*[#;][^\S\n]*(?=\S)")
"""The end of a value, and the mark of the comment behind it. A long line is not copied for each of its values."""
_TOLD = re.compile(r"[:=]\s+(\S.*)|(?<!\S)(?=\S*\d)(\S{4,})")
"""A possible secret in the comment after a value that only says where the secret is."""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that contains the names of secrets, which takes milliseconds, when a text first needs it."""
    return re.compile(pattern, re.IGNORECASE)


class _Line(NamedTuple):
    """A line, or the comment in it, and where it begins."""

    start: int
    text: str


def in_any_line(text: str) -> Iterator[Place]:
    """Find secrets in a text of unknown format, or one that could not be parsed completely."""
    return _found(_lines_of(text), _search)


def in_comments(text: str) -> Iterator[Place]:
    """Find secrets in the comments of a text."""
    for run in _comments_of(text):
        yield from _found(run, _search)
        for line in run:
            yield from (
                (line.start + told.start(1), line.start + told.end(1)) for told in compiled(_BESIDE).finditer(line.text)
            )


def in_bare_lines(text: str) -> Iterator[Place]:
    """Find secrets in lines of a name and a value with nothing between them. Longer lines are no such field."""
    for line in _lines_of(text):
        told = line.text.strip()
        if not told or len(told) > _LONGEST_BARE:
            continue
        if (match := compiled(_BARE).match(told)) is not None and not is_elsewhere(match[1].strip("\"'")):
            start = line.start + line.text.index(told)
            yield start + match.start(1), start + match.end(1)


def mask_key(text: str) -> str:
    """Mask everything in a key that looks like a secret, also the value of a field whose colon is missing."""
    for start, stop in in_bare_lines(text):
        return mask_shapes(text[:start]) + MASK + mask_shapes(text[stop:])
    return mask_shapes(text)


def in_first_words(text: str) -> Iterator[Place]:
    """Find secrets in a configuration inside a value, where names only occur at the start of a line.

    Elsewhere in a line, `token="x"` can be part of an expression.
    """
    if "\n" in text.strip():
        yield from _found(_lines_of(text), _match)
    elif match := compiled(_ASSIGNED).match(text) or compiled(_WORD_ASSIGNED).match(text):
        rest = text[match.start(1) :].rstrip()
        if _elsewhere(rest) is None:
            yield match.start(1), match.start(1) + len(rest)


def in_blocks(text: str) -> Iterator[Place]:
    """Find YAML blocks under the names of secrets, in a format that has no blocks."""
    return _found(_lines_of(text), _heads)


def behind(text: str, stop: int, *, is_secret: bool) -> Place | None:
    """Find a possible secret in the comment after the value of a secret's name, which ends at `stop`.

    Args:
        is_secret: whether the value is a secret. Then the whole comment may be one too, such as an older password.
    """
    comment = _BEHIND.match(text, stop)
    if comment is None:
        return None
    end = text.find("\n", stop)
    rest = text[stop : len(text) if end < 0 else end]
    if is_secret:
        return comment.end(), stop + len(rest.rstrip())
    told = _TOLD.search(rest, comment.end() - stop)
    return None if told is None else (stop + told.start(1 if told[1] else 2), stop + len(rest.rstrip()))


def behind_head(text: str, start: int) -> Place | None:
    """Find a possible secret in the comment after the head of a YAML block that begins at `start`."""
    head = _HEAD.match(text, start)
    return None if head is None else behind(text, head.end(), is_secret=True)


# --------------------------------------------------------------------------------------------------------------


def _lines_of(text: str) -> list[_Line]:
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append(_Line(start, line))
        start += len(line) + 1
    return lines


def _comments_of(text: str) -> Iterator[list[_Line]]:
    """Yield the comments of a text, with consecutive ones grouped."""
    run: list[_Line] = []
    start = 0
    for line in text.split("\n"):
        at = min((at for mark in _COMMENT_MARKS if (at := line.find(mark)) >= 0), default=-1)
        if at >= 0:
            whole = not line[:at].strip()
            if not whole and run:
                yield run
                run = []
            body = line[at:].lstrip(_COMMENT_MARKS)
            run.append(_Line(start + len(line) - len(body), body))
            if not whole:
                yield run
                run = []
        elif run:
            yield run
            run = []
        start += len(line) + 1
    if run:
        yield run


def _found(lines: Sequence[_Line], find: Callable[[str], Iterator[int]]) -> Iterator[Place]:
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        for place in find(line.text):
            rest = line.text[place:].strip()
            if _elsewhere(rest) is None:
                yield line.start + place, line.start + len(line.text.rstrip())
            elif told := behind_head(line.text, place) or behind(line.text, place + len(rest), is_secret=False):
                yield line.start + told[0], line.start + told[1]
            more = _continued(lines, at, rest)
            yield from (
                (each.start + len(each.text) - len(each.text.lstrip()), each.start + len(each.text.rstrip()))
                for each in lines[at : at + more]
                if each.text.strip()
            )
            at += more
            break


def _search(line: str) -> Iterator[int]:
    """Yield the starts of values after names of secrets, skipping values that only say where the secret is."""
    last: int | None = None
    anywhere = compiled(_VALUE)
    for start in range(0, max(len(line), 1), PIECE):
        at = start
        while match := anywhere.search(line, at, start + PIECE + OVERLAP):
            last = match.end()
            elsewhere = _elsewhere(line[last : last + PIECE])
            if elsewhere is None:
                yield last
                return
            at = last + max(elsewhere, 1)
    if last is not None:
        yield last


def _match(line: str) -> Iterator[int]:
    if (match := compiled(_FIRST).match(line)) is not None:
        yield match.end()


def _heads(line: str) -> Iterator[int]:
    yield from (at for at in _match(line) if _BLOCK.match(line[at:].rstrip()))


def _continued(lines: Sequence[_Line], at: int, rest: str) -> int:
    """Count the lines from `at` on that belong to the value `rest` of the line before them."""
    if rest.endswith("\\"):
        return _by_backslash(lines, at)
    if quoted := _by_quote(lines, at, rest):
        return quoted
    head = lines[at - 1]
    column = _column_of_key(head)
    commented = _MARK.match(head.text) is not None
    count = 0
    for number in range(1, len(lines) - at + 1):
        text = lines[at + number - 1].text
        if not text.strip():
            continue
        blank = mark.end() if commented and (mark := _MARK.match(text)) else 0
        begins = blank + len(text[blank:]) - len(text[blank:].lstrip(" \t"))
        if begins <= column or (not _BLOCK.match(rest) and _KEY.match(text, blank)):
            break
        count = number
    return count


def _column_of_key(line: _Line) -> int:
    mark = _MARK.match(line.text)
    item = _ITEM.match(line.text, mark.end() if mark else 0)
    return item.end() if item else 0


def _by_backslash(lines: Sequence[_Line], at: int) -> int:
    last = at
    while last < len(lines) and lines[last].text.rstrip().endswith("\\"):
        last += 1
    return min(last + 1, len(lines)) - at


def _by_quote(lines: Sequence[_Line], at: int, rest: str) -> int:
    quote = next((each for each in _QUOTES if rest.startswith(each)), None)
    if quote is None or quote in rest[len(quote) :]:
        return 0
    for number, line in enumerate(lines[at : at + _MAX_QUOTED], start=1):
        if quote in line.text:
            return number
    return 0


def _elsewhere(rest: str) -> int | None:
    """Return how much of the text after a secret's name only says where it is; None if it may be the secret."""
    if _BLOCK.match(rest):
        return len(rest)
    word = _WORD.match(rest)
    # Another value may follow only after the end of this one.
    if word is not None and is_elsewhere(word[0].strip("\"'")) and _ENDED.match(rest, word.end()):
        return word.end()
    return len(rest) if is_elsewhere(rest.strip("\"'")) else None
