"""Loki: its configuration and its rule files.

The environment is not known here: a variable is replaced by its default, or by nothing.
https://grafana.com/docs/loki/latest/configure/#use-environment-variables-in-the-configuration.
https://grafana.com/docs/loki/latest/alert/ has the rule files.

The releases in `_data/loki.json` come from the changelog (https://github.com/grafana/loki/blob/main/CHANGELOG.md), the
upgrade notes (https://grafana.com/docs/loki/latest/setup/upgrade/) and the reference pages of the releases
(https://grafana.com/docs/loki/latest/configure/). If several releases are possible, a field counts as known from the
first of them, and a removed field until the last. Changes of a patch release count from its minor release.
The fields inside `bloom_build`, `dataobj`, `ingest_limits`, `kafka_config`, `pattern_ingester`, `query_engine` and `ui`
are those of the newest release.
Only the names of removed fields are known, so any value is accepted for the releases that had them.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import Any

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Member, Source, take_issues
from apm_s3.validators._decoding import Mismatch, Schema, list_codec, load_table, wrong_type
from apm_s3.validators._query.logql import parse
from apm_s3.validators._query.values import SECOND, parse_go_duration, parse_regex, parse_url
from apm_s3.validators._reading.nodes import SCALAR, SEQUENCE, Node, Path
from apm_s3.validators._structs import Struct
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.prometheus.rules import check_groups

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::[-=]?(?P<default>[^{}\n]*))?\}")


def expand(text: str) -> str:
    """Return `text` as Loki reads it with an empty environment. Line numbers do not change."""
    return _VARIABLE.sub(lambda match: match["default"] or "", text)


_DAY = 24 * 3600 * SECOND
_THANOS_STORES = ("s3", "gcs", "azure", "swift", "filesystem", "alibabacloud", "bos")
_STORES = (
    "alibabacloud", "aws", "azure", "bos", "cos", "filesystem", "gcs", "inmemory", "local", "s3", "swift",
)  # fmt: skip
_SCHEMAS = ("v9", "v10", "v11", "v12", "v13")
_STRUCTURED = 13
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

MODERN = (3, 8)
"""The release whose rules apply without a target version."""


def parse_day(text: str) -> date:
    """Parse `2024-01-31`, or raise `Mismatch`."""
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise Mismatch("date", f"invalid date: {text[:40]!r}; write it as 2024-01-31") from None


def check_config(config: Struct, context: Context) -> None:
    """Check the rules of Config.Validate across sections."""
    schema = config.struct("schema_config")
    periods = [period for _, period in schema.structs("configs")] if schema is not None else []
    if not periods:
        if "schema_config" not in config.failed and not (schema is not None and "configs" in schema.failed):
            message = "schema_config.configs needs at least one period"
            (schema or config).error(context, "configs" if schema else "schema_config", "no-schema-config", message)
        return
    active = _active(periods)
    for index, period in enumerate(periods):
        _check_period(period, config, context)
        if index and not _in_order(periods[index - 1], period):
            period.error(context, "from", "period-order", "periods must be in ascending order of 'from'")
    _check_structured_metadata(periods[active], config, context)


def _active(periods: list[Struct]) -> int:
    """Return the index of the period that is active today."""
    today = datetime.now(UTC).date()
    later = next((index for index, period in enumerate(periods) if (period.get("from") or date.min) > today), None)
    return max(0, (len(periods) if later is None else later) - 1)


def _in_order(before: Struct, after: Struct) -> bool:
    first, second = before.get("from"), after.get("from")
    return first is None or second is None or first < second


def _check_period(period: Struct, config: Struct, context: Context) -> None:
    schema = period.get("schema")
    if schema not in _SCHEMAS and "schema" not in period.failed:
        period.unknown(context, "schema", "schema", schema or "", _SCHEMAS)
    index = period.struct("index")
    length = index.get("period") if index is not None else None
    if period.get("store") == "tsdb" and length not in (None, _DAY) and index is not None:
        index.error(context, "period", "index-period", "an index of type tsdb needs a period of 24h")
    _check_object_store(period, config, context)


def _check_object_store(period: Struct, config: Struct, context: Context) -> None:
    name = period.get("object_store")
    if not name:
        return
    storage = config.struct("storage_config")
    thanos = not context.is_before(MODERN)
    if storage is not None and storage.has("use_thanos_objstore"):
        thanos = bool(storage.get("use_thanos_objstore"))
    known = _THANOS_STORES if thanos else _STORES
    named = _named_stores(storage, thanos=thanos)
    if name not in known and name not in named:
        message = f"unknown object store {name[:40]!r}; choose one of {', '.join(known)}, or a named store"
        node, path = period.place("object_store")
        context.error(node, path, "unknown-object-store", message, context.hint(name, [*known, *named]))


def _named_stores(storage: Struct | None, *, thanos: bool) -> set[str]:
    owner = storage.struct("object_store") if storage is not None and thanos else storage
    stores = owner.struct("named_stores") if owner is not None else None
    if stores is None:
        return set()
    return {name for values in stores.values.values() if isinstance(values, dict) for name in values}


def _check_structured_metadata(period: Struct, config: Struct, context: Context) -> None:
    if context.is_before((3, 0)):
        return
    limits = config.struct("limits_config")
    if limits is not None and limits.get("allow_structured_metadata") is False:
        return
    hint = "or set limits_config.allow_structured_metadata to false"
    schema = period.get("schema") or ""
    if schema in _SCHEMAS and int(schema[1:]) < _STRUCTURED:
        message = f"structured metadata needs schema v{_STRUCTURED}, the active period has {schema}"
        node, path = period.place("schema")
        context.error(node, path, "structured-metadata", message, hint)
    store = period.get("store")
    if store != "tsdb" and "store" not in period.failed:
        message = f"structured metadata needs an index of type tsdb, the active period has {(store or 'none')[:40]!r}"
        node, path = period.place("store")
        context.error(node, path, "structured-metadata", message, hint)


def check_wal(wal: Struct, context: Context) -> None:
    """Check the interval of checkpoints."""
    duration = wal.get("checkpoint_duration")
    if wal.get("enabled", True) and duration is not None and duration < 1:
        wal.error(context, "checkpoint_duration", "out-of-range", "checkpoint_duration must be above 0")


def check_limits(limits: Struct, context: Context) -> None:
    """Check the retention of streams."""
    for index, stream in limits.structs("retention_stream"):
        period = stream.get("period")
        if period is not None and period < _DAY:
            message = "the retention of a stream must be at least 24h"
            limits.error(context, ("retention_stream", index, "period"), "out-of-range", message)


def check_compactor(compactor: Struct, context: Context) -> None:
    """Check the settings that retention needs."""
    if not compactor.get("retention_enabled"):
        return
    if compactor.empty("delete_request_store") and not context.is_before((3, 0)):
        message = "delete_request_store must be set if retention is enabled"
        compactor.error(context, "delete_request_store", "required-field", message)
    applied, every = compactor.get("apply_retention_interval"), compactor.get("compaction_interval", 600 * SECOND)
    if applied and every and applied % every:
        message = "apply_retention_interval must be 0 or a multiple of compaction_interval"
        compactor.error(context, "apply_retention_interval", "out-of-range", message)


def check_distributor(distributor: Struct, context: Context) -> None:
    """Check that writes have a destination."""
    if distributor.get("ingester_writes_enabled") is False and not distributor.get("kafka_writes_enabled"):
        message = "at least one of kafka_writes_enabled and ingester_writes_enabled must be true"
        distributor.error(context, "ingester_writes_enabled", "required-field", message)


CONFIG = "pkg/loki.Config"
RULES = "model/rulefmt.RuleGroups"

_SIZE = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*+(?:[kmgtpe]i?)?b?\s*", re.IGNORECASE | re.ASCII)


def _parse_size(text: str) -> str:
    if not _SIZE.fullmatch(text):
        raise Mismatch("size", f"invalid size: {text[:40]!r}; write it as 4MB or 256KB")
    return text


def _any_text(text: str) -> str:
    return text


def _decode_csv(node: Node, path: Path, context: Context) -> Any:
    """Decode a list of texts, or one text separated by commas."""
    if node.kind == SCALAR:
        return node.text
    if node.kind == SEQUENCE:
        return list_codec(_decode_csv)(node, path, context)
    return wrong_type(node, path, context, "text or a list")


@cache
def config_schema() -> Schema:
    """Return the types of loki.yaml, read with yaml.v4."""
    return Schema(
        load_table("loki"),
        scalars={
            **prometheus_common.SCALARS,
            "dskit/flagext.Bytes": _parse_size,
            "dskit/flagext.Secret": _any_text,
            "dskit/flagext.Time": _any_text,
            "dskit/flagext.URLValue": parse_url,
            "model/relabel.Regexp": parse_regex,
            "storage/config.DayTime": parse_day,
            "time.Duration": parse_go_duration,
            "util/flagext.ByteSize": _parse_size,
        },
        codecs={
            "dskit/flagext.StringSliceCSV": _decode_csv,
            "dskit/flagext.StringSliceCSVMulti": _decode_csv,
            "util/flagext.CSV[github.com/grafana/loki/v3/pkg/util/mempool.Bucket]": _decode_csv,
        },
        hooks={
            **prometheus_common.HOOKS,
            "pkg/compactor.Config": (check_compactor,),
            "pkg/distributor.Config": (check_distributor,),
            "pkg/ingester.WALConfig": (check_wal,),
            "pkg/loki.Config": (check_config,),
            "pkg/validation.Limits": (check_limits,),
        },
        yaml=4,
    )


@cache
def rules_schema() -> Schema:
    """Return the types of rule files for Loki's ruler."""
    hooks = {RULES: (partial(check_groups, language="logql", parse=parse),)}
    return Schema(load_table("loki_rules"), scalars=prometheus_common.SCALARS, hooks=hooks, yaml=3)


KINDS = ("config", "rules")
READ_TOGETHER = ()


def infer_kind(source: Source) -> str | None:
    """Infer `rules` for a file with groups, else `config`; None for a file whose name is not that of YAML."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json")):
        return None
    keys = source.top_level_keys()
    return "rules" if "groups" in keys and "schema_config" not in keys else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "rules":
        root = take_issues(source.document("yaml"), context)
        if root is not None:
            rules_schema().decode(RULES, root, context)
        return
    if source.data is None and "${" in source.text:
        source = Source(expand(source.readable_text()), source.name)
        context.read_from(source)
    root = take_issues(source.document("yaml"), context)
    if root is None or config_schema().decode(CONFIG, root, context) is None:
        context.add(
            Issue(Severity.ERROR, "", 1, 1, "no-schema-config", "schema_config.configs needs at least one period")
        )


def check_bundle(members: list[Member]) -> None:
    """Do nothing: the files do not refer to each other."""
