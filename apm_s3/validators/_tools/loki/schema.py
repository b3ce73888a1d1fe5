"""Loki's types: the table of fields, with the parsers and the checks of this package."""

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
from apm_s3.validators._tools.loki.gates import GATES
from apm_s3.validators._tools.loki.rules import RULE_TYPES, check_rules
from apm_s3.validators._tools.prometheus import relabel

CONFIG = "pkg/loki.Config"
RULES = "model/rulefmt.RuleGroups"

_SIZE = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*(?:[kmgtpe]i?)?b?\s*", re.IGNORECASE | re.ASCII)


def _parse_size(text: str) -> str:
    if not _SIZE.fullmatch(text):
        raise Mismatch("size", f"invalid size: {text[:40]!r}; write it as 4MB or 256KB")
    return text


def _one_of(what: str, *allowed: str) -> Any:
    def parse(text: str) -> str:
        if text not in allowed:
            raise Mismatch.unknown(what, text, allowed)
        return text

    return parse


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
            "dskit/log.Level": _one_of("level", "debug", "info", "warn", "error"),
            "model/relabel.Action": relabel.parse_action,
            "model/relabel.Regexp": parse_regex,
            "pkg/indexgateway.Mode": _one_of("mode", "simple", "ring"),
            "providers/s3.BucketLookupType": _one_of("bucket lookup type", "auto", "virtual-hosted", "path"),
            "push/otlplabels.Action": _one_of("action", "index_label", "structured_metadata", "drop"),
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
            "client/aws.S3Config": (config.check_aws,),
            "client/azure.BlobStorageConfig": (config.check_azure,),
            "pkg/compactor.Config": (config.check_compactor,),
            "pkg/distributor.Config": (config.check_distributor,),
            "pkg/ingester.Config": (config.check_ingester,),
            "pkg/ingester.WALConfig": (config.check_wal,),
            "pkg/loki.Config": (config.check_config,),
            "pkg/querier.Config": (config.check_querier,),
            "pkg/validation.Limits": (config.check_limits,),
            "querier/worker.Config": (config.check_worker,),
        },
        gates=GATES,
        yaml=4,
    )


@cache
def rules_schema() -> Schema:
    """Return the types of rule files for Loki's ruler."""
    return Schema(RULE_TYPES, scalars=prometheus_common.SCALARS, hooks={RULES: (check_rules,)}, yaml=3)
