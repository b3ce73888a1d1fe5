"""Rule files for Loki's ruler: Prometheus's groups, with LogQL for expressions.

https://grafana.com/docs/loki/latest/alert/.
"""

from __future__ import annotations

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Struct, Table, check_rule_query
from apm_s3.validators._query.logql import parse
from apm_s3.validators._tools.prometheus.rules.groups import check_groups

RULE_TYPES: Table = {
    "model/rulefmt.RuleGroups": {"groups": "[]model/rulefmt.RuleGroup", "namespace": "string"},
    "model/rulefmt.RuleGroup": {
        "name": "string",
        "interval": "int64:common/model.Duration",
        "query_offset": "int64:common/model.Duration",
        "limit": "int",
        "labels": "{}string",
        "rules": "[]model/rulefmt.Rule",
        "remote_write": "any",
        "source_tenants": "[]string",
    },
    "model/rulefmt.Rule": {
        "record": "string",
        "alert": "string",
        "expr": "string",
        "for": "int64:common/model.Duration",
        "keep_firing_for": "int64:common/model.Duration",
        "labels": "{}string",
        "annotations": "{}string",
    },
}


def check_rules(file: Struct, context: Context) -> None:
    """Check the groups of a rule file."""
    check_groups(file, context, _check_logql)


def _check_logql(rule: Struct, expression: str, context: Context) -> None:
    check_rule_query(rule, expression, "LogQL", parse, context)
