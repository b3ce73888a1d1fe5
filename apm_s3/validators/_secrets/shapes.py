"""Finds secrets by their form: URLs that grant access, keys of cloud providers, PEM blocks. Pure.

Each pattern begins with fixed text and has bounded repetitions, so that it takes at most linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

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
        ("token=", "key=", "password=", "secret=", "sig=", "signature=", "assertion=", "auth=", "jwt="),
        re.compile(
            r"[?&](?:[\w.-]{0,24}(?:token|password|secret)|api[-_.]?key|key|sig|(?:x-amz-)?signature|(?:client_)?assertion"
            r"|auth|jwt)=([^\s&\"'#<>$]{4,2048})",
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
            r"--[\w-]{0,32}(?:token|api-?key|secret|password|passphrase)[= ](?!-)([^\s\"',;]{4,512})", re.IGNORECASE
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
