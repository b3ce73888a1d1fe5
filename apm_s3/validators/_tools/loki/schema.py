"""The types of Loki's configuration.

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
from functools import cache
from typing import Any

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Mismatch, Schema, list_codec, load_table, wrong_type
from apm_s3.validators._grammars.values import parse_go_duration, parse_regex
from apm_s3.validators._reading.nodes import SCALAR, SEQUENCE, Node, Path
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.loki import config
from apm_s3.validators._tools.loki.config import check_rules

CONFIG = "pkg/loki.Config"
RULES = "model/rulefmt.RuleGroups"

_SIZE = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*(?:[kmgtpe]i?)?b?\s*", re.IGNORECASE | re.ASCII)


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
            "dskit/flagext.URLValue": prometheus_common.parse_common_url,
            "model/relabel.Regexp": parse_regex,
            "storage/config.DayTime": config.parse_day,
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
            "pkg/compactor.Config": (config.check_compactor,),
            "pkg/distributor.Config": (config.check_distributor,),
            "pkg/ingester.WALConfig": (config.check_wal,),
            "pkg/loki.Config": (config.check_config,),
            "pkg/validation.Limits": (config.check_limits,),
        },
        yaml=4,
    )


@cache
def rules_schema() -> Schema:
    """Return the types of rule files for Loki's ruler."""
    return Schema(load_table("loki_rules"), scalars=prometheus_common.SCALARS, hooks={RULES: (check_rules,)}, yaml=3)
