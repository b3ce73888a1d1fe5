"""A program on a generated client: `client_flow.py URL`. It reads, changes and deploys a configuration."""

from __future__ import annotations

import io
import sys

from fast_api_client import AuthenticatedClient
from fast_api_client.api.configurations import (
    apm_s3_deploy,
    apm_s3_get_file,
    apm_s3_get_history,
    apm_s3_list_environments,
    apm_s3_plan_deploy,
    apm_s3_put_file,
)
from fast_api_client.models import ApmS3DeployDeployGiven, ApmS3PlanDeployPlanGiven, DeployedModel, PlanModel
from fast_api_client.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token="admin-token")
assert apm_s3_list_environments.sync(client=client) == ["production", "staging"]

read = apm_s3_get_file.sync_detailed("staging", "prometheus", "prometheus.yml", client=client)
changed = read.content.replace(b"15s", b"30s")
put = apm_s3_put_file.sync_detailed(
    "staging", "prometheus", "prometheus.yml",
    client=client, body=File(io.BytesIO(changed)), if_match=read.headers["etag"],
)  # fmt: skip
assert put.status_code == 200, put

plan = apm_s3_plan_deploy.sync("production", client=client, body=ApmS3PlanDeployPlanGiven(), source="staging")
assert isinstance(plan, PlanModel)
assert plan.changes
given = ApmS3DeployDeployGiven(hash_=plan.hash_, message="go")
done = apm_s3_deploy.sync("production", plan.id, client=client, body=given, source="staging")
assert isinstance(done, DeployedModel)
assert [each.tool for each in done.releases] == ["loki", "prometheus"]

history = apm_s3_get_history.sync("production", "prometheus", client=client)
assert isinstance(history, list)
assert [each.revision for each in history] == [2, 1]
