"""Loki's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_config
from tests.validators.good import LOKI, SECOND, errors


@pytest.mark.parametrize("text", ["", "{}", "auth_enabled: false\n", "schema_config: {configs: []}\n"])
def test_a_configuration_without_a_schema_is_refused(text: str) -> None:
    assert [rule for _, rule in errors("loki", text)] == ["no-schema-config"]


def test_structured_metadata_can_be_disabled() -> None:
    old = LOKI.replace(SECOND, SECOND.replace("v13", "v12"))
    assert errors("loki", old.replace("limits_config:", "limits_config:\n  allow_structured_metadata: false")) == []
    assert errors("loki", old, target_version="2.9") == []


def test_object_stores_depend_on_the_client_and_may_be_named() -> None:
    cos = LOKI.replace("object_store: s3", "object_store: cos")
    assert errors("loki", cos.replace("storage_config:", "storage_config:\n  use_thanos_objstore: false")) == []
    named = "storage_config:\n  object_store: {named_stores: {s3: {mine: {bucket_name: b}}}}"
    assert (
        errors("loki", LOKI.replace("object_store: s3", "object_store: mine").replace("storage_config:", named)) == []
    )


def test_fields_depend_on_the_release() -> None:
    old = LOKI.replace("tsdb_shipper: {", "boltdb_shipper: {")
    assert errors("loki", old, target_version="3.0") == []
    assert (
        errors("loki", LOKI.replace("delete_request_store: filesystem", "shared_store: s3"), target_version="2.9") == []
    )
    new = LOKI + "pattern_ingester: {enabled: true}\n"
    assert errors("loki", new) == []
    assert errors("loki", new, target_version="2.9") == [("pattern_ingester", "unknown-field")]


def test_variables_are_replaced_by_their_defaults() -> None:
    text = LOKI.replace("3100", "${PORT:3100}").replace("replication_factor: 1", "replication_factor: ${FACTOR}")
    assert errors("loki", text) == []
    assert errors("loki", LOKI.replace("3100", "${PORT:many}")) == [("server.http_listen_port", "wrong-type")]


@pytest.mark.parametrize(
    ("expression", "line", "column"),
    [
        ("sum(rate({app=x}[5m]))", 1, 15),
        ("sum(\n  rate({app='x'}[5m])\n)", 2, 13),
        ('rate({app="x"} |= error [5m])', 1, 19),
        ('sum(rate({app="x"}))', 1, 19),
    ],
)
def test_an_error_in_logql_has_the_position_of_its_token(expression: str, line: int, column: int) -> None:
    text = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: |\n"
    text += "".join(f"      {part}\n" for part in expression.split("\n"))

    found = validate_config("loki", text, kind="rules").errors

    assert [(issue.rule, issue.line, issue.column) for issue in found] == [("logql", line + 5, column + 6)]
