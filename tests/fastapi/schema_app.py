"""The application that schemathesis tests, on a store in memory: `uvicorn tests.fastapi.schema_app:app`."""

from __future__ import annotations

from apm_s3.configs import ConfigStore
from apm_s3.fastapi import get_configs
from tests.fastapi.applications import CountedObjects, shared_app
from tests.fastapi.conftest import filled

app = shared_app()
_objects = CountedObjects()
_objects.objects.update(filled())
_store = ConfigStore(_objects, "team-a/")
app.dependency_overrides[get_configs] = lambda: _store
