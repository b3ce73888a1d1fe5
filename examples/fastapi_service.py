"""A FastAPI service with the store's HTTP API, a route of its own, probes and metrics.

Needs the extras `fastapi` and `prometheus`, and uvicorn. APM_S3_BUCKET names the bucket, APM_S3_TOKEN the token that
its callers send; AWS_ENDPOINT_URL may name an S3-compatible server instead of AWS. Try:

    curl -H "Authorization: Bearer $APM_S3_TOKEN" localhost:8000/api/environments
"""

import os
import secrets
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apm_s3 import CacheSettings, S3Manager, S3Settings
from apm_s3.fastapi import (
    Action,
    ConfigsDep,
    Permission,
    Principal,
    config_router,
    health_router,
    metrics_router,
    s3_lifespan,
)

BUCKET, TOKEN = os.environ["APM_S3_BUCKET"], os.environ["APM_S3_TOKEN"]
OPERATOR = Principal.granted("operator", *(Permission(action) for action in Action))


def authorize(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> Principal:
    """Return who is calling. A real service would look up the token, or verify a signed one."""
    if not secrets.compare_digest(given.credentials.encode(), TOKEN.encode()):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return OPERATOR


def make_s3() -> S3Manager:
    """Return the manager, which the lifespan opens and closes."""
    settings = S3Settings(cache=CacheSettings(current_staleness=5, stale_if_error=600))
    return S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"), settings=settings)


app = FastAPI(title="Configurations", lifespan=s3_lifespan(BUCKET, make_s3=make_s3))
app.include_router(config_router(authorize=authorize), prefix="/api")
app.include_router(health_router(), prefix="/health")
app.include_router(metrics_router(), prefix="/metrics")


@app.get("/jobs")
async def jobs(configs: ConfigsDep, _: Annotated[Principal, Depends(authorize)]) -> list[str]:
    """Return the names of production's jobs, read from memory."""
    file = await configs.download("prometheus", "production")
    return [job["job_name"] for job in file.data["scrape_configs"]]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
