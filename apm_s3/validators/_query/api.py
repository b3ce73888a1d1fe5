"""PromQL and LogQL as syntax trees, for your own checks. The names are public in `apm_s3.validators`.

```python
tree = parse_promql('sum by (job) (rate(http_requests_total{env="prod"}[5m]))')
metrics_of(tree)    # ("http_requests_total",)
labels_of(tree)     # ("job", "env")
[window.seconds for window in ranges_of(tree)]    # [300.0]
```

Every node has its position in the text: `start` and `end`, in characters.
"""

from __future__ import annotations

from apm_s3.errors import QueryInvalid
from apm_s3.validators._checking.context import parse_version
from apm_s3.validators._query.logql import parser as logql
from apm_s3.validators._query.nodes import Expr
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._query.promql import parser as promql


def parse_promql(text: str, *, target_version: str | None = None) -> Expr:
    """Parse a PromQL expression into a syntax tree.

    `target_version` is the release of Prometheus, such as "2.53"; None means the newest known one. Features that need a
    feature flag are refused.

    Raises:
        QueryInvalid: not valid PromQL; `offset` and `end` give the position.
        InvalidOption: `target_version` is not a valid version.
    """
    try:
        return promql.parse(text, parse_version(target_version))
    except QueryProblem as exc:
        raise _invalid("PromQL", exc) from None


def parse_logql(text: str, *, target_version: str | None = None) -> Expr:
    """Parse a LogQL query into a syntax tree: `Streams` for a log query, another node for a metric query.

    `target_version` is the release of Loki, such as "3.2"; None means the newest known one.

    Raises:
        QueryInvalid: not valid LogQL; `offset` and `end` give the position.
        InvalidOption: `target_version` is not a valid version.
    """
    try:
        return logql.parse(text, parse_version(target_version))
    except QueryProblem as exc:
        raise _invalid("LogQL", exc) from None


def _invalid(language: str, problem: QueryProblem) -> QueryInvalid:
    message = f"invalid {language}: {problem.message}, at character {problem.start + 1}"
    return QueryInvalid(message, offset=problem.start, end=problem.end, hint=problem.hint)
