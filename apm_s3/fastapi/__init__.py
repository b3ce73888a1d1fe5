"""Configuration stores in FastAPI applications: a lifespan, dependencies and routers. Needs the extra `fastapi`.

```python
app = FastAPI(lifespan=s3_lifespan("acme-apm-configs"))
app.include_router(config_router(authorize=authorize), prefix="/api")
app.include_router(health_router())
```

docs/fastapi.md describes all routes.
"""

from apm_s3.fastapi._authorisation import Action, Permission, Principal
from apm_s3.fastapi._feed import feed_router
from apm_s3.fastapi._lifespan import ConfigsDep, S3Dep, combine_lifespans, get_configs, get_s3, s3_lifespan
from apm_s3.fastapi._routers import config_router, health_router, metrics_router

__all__ = [
    "Action",
    "ConfigsDep",
    "Permission",
    "Principal",
    "S3Dep",
    "combine_lifespans",
    "config_router",
    "feed_router",
    "get_configs",
    "get_s3",
    "health_router",
    "metrics_router",
    "s3_lifespan",
]
