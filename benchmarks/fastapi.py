"""Cached reads over HTTP: `config_router` beside an application that returns the same bytes from a dict.

Run it with `nox -s benchmarks -- fastapi`. Each application runs on a uvicorn of its own, with the same authorisation:
a bearer token, and the permission to read this tool in this environment. 200 clients read one configuration, in turns of
the applications; `current_staleness` is above 0. Medians of all rounds are compared.

Both applications freeze what they have loaded, as docs/fastapi.md advises. Otherwise the garbage collector reads all of it
about once in 6 000 requests, all clients wait meanwhile, and the 99th percentile is little else than the time of that:
twice as long with botocore loaded as without. `--no-freeze` shows it. The server's CPU time of a request depends least on
what else the machine does.
"""

import argparse
import asyncio
import gc
import os
import socket
import statistics
import sys
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apm_s3 import CacheSettings, Credentials, S3Manager, S3Settings
from apm_s3.fastapi import Action, Permission, Principal, config_router, s3_lifespan
from benchmarks.report import Table, show
from tests.faults.server import FaultyS3

BUCKET = "benchmark-configs"
CONFIG = "global:\n  scrape_interval: 30s\n" + "# a line of a comment\n" * 100
PATH = "/environments/{environment}/tools/{tool}/files/{name:path}"
URL = "/api/environments/production/tools/prometheus/files/prometheus.yml"
READER = Principal.granted("reader", Permission(Action.READ, "production"), Permission(Action.SECRETS, "production"))


async def authorize(token: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> Principal:
    if token.credentials != "token":
        raise HTTPException(401)
    return READER


def make_s3():
    return S3Manager(
        region="us-east-1",
        endpoint_url=os.environ["BENCHMARK_S3"],
        credentials=Credentials("key", "secret"),
        settings=S3Settings(cache=CacheSettings(current_staleness=3600)),
    )


def freeze() -> None:
    if os.environ["BENCHMARK_FREEZE"] == "True":
        gc.collect()
        gc.freeze()


@asynccontextmanager
async def store_lifespan(app: FastAPI):
    s3 = make_s3()
    async with s3_lifespan(BUCKET, make_s3=lambda: s3)(app) as state:
        await s3.configs(BUCKET).environments()
        freeze()
        yield state


@asynccontextmanager
async def dict_lifespan(_: FastAPI):
    freeze()
    yield


def store_app() -> FastAPI:
    app = FastAPI(lifespan=store_lifespan)
    app.include_router(config_router(authorize=authorize), prefix="/api")
    return app


def dict_app() -> FastAPI:
    files = {("production", "prometheus", "prometheus.yml"): CONFIG.encode()}

    async def may_read(request: Request, principal: Annotated[Principal, Depends(authorize)]) -> None:
        place = request.path_params
        if not principal.allows(Permission(Action.READ, place["environment"], place["tool"])):
            raise HTTPException(403)

    router = APIRouter()

    @router.get(PATH, dependencies=[Depends(may_read)])
    async def get_file(environment: str, tool: str, name: str) -> Response:
        return Response(files[environment, tool, name], media_type="application/yaml")

    app = FastAPI(lifespan=dict_lifespan)
    app.include_router(router, prefix="/api")
    return app


async def read(reader, writer, requests, times):
    """Send requests on one connection, one after the other."""
    head = f"GET {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\n\r\n".encode()
    for _ in range(requests):
        began = time.perf_counter()
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        times.append(time.perf_counter() - began)


def cpu_of(process):
    """CPU seconds that another process has used: the 14th and 15th fields of proc_pid_stat(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


async def measured(process, port, clients, requests):
    """Requests a second; in milliseconds, their median and 99th percentile, and the server's CPU time of one."""
    used = cpu_of(process)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    times = []
    began = time.perf_counter()
    await asyncio.gather(*(read(*each, requests, times) for each in opened))
    seconds = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
    percentiles = statistics.quantiles(times, n=100)
    cost = (cpu_of(process) - used) / len(times)
    return len(times) / seconds, percentiles[49] * 1000, percentiles[98] * 1000, cost * 1000


@asynccontextmanager
async def serving(name, environment):
    """A uvicorn in a process of its own: that one's id, and the port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.fastapi:{name}", "--port", str(port),
        "--log-level", "warning", "--no-access-log", env={**os.environ, **environment},
    )  # fmt: skip
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                break
        yield process.pid, port
    finally:
        process.terminate()
        await process.wait()


async def run(rounds, clients, requests, freeze):
    async with FaultyS3() as s3:
        s3.s3.buckets[BUCKET] = {}
        environment = {"BENCHMARK_S3": s3.endpoint_url, "BENCHMARK_FREEZE": str(freeze)}
        os.environ.update(environment)
        async with make_s3() as manager:
            await manager.configs(BUCKET).upload("prometheus", "production", CONFIG)
        async with serving("store_app", environment) as store, serving("dict_app", environment) as plain:
            servers = {"config_router": store, "dict": plain}
            found = {name: [] for name in servers}
            for number in range(rounds + 1):
                for name, server in servers.items():
                    figures = await measured(*server, clients, requests)
                    if number:  # the first round warms up
                        found[name].append(figures)
    columns = ("requests a second", "median, ms", "99th percentile, ms", "server's CPU, ms")
    rows = {
        name: tuple(statistics.median(each) for each in zip(*figures, strict=True)) for name, figures in found.items()
    }
    note = f"{clients} clients; the same authorisation, and the same bytes from a dict. Medians of {rounds} rounds."
    title = "Cached reads over HTTP; more requests a second are better"
    show(Table("FastAPI", title, columns, rows, ratios=True, plotted=columns, note=note))
    pairs = [*zip(found["config_router"], found["dict"], strict=True)]
    ratios = [statistics.median(ours[at] / plain[at] for ours, plain in pairs) for at in range(len(columns))]
    print(", ".join(f"{column}: {ratio:.2f}" for column, ratio in zip(columns, ratios, strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=25, help="of each client and round")
    parser.add_argument("--freeze", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    asyncio.run(run(given.rounds, given.clients, given.requests, given.freeze))
