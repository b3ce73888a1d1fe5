"""Configuration stores in FastAPI applications: a lifespan, dependencies and routers. Needs the extra `fastapi`.

```python
app = FastAPI(lifespan=s3_lifespan("acme-apm-configs"))
app.include_router(config_router(authorize=authorize), prefix="/api")
app.include_router(health_router())
```

docs/fastapi.md describes all routes.
"""

from apm_s3.fastapi._dependencies import ConfigsDep, S3Dep, get_configs, get_s3
from apm_s3.fastapi._lifespan import combine_lifespans, s3_lifespan
from apm_s3.fastapi._permissions import Action, Permission, Principal
from apm_s3.fastapi._router import config_router
from apm_s3.fastapi._routers.feed import feed_router
from apm_s3.fastapi._routers.health import health_router
from apm_s3.fastapi._routers.metrics import metrics_router

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
