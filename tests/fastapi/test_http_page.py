"""docs/http-api.md and docs/fastapi.md say what the routes do."""

from __future__ import annotations

import re
from pathlib import Path

from apm_s3.fastapi import Action
from tests.fastapi.routes import GUARDED
from tests.seams.http import FEED_ROUTES, HEALTH_ROUTES, STATUSES, problem_response
from tools.http_reference import MARK, document, reference

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "fastapi.md").read_text()


def test_the_reference_has_every_route_and_every_document() -> None:
    text = reference()
    endpoints = [*(each for _, each in GUARDED), *HEALTH_ROUTES]

    assert (DOCS / "http-api.md").read_text().count(MARK) == 1
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    routes = {f"{each.method} {each.path.replace(':path}', '}')}" for each in endpoints}
    assert routes | {"GET /metrics"} | set(document()["components"]["schemas"]) == set(headings)
    assert len(headings) == len(set(headings))
    linked = set(re.findall(r"\]\(#(\w+)\)", text))
    assert linked <= {heading.lower() for heading in headings}


def test_the_guide_has_every_route_permission_and_status() -> None:
    for prefix, endpoint in GUARDED:
        # The tables shorten what all paths begin with.
        if prefix == "/api":
            last = re.sub(r"\{(\w+):path\}", r"{\1}", endpoint.path).removeprefix("/environments/{environment}")
            last = last.removeprefix("/tools/{tool}") or "/tools/{tool}"
        else:
            last = endpoint.path.replace(":path}", "}")
        assert last in GUIDE, endpoint
    assert re.findall(r"^\| `([A-Z]+)` \| ", GUIDE, re.MULTILINE) == [action.name for action in Action]
    rows = re.findall(r"^\| (\d{3}(?:, \d{3})*) \| ", GUIDE, re.MULTILINE)
    explained = {int(status) for row in rows for status in row.split(", ")}
    raised = {400, 401, 403, 405, 412, 415, 428, 429, *STATUSES.values()}
    assert explained == raised
    assert all(problem_response(status)["description"] for status in raised - {405})
    assert len(FEED_ROUTES) == 4
