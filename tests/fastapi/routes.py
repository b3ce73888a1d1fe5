"""One request for every route, that its store answers, for the tests that walk them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.seams.http import API_ROUTES, FEED_ROUTES, Endpoint

BACKUP = "20260102T030405Z-production.0123456789abcdef0123"
WRITE_ID = "production.0123456789abcdef0123"


@dataclass(frozen=True)
class Sample:
    """The parts of a request that its route does not say."""

    path: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


def _json(document: object = None, **arguments: Any) -> dict[str, Any]:
    return {"json": {} if document is None else document, **arguments}


FILE = {"name": "prometheus.yml"}
SAMPLES: dict[str, Sample] = {
    "list_environments": Sample(),
    "get_status_of_all": Sample(),
    "get_status": Sample(),
    "get_settings": Sample(),
    "put_settings": Sample(arguments=_json(headers={"If-Match": "*"})),
    "freeze": Sample(arguments=_json({"reason": "holidays"})),
    "thaw": Sample(arguments=_json()),
    "remove_environment": Sample(),
    "get_log": Sample(),
    "new_write_id": Sample(),
    "get_outcome": Sample({"write_id": WRITE_ID}),
    "list_releases": Sample(),
    "get_release": Sample(),
    "get_history": Sample(),
    "get_diff": Sample(),
    "roll_back": Sample(arguments=_json({"to_revision": 1})),
    "mark_good": Sample(arguments=_json()),
    "get_file": Sample(FILE),
    "put_file": Sample(FILE, {"content": OTHER_PROMETHEUS, "headers": {"If-Match": "*"}}),
    "delete_file": Sample({"name": "rules.yml"}, {"headers": {"If-Match": "*"}}),
    "validate_file": Sample(arguments={"content": PROMETHEUS}),
    "get_bundle": Sample(),
    "put_bundle": Sample(arguments=_json({"files": {"prometheus.yml": PROMETHEUS}}, headers={"If-Match": "*"})),
    "validate_bundle": Sample(arguments=_json({"files": {"prometheus.yml": PROMETHEUS}})),
    "remove_bundle": Sample(arguments={"headers": {"If-Match": "*"}}),
    "plan_deploy": Sample(arguments=_json(params={"source": "staging"})),
    "deploy": Sample({"plan": "0" * 16}, _json({"hash": "0" * 64}, params={"source": "staging"})),
    "list_all_backups": Sample(),
    "list_backups": Sample(),
    "back_up": Sample(arguments=_json()),
    "verify_backup": Sample({"backup": BACKUP}),
    "drill_backup": Sample({"backup": BACKUP}),
    "restore_backup": Sample({"backup": BACKUP}, _json()),
    "watch": Sample(),
    "get_index": Sample(),
    "fetch_bundle": Sample(),
    "fetch_file": Sample(FILE),
    "http_sd": Sample(FILE),
}
"""By the name of the function behind the route."""

GUARDED: list[tuple[str, Endpoint]] = [
    *(("/api", each) for each in API_ROUTES),
    *(("/feed", each) for each in FEED_ROUTES),
]
"""Every route that needs a token, and where the tests' application has it."""


def request_for(prefix: str, endpoint: Endpoint, environment: str = "production") -> dict[str, Any]:
    """The arguments of `httpx.AsyncClient.request` for a route."""
    sample = SAMPLES[endpoint.call.__name__]
    values = {"environment": environment, "tool": "prometheus", **sample.path}
    path = endpoint.path.replace(":path}", "}").format(**values)
    return {"method": endpoint.method, "url": prefix + path, **sample.arguments}
