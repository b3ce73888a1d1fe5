"""Plain-text secrets are found by field and by shape, and never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.validators import parse_document
from tests.seams.content import diff_bundles
from tests.seams.validators import BY_ENDING, MASK, find_secrets, mask_text, mask_value

SHARED = Path(__file__).parents[3] / "shared" / "validation"
VALUE = "hunter2-Zq9"


def found(name: str, text: str) -> list[tuple[str, str]]:
    return [(secret.path, secret.kind) for secret in find_secrets({name: text.encode()})]


@pytest.mark.parametrize(
    ("name", "text", "path", "kind"),
    [
        ("prometheus.yml", "scrape_configs:\n- job_name: a\n  basic_auth:\n    password: {}\n", "scrape_configs[0].basic_auth.password", "password"),
        ("prometheus.yml", "remote_write:\n- authorization:\n    credentials: {}\n", "remote_write[0].authorization.credentials", "credentials"),
        ("prometheus.yml", "a:\n  http_headers:\n    X-Api-Key:\n      secrets: [{}]\n", 'a.http_headers.X-Api-Key.secrets[0]', "header"),
        ("prometheus.yml", "a:\n  tls_config:\n    key: {}\n", "a.tls_config.key", "key"),
        ("alertmanager.yml", "global:\n  slack_api_url: https://example.com/{}\n", "global.slack_api_url", "webhook URL"),
        ("alertmanager.yml", "receivers:\n- name: a\n  webhook_configs:\n  - url: https://example.com/{}\n", "receivers[0].webhook_configs[0].url", "webhook URL"),
        ("alertmanager.yml", "global:\n  smtp_auth_password: {}\n", "global.smtp_auth_password", "password"),
        ("loki.yaml", "common:\n  storage:\n    s3:\n      secret_access_key: {}\n", "common.storage.s3.secret_access_key", "key"),
        ("loki.yaml", "storage_config:\n  aws:\n    s3: s3://KEY:{}@eu-west-1/logs\n", "storage_config.aws.s3", "password in a URL"),
        ("config.yaml", "extensions:\n  x:\n    auth:\n      basic:\n        password: {}\n", "extensions.x.auth.basic.password", "password"),
        ("config.yaml", "exporters:\n  otlp:\n    headers:\n      x-honeycomb-team: {}\n", "exporters.otlp.headers.x-honeycomb-team", "header"),
        ("grafana.ini", "[security]\nadmin_password = {}\n", "security.admin_password", "password"),
        ("grafana.ini", "[database]\nurl = mysql://grafana:{}@db/grafana\n", "database.url", "password in a URL"),
        ("grafana.ini", "[auth.google]\nclient_secret = `{}`\n", '["auth.google"].client_secret', "secret"),
        ("datasources/a.yaml", "datasources:\n- name: a\n  secureJsonData:\n    httpHeaderValue1: {}\n", "datasources[0].secureJsonData.httpHeaderValue1", "secret"),
        ("alerting/a.json", '{{"contactPoints": [{{"receivers": [{{"settings": {{"url": "https://x/{}"}}}}]}}]}}', "contactPoints[0].receivers[0].settings.url", "webhook URL"),
        ("dashboards/a.json", '{{"apiKey": "{}"}}', "apiKey", "key"),
    ],
)  # fmt: skip
def test_a_secret_is_found_and_masked_by_its_field(name: str, text: str, path: str, kind: str) -> None:
    text = text.format(VALUE)

    assert found(name, text) == [(path, kind)]
    assert VALUE not in mask_text(name, text)
    assert MASK in mask_text(name, text)


HASH = "$2y$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"basic_auth_users:\n  ada: {HASH}\n", HASH),
        (f"basic_auth_users: {{key_file: '{HASH}', files: {VALUE}}}\n", HASH),
        ("basic_auth_users: {files: hunter}\n", "hunter"),
        (f"# ada: {HASH}\na: b\n", HASH),
    ],
)
def test_the_hash_of_a_password_is_masked_but_no_secret_that_belongs_elsewhere(text: str, secret: str) -> None:
    assert secret not in mask_text("web.yml", text)
    assert found("web.yml", text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"a: &named {{name: X-Api-Key}}\nb: [{{<<: *named, value: {VALUE}}}]\n",
        f"a: &held {{value: {VALUE}}}\nb: [{{<<: *held, name: X-Api-Key}}]\n",
        f"args: [--es.password {VALUE}]\n",
        f"url: https://example.com/?access_key={VALUE}\n",
        f"url: https://example.com/?pass={VALUE}\n",
    ],
)
def test_a_secret_is_masked_whatever_names_it(text: str) -> None:
    assert VALUE not in mask_text("a.yml", text)


@pytest.mark.parametrize("value", ["abc;hunter2-Zq9", "abc #hunter2-Zq9", ";hunter2-Zq9", "#hunter2-Zq9"])
def test_an_ini_comment_after_a_password_is_masked_too(value: str) -> None:
    text = f"[database]\npassword = {value}\nname = grafana\n"

    assert mask_text("grafana.ini", text) == f"[database]\npassword = {MASK}\nname = grafana\n"


SHAPES = {
    "webhook URL": "https://hooks.slack.com/services/T000/B000/abcdefgh",
    "AWS access key": "AKIAIOSFODNN7EXAMPLE",
    "password in a URL": "postgres://user:hunter2@db.example.com/x",
    "token": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    "token in a URL": "https://example.com/hook?access_token=abcdef",
    "connection string": "host=db user=x password=hunter2",
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", ["a.yml", "a.json", "grafana.ini", "mail.tmpl"])
def test_a_secret_is_found_and_masked_by_its_shape(name: str, kind: str) -> None:
    secret = SHAPES[kind]
    text = {
        "a.yml": f"x:\n  y: {json.dumps(secret)}\n",
        "a.json": json.dumps({"x": {"y": secret}}, indent=1),
        "grafana.ini": f"[x]\ny = `{secret}`\n",
        "mail.tmpl": f"see {secret} there",
    }[name]

    assert found(name, text) == [("" if name == "mail.tmpl" else "x.y", kind)]
    masked = mask_text(name, text)
    assert not [part for part in ("hunter2", "MIIB", "abcdef", "IOSFODNN7", "0123456789") if part in masked]
    assert masked.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "password_file: /run/secrets/x", "password: ${PASSWORD}", "password: $PASSWORD", "password: ''", "password:", "token: null",
        "password: $__file{/run/secrets/x}", "password: <secret>", "bearer_token: '{{ .Values.token }}'", "credentials_file: x",
        "url: https://user:${PASSWORD}@host/", "token_url: https://example.com/token", "persist_tokens: true", "use_token: true",
        "authorization: Bearer ${TOKEN}", "expr: 'rate(http{token=\"abc\"}[5m])'", "password: '********'", "num_tokens: 128",
        "password_ref: x", "private_key_path: /x", "private_key: $(KEY)", "access_key_id: abc", "secret_key: '%(key)s'",
    ],
)  # fmt: skip
def test_a_reference_to_a_secret_is_not_a_secret(text: str) -> None:
    assert found("a.yml", text + "\n") == []
    assert mask_text("a.yml", text + "\n") == text + "\n"


def test_a_found_secret_shows_its_file_line_and_kind_but_never_its_value() -> None:
    text = f"global:\n  # note\n  smtp_auth_password: {VALUE}\n"

    (secret,) = find_secrets({"alertmanager.yml": text.encode()})

    assert str(secret) == "alertmanager.yml:3: global.smtp_auth_password: password in plain text"
    assert VALUE not in repr(secret)


def test_a_commented_out_secret_is_masked() -> None:
    text = f"a: 1  # password: {VALUE}\n# token = {VALUE}\n"

    assert mask_text("a.yml", text) == f"a: 1  # password: {MASK}\n# token = {MASK}\n"


@pytest.mark.parametrize(
    ("comment", "masked"),
    [
        ("password hunter2", f"password {MASK}"),
        ("the API key was 'x1y2z3q', once", f"the API key was '{MASK}', once"),
        ("token 0123456789abcdef (old)", f"token {MASK} (old)"),
        *((prose, prose) for prose in (
            "password rotation policy", "the password of 2024", "secret sha256 of it", "api key oauth2 mode",
            "secret grafana-ldap-1", "password PASSWORD_1", "password ${PASS_1}", "token expires 30days",
            "password 8 characters", "secret /run/secrets/x1", "token v2beta1 API", "tokens abc123",
        )),
    ],
)  # fmt: skip
def test_a_word_beside_a_secrets_name_in_a_comment_is_masked_if_no_prose_has_it(comment: str, masked: str) -> None:
    assert mask_text("a.yml", f"a: 1 # {comment}\n# {comment}\n") == f"a: 1 # {masked}\n# {masked}\n"


def test_the_value_behind_an_alias_is_also_masked_at_its_anchor() -> None:
    text = "a: &x postgres://u:hunter2@h\npassword: *x\n"

    assert "hunter2" not in mask_text("a.yml", text)


def test_a_text_that_cannot_be_parsed_is_masked_line_by_line() -> None:
    text = f"a: [\npassword: {VALUE}\n  }}: x\n"

    assert VALUE not in mask_text("a.yml", text)


def test_masking_a_secret_of_several_lines_keeps_the_lines() -> None:
    text = "a:\n  password: |\n    one\n    two\n  user: x\n"

    assert mask_text("a.yml", text) == f"a:\n  password: {MASK}\n    {MASK}\n    {MASK}\n  user: x\n"


def test_escaped_secrets_are_masked() -> None:
    assert mask_text("a.yml", 'password: "a\\"b\\u00e9"\nb: 1\n') == f"password: {MASK}\nb: 1\n"
    assert mask_text("a.json", '{"password": "a\\"b", "c": 1}') == f'{{"password": {MASK}, "c": 1}}'


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("password: new # was old", f"password: {MASK} # {MASK}"),
        ("password: ${PW} # was hunter22 once", f"password: ${{PW}} # was {MASK}"),
        ("password: ${PW} # old: alpha bravo", f"password: ${{PW}} # old: {MASK}"),
        ("password: ${PW} # from the vault", "password: ${PW} # from the vault"),
        ("password: ''  # rotate in May", "password: ''  # rotate in May"),
        ("user: me # was hunter22", "user: me # was hunter22"),
    ],
)
def test_an_older_secret_in_a_trailing_comment_is_masked(line: str, masked: str) -> None:
    assert mask_text("a.yml", f"{line}\nb: 1\n") == f"{masked}\nb: 1\n"


def test_offsets_count_characters_not_bytes() -> None:
    assert mask_text("a.yml", f"é: '😀'\npassword: {VALUE}\nz: 1\n") == f"é: '😀'\npassword: {MASK}\nz: 1\n"


def test_a_binary_file_has_no_secrets() -> None:
    assert find_secrets({"logo.png": b"\x89PNG\x00\xff"}) == ()


def test_masking_values_keeps_their_structure() -> None:
    value = {
        "basic_auth": {"username": "u", "password": VALUE},
        "urls": ["https://a:hunter2@b/"],
        "n": 1,
        "token": None,
    }

    assert mask_value(value) == {
        "basic_auth": {"username": "u", "password": MASK},
        "urls": [f"https://a:{MASK}@b/"],
        "n": 1,
        "token": None,
    }


def test_a_numeric_secret_is_masked_too() -> None:
    assert mask_value({"password": 12345678}) == {"password": MASK}


def test_the_api_key_quota_of_grafana_is_not_a_secret() -> None:
    assert found("grafana.ini", "[quota]\norg_api_key = 10\n") == []


def test_a_secret_anywhere_in_a_long_line_is_masked() -> None:
    text = json.dumps(
        {"pad": ["x" * 65_400, "https://hooks.slack.com/services/" + "S3CRET" * 100], "b": ["y" * 70_000]}
    )

    assert "S3CRET" not in mask_text("a.txt", text)


@given(st.text(max_size=200), st.sampled_from(["a.yml", "a.json", "a.ini", "a.tmpl"]))
def test_masking_any_text_succeeds_and_keeps_its_lines(text: str, name: str) -> None:
    masked = mask_text(name, text)

    assert masked.count("\n") == text.count("\n")


@pytest.mark.parametrize("tables", ["prometheus3.14_alertmanager0.34_rules.fields.json", "loki3.8.fields.json"])
def test_every_field_that_a_tool_declares_as_a_secret_is_known(tables: str) -> None:
    path = SHARED / "fields" / tables
    if not path.exists():
        pytest.skip("the field tables are not beside this repository")
    places = {
        "TLSConfig": "tls_config",
        "WebhookConfig": "webhook_configs",
        "WebhookOutputConfig": "webhook_outputs",
        "SlackConfig": "slack_configs",
    }
    missed = set()
    for type_name, declared in json.loads(path.read_text())["types"].items():
        for field, kind in (declared.get("fields") or {}).items():
            if "ecret" not in json.dumps(kind):
                continue
            value = {
                places.get(type_name.rpartition(".")[2], "x"): {
                    field: "s3cr3t" if isinstance(kind, str) else {"X": ["s3cr3t"]}
                }
            }
            if mask_value(value) == value:
                missed.add(f"{type_name}.{field}")
    # A key file of Google's, in JSON: it is known by the key inside.
    assert {name for name in missed if not name.endswith("service_account")} == set()


@pytest.mark.parametrize("ending", sorted(BY_ENDING))
def test_no_secret_name_is_missed_by_the_check_that_skips_texts(ending: str) -> None:
    assert found("a.yml", f"{ending}: {VALUE}\n") != []
    assert found("a.json", json.dumps({"".join(part.title() for part in ending.split("_")): VALUE})) != []


def test_a_secret_name_written_with_escapes_is_recognised() -> None:
    assert found("a.yml", f'"passw\\x6frd": {VALUE}\n') == [("password", "password")]


ALIASED = {
    "used as a password": "x-a: &pw hunter2-Zq9\nb:\n  basic_auth: {username: me, password: *pw}\n",
    "used inside a mapping": "x-a: &auth {username: me, value: hunter2-Zq9}\nb:\n  secrets: *auth\n",
    "used by way of a second anchor": "x-a: &pw hunter2-Zq9\nx-b: &b {password: *pw}\nc: *b\n",
    "a url of a receiver": "x: &u https://example.com/hunter2-Zq9\nslack_configs: [{api_url: *u}]\n",
    "merged": "x: &m {url: https://example.com/hunter2-Zq9}\nwebhook_configs: [{<<: *m}]\n",
}


@pytest.mark.parametrize("text", ALIASED.values(), ids=ALIASED)
def test_a_value_that_an_alias_makes_a_secret_is_masked_at_its_anchor(text: str) -> None:
    other = text.replace(VALUE, "changed-Zq9")
    diff = diff_bundles({"a.yml": text.encode()}, {"a.yml": other.encode()}, old_label="old", new_label="new")

    assert VALUE not in mask_text("a.yml", text)
    assert MASK in mask_text("a.yml", text)
    assert VALUE not in json.dumps(diff.to_dict())
    assert "changed-Zq9" not in json.dumps(diff.to_dict())


def test_a_secret_that_an_alias_repeats_under_another_name_is_masked_in_values_too() -> None:
    old, new = (f"password: &p {value}\nnote: *p\nport: &q 80\nother: *q\n" for value in ("1", "0123"))
    [first, second] = (
        diff_bundles({"a.yml": old.encode()}, {"a.yml": new.encode()}, old_label="", new_label="").files[0].changes
        or ()
    )

    assert (first.path, first.old, first.new) == ("password", MASK, MASK)
    assert (second.path, second.old, second.new) == ("note", MASK, MASK)


def test_texts_with_too_many_aliases_are_masked_line_by_line() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in ("ab", "bc", "cd", "de", "ef", "fg")
    )

    assert VALUE not in mask_text("a.yml", f"{bomb}password: {VALUE}\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", "db:\n  password:\n    value: hunter2-Zq9\n    file: x\n"),
        ("a.yml", "token: [hunter2-Zq9, {a: hunter2-Zq9}]\n"),
        ("a.json", '{"secrets": {"a": {"b": ["hunter2-Zq9"]}}}'),
    ],
)
def test_values_below_a_secret_name_are_masked_without_a_warning(name: str, text: str) -> None:
    assert VALUE not in mask_text(name, text)
    assert VALUE not in json.dumps(mask_value(parse_document(text, "yaml")))


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("grafana:hunter2-Zq9@tcp(db:3306)/grafana", True),
        ("user:hunter2-Zq9@db.example.com:5432/x", True),
        ("user:hunter2-Zq9@10.0.0.1/x", True),
        ("me:p@ss:hunter2-Zq9@db:5432", True),
        ("user:hunter2-Zq9@db", False),
    ],
)
def test_a_password_in_a_connection_string_without_a_scheme_is_masked(text: str, reported: bool) -> None:
    masked = mask_text("a.yml", f"a: {text}\n")

    assert VALUE not in masked
    assert VALUE not in str(mask_value(text, ("a",)))
    assert [kind for _, kind in found("a.yml", f"a: {text}\n")] == ["password in a connection string"] * reported


@pytest.mark.parametrize(
    "text",
    [
        "job:http_requests:sum@1609746000", "job:up@ start()", "job:up@start()", "ops@example.com", "mailto:a@b.example",
        "image:v1@sha256:0123456789abcdef", "user:${PASSWORD}@db:5432/x", "a: b@c.example",
    ],
)  # fmt: skip
def test_text_that_only_looks_like_a_connection_string_is_not_masked(text: str) -> None:
    assert mask_text("notes.txt", text) == text


UNMASKED = {
    "a default in the text": ("a.yml", "password: ${VAR:-hunter2-Zq9}\n"),
    "a default without a dash": ("a.yml", "password: ${VAR:hunter2-Zq9}\n"),
    "a default behind a source": ("a.yml", "password: '${env:VAR:-hunter2-Zq9}'\n"),
    "a default in a URL": ("a.yml", "url: postgres://u:${PW:-hunter2-Zq9}@db/x\n"),
    "a default in a template": ("a.yml", "password: '{{ env \"X\" | default \"hunter2-Zq9\" }}'\n"),
    "an asterisk": ("a.yml", "a: 1\npassword: *hunter2-Zq9\nb: 1\n"),
    "an ampersand": ("a.yml", "password: &hunter2-Zq9\nb: 1\n"),
    "an exclamation mark": ("a.yml", "password: !hunter2-Zq9\nb: 1\n"),
    "braces": ("a.yml", "password: {hunter2-Zq9}\nb: 1\n"),
    "brackets": ("a.yml", "password: [hunter2-Zq9]\nb: 1\n"),
    "a hash first": ("a.yml", "password: #hunter2-Zq9\nb: 1\n"),
    "a hash behind a blank": ("a.yml", "password: abc #hunter2-Zq9\nb: 1\n"),
    "a percent sign": ("a.yml", "password: %hunter2-Zq9\nb: 1\n"),
    "an at sign": ("a.yml", "password: @hunter2-Zq9\nb: 1\n"),
    "a colon": ("a.yml", "password: abc: hunter2-Zq9\nb: 1\n"),
    "a bar": ("a.yml", "password: |hunter2-Zq9\nb: 1\n"),
    "text behind quotes": ("a.yml", "password: \"abc\"hunter2-Zq9\nb: 1\n"),
    "a structure behind a broken alias": ("a.yml", "a: *nothing\nsecureJsonData: {x: hunter2-Zq9}\n"),
    "a second document": ("a.yml", "a: 1\n---\nsecureJsonData: {x: hunter2-Zq9}\n"),
    "JSON in YAML": ("a.yml", "config: '{\"a\": {\"password\": \"hunter2-Zq9\"}}'\n"),
    "JSON in YAML, escaped": ("a.yml", 'config: "{\\"secureJsonData\\": {\\"a\\": \\"hunter2-Zq9\\"}}"\n'),
    "JSON in a block of YAML": ("a.yml", "config: |\n  {\n    \"headers\": {\"X-Auth\": \"hunter2-Zq9\"}\n  }\n"),
    "YAML in a block of YAML": ("a.yml", "config: |\n  db:\n    password: hunter2-Zq9\n"),
    "JSON in JSON": ("a.json", json.dumps({"a": json.dumps({"api_key": "hunter2-Zq9"})})),
    "JSON in JSON in JSON": ("a.json", json.dumps([json.dumps([json.dumps({"api_key": "hunter2-Zq9"})])])),
    "JSON in INI": ("grafana.ini", '[a]\nb = `{"token": "hunter2-Zq9"}`\n'),
    "JSON with a comma too many": ("a.json", '{"secureJsonData": {"a": "hunter2-Zq9",},}'),
    "JSON with an escaped quote": ("a.json", '{"password": "a\\"hunter2-Zq9", '),
    "a name and a value": ("a.yml", "env:\n- {name: api-key, value: hunter2-Zq9}\n- {value: x, name: y}\n"),
    "a value before its name": ("a.yml", "env:\n- {value: hunter2-Zq9, name: DB_PASSWORD}\n"),
    "a name and values": ("a.json", '{"params": [{"key": "token", "values": ["hunter2-Zq9"]}]}'),
    "headers of OpenTelemetry": ("a.yml", "headers:\n- name: X-Auth\n  value: hunter2-Zq9\n"),
    "headers of OpenTelemetry in a text": ("a.yml", "headers_list: \"tenant=a,api-key=hunter2-Zq9\"\n"),
    "Grafana's url_options": ("a.json", '{"url_options": {"params": [{"key": "key", "value": "hunter2-Zq9"}]}}'),
    "a key with a dot": ("a.yml", "api.key: hunter2-Zq9\n"),
    "an assertion": ("a.yml", "oauth2:\n  endpoint_params:\n    assertion: hunter2-Zq9\n"),
    "X-Auth": ("a.yml", "http_headers:\n  X-Auth:\n    values: [hunter2-Zq9]\n"),
    "a token for a user": ("a.yml", "url: http://hunter2-Zq9@host/\n"),
    "a long token for a user": ("a.yml", "url: https://hunter2-Zq9-0123456789@host/\n"),
    "a header's value in jsonData": ("a.yml", "jsonData:\n  httpHeaderName1: X\n  httpHeaderValue1: hunter2-Zq9\n"),
    "a key for signed URLs": ("a.yml", "gcs: {signed_url_key: hunter2-Zq9}\n"),
    "a quoted INI key with a colon": ("grafana.ini", '[a]\n"x:y_password" = hunter2-Zq9\n'),
    "a numbered name": ("a.yml", "password2: hunter2-Zq9\n"),
    "a short name": ("a.yml", "smtp: {pass: hunter2-Zq9}\n"),
    "a list of tokens": ("a.yml", "bearer_tokens: [hunter2-Zq9]\n"),
    "an invalid INI line": ("grafana.ini", "[a]\nnonsense\nclient_secret = hunter2-Zq9;hunter2-Zq9\n"),
    "quotes that stay open": ("grafana.ini", "[a]\nclient_secret = `hunter2-Zq9\nhunter2-Zq9\n"),
    "an option of a command": ("a.yml", "args: ['--token=hunter2-Zq9']\n"),
    "a header of a command": ("a.yml", "cmd: \"curl -H 'X-Api-Key: hunter2-Zq9'\"\n"),
    "a variable of a template": ("a.tmpl", "{{ $token := \"hunter2-Zq9\" }}\n"),
    "XML": ("a.xml", "<password>hunter2-Zq9</password>\n"),
    "headers in a variable of OpenTelemetry": (
        "a.yml", "env:\n- {name: OTEL_EXPORTER_OTLP_HEADERS, value: 'api-key=hunter2-Zq9'}\n"
    ),
    "a URL as a key": ("a.yml", "hosts: {'https://u:hunter2-Zq9@h/': 1}\n"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), UNMASKED.values(), ids=UNMASKED)
def test_no_notation_of_a_secret_is_shown(name: str, text: str) -> None:
    other = text.replace(VALUE, "changed-Zq9")
    diff = diff_bundles({name: text.encode()}, {name: other.encode()}, old_label="old", new_label="new")
    shown = [mask_text(name, text), json.dumps(diff.to_dict()), str(find_secrets({name: text.encode()}))]

    assert "hunter2" not in "".join(shown)
    assert "changed" not in shown[1].replace('"changed"', "")
    assert mask_text(name, text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", "password: *db_password\n"[:10] + "${env:DB_PASSWORD}\n"),
        ("a.yml", "password: ${DB_PASSWORD:-}\n"),
        ("a.yml", "password: '{{ vault_password }}'\n"),
        ("a.yml", "expr: '{token=\"abc\"} |= \"key\"'\n"),
        ("a.yml", "x: &anchor 1\ny: *anchor\n"),
        ("a.yml", "expr: |\n  sum by (token) (\n    rate(x{secret=\"a\"}[5m])\n  )\n"),
        ("a.yml", "env:\n- {name: LOG_LEVEL, value: debug}\n- {name: token, value: '${TOKEN}'}\n"),
        ("a.yml", "headers_list: tenant=a,accept=b\n"),
        ("a.yml", "password: ''  # rotate in May\n"),
        ("a.yml", "num_tokens: 5\nuse_assertions: 1\n"),
    ],
)  # fmt: skip
def test_values_that_only_resemble_secrets_are_shown(name: str, text: str) -> None:
    assert mask_text(name, text) == text


def test_only_the_secret_in_a_block_of_text_is_masked() -> None:
    text = "config: |\n  db:\n    user: me\n    password: hunter2-Zq9\n  x: 1\n"

    assert mask_text("a.yml", text) == text.replace(VALUE, MASK)


def test_a_secret_in_a_nested_text_is_reported_with_its_whole_path() -> None:
    assert found("a.yml", 'config: \'{"a": {"password": "hunter2-Zq9"}}\'\n') == [("config.a.password", "password")]


ODD_BLANKS = ["\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", " \u00a0"]


@pytest.mark.parametrize("blank", ODD_BLANKS, ids=ascii)
@pytest.mark.parametrize("name", ["a.yml", "a.ini", "a.json", "a.txt", "mail.tmpl"])
def test_no_kind_of_white_space_hides_a_secret(name: str, blank: str) -> None:
    texts = [f"password:{blank}hunter22\n", f"password{blank}:{blank}hunter22\n", f"x: 1\npassword:{blank}hunter22\n"]
    if name == "a.yml":
        texts += [f"a:\n  - password:{blank}hunter22\n", f"a: {{password:{blank}hunter22}}\n"]

    for text in texts:
        assert "hunter22" not in mask_text(name, text)


@pytest.mark.parametrize("name", ["a.txt", "a.conf", "mail.tmpl", "Dockerfile"])
@pytest.mark.parametrize(
    "password",
    ["alpha bravo", "alpha\u00a0bravo", "alpha, bravo", "alpha; bravo", "#alpha bravo", "alpha} bravo", "alpha' bravo",
     '"alpha bravo" bravo', "${A} bravo", "<x> bravo"],
)  # fmt: skip
def test_in_an_unknown_format_a_password_of_several_words_is_masked_to_its_end(name: str, password: str) -> None:
    for between in (": ", " = ", "=", ":          ", " => ", " := "):
        masked = mask_text(name, f"before\ndb_password{between}{password}\nafter\n")
        assert "alpha" not in masked
        assert "bravo" not in masked
        assert masked.startswith("before\n")
        assert masked.endswith("\nafter\n")


@pytest.mark.parametrize(
    "line",
    [
        "password: ${VAR}  # from the environment",
        "password = $VAR",
        '{"password": "${V}", "user": "x"}',
        "token: <secret>, x",
    ],
)
def test_a_reference_to_a_value_kept_elsewhere_is_not_a_secret_whatever_follows(line: str) -> None:
    assert mask_text("a.txt", line) == line


def test_a_secret_after_a_reference_is_masked() -> None:
    for line in (
        '{"password": "${V}", "token": "hunter22"}',
        "password: $V; token: hunter22 zwei",
        "token={{ .T }} secret=hunter22",
    ):
        masked = mask_text("a.txt", line)
        assert "hunter22" not in masked
        assert "zwei" not in masked


@pytest.mark.parametrize(
    "url",
    [
        "http://ops:hunter2xyz9@h/",
        "https://hunter2xyz9hunter2@h/",
        "https://hooks.slack.com/services/T0/B0/hunter2xyz9",
    ],
)
def test_a_secret_in_a_url_is_masked_where_json_escapes_its_slashes(url: str) -> None:
    text = json.dumps({"url": url}).replace("/", r"\/")

    assert "hunter2xyz9" not in mask_text("dashboard.json", text)
