"""Cold start: seconds from `python` to the first answered request, of each client, and over an empty `python`.

    nox -s benchmarks -- cold_start [--rounds 9] [client ...]

Each start is a process of its own: import, make the client, read one small object from SeaweedFS. The clients take
turns, medians are printed. Bytecode is compiled by a first start that is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import servers
from benchmarks.clients import KEY_ID, REGION, SECRET, Bare
from benchmarks.report import Table, show

ROOT = Path(__file__).parents[1]
BUCKET, KEY, CONTENT = "benchmark", "small", "content"

PROGRAMS = {
    "python": "print('content')",
    "asyncio": "import asyncio, sys\nasyncio.run(asyncio.sleep(0))\nprint('content')",
    "apm_s3": """
import asyncio
from apm_s3 import Credentials, S3Manager

async def main():
    async with S3Manager(region=region, endpoint_url=endpoint, credentials=Credentials(key_id, secret)) as s3:
        print((await s3.read_file(bucket, key)).decode(), flush=True)

asyncio.run(main())
""",
    "boto3": """
import boto3
s3 = boto3.client("s3", region_name=region, endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret)
print(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(), flush=True)
""",
    "aiobotocore": """
import asyncio
from aiobotocore.session import get_session

async def main():
    async with get_session().create_client("s3", region_name=region, endpoint_url=endpoint, aws_access_key_id=key_id,
                                           aws_secret_access_key=secret) as s3:
        answer = await s3.get_object(Bucket=bucket, Key=key)
        print((await answer["Body"].read()).decode(), flush=True)

asyncio.run(main())
""",
    "obstore": """
import asyncio
from obstore.store import S3Store

async def main():
    s3 = S3Store(bucket, region=region, endpoint=endpoint, access_key_id=key_id, secret_access_key=secret,
                 client_options={"allow_http": True})
    print(bytes(await (await s3.get_async(key)).bytes_async()).decode(), flush=True)

asyncio.run(main())
""",
}
ARGUMENTS = "import sys\nregion, endpoint, key_id, secret, bucket, key = sys.argv[1:]\n"


def start(name: str, endpoint: str, environment: dict[str, str]) -> float:
    """Seconds until a new process has read the object."""
    program = PROGRAMS[name] if name == "python" else ARGUMENTS + PROGRAMS[name]
    command = [sys.executable, "-c", program, REGION, endpoint, KEY_ID, SECRET, BUCKET, KEY]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != f"{CONTENT}\n":
            raise RuntimeError(f"{name} does not read what was written")
        return time.perf_counter() - began


async def prepare(endpoint: str) -> None:
    """The bucket and the object."""
    bare = Bare(endpoint, BUCKET)
    await bare.open()
    await bare.send("PUT", "")
    await bare.put(KEY, CONTENT.encode())
    await bare.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", default=list(PROGRAMS), metavar="client")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    names = list(dict.fromkeys(["python", *arguments.clients]))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with servers.start("seaweedfs") as endpoint, tempfile.TemporaryDirectory() as folder:
        asyncio.run(prepare(endpoint))
        # Nothing of this machine's configuration, nor of its habit of writing bytecode or not.
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        for turn in range(arguments.rounds + 1):
            for name in names:
                taken = start(name, endpoint, environment)
                if turn:
                    seconds[name].append(taken)
    empty = statistics.median(seconds["python"])
    medians = {name: statistics.median(seconds[name]) for name in sorted(names, key="apm_s3".__ne__)}
    columns = ("seconds", "over an empty Python")
    rows = {name: (median, median - empty) for name, median in medians.items()}
    note = f"From starting Python to the first object read; medians of {arguments.rounds} starts."
    show(Table("Cold start", "Seconds; less is better", columns, rows, ratios=True, plotted=columns[:1], note=note))


if __name__ == "__main__":
    main()
