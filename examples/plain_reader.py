"""Read a store without apm_s3, following docs/stored-format.md: verify every current file, and print the log.

python plain_reader.py BUCKET ENVIRONMENT
"""

import gzip
import hashlib
import json
import os
import sys
from itertools import pairwise
from typing import Any

import boto3

S3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))


def read(bucket: str, key: str, sha256: str | None = None) -> bytes:
    """Read an object, and verify its SHA-256 if one is given."""
    body: bytes = S3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
        sys.exit(f"{key} is not what was stored")
    return body


def print_files(bucket: str, environment: str, current: dict[str, Any]) -> None:
    """Verify and print the current files of each tool."""
    for tool, state in current["tools"].items():
        release = json.loads(read(bucket, state["release"]["key"], state["release"]["sha256"]))
        for name, file in release["files"].items():
            blob = read(bucket, f"configs/{environment}/{tool}/blobs/{file['blob']}")
            content = gzip.decompress(blob) if file["encoding"] == "gzip" else blob
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                sys.exit(f"{tool}/{name} is not what was stored")
            print("file", tool, release["revision"], name, file["size"], file["sha256"])


def print_log(bucket: str, log: dict[str, Any]) -> None:
    """Verify and print the entries of the log, newest first."""
    entries, part = log["entries"], log["stored"]
    while part is not None and part["last"] >= log["oldest"]:
        stored = json.loads(read(bucket, part["key"], part["sha256"]))
        entries = [entry for entry in stored["entries"] if not entries or entry["seq"] < entries[0]["seq"]] + entries
        part = stored["before"]
    for older, newer in pairwise(entries):
        text = json.dumps(older, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if newer["prev"] != hashlib.sha256(text.encode()).hexdigest():
            sys.exit(f"log entry {older['seq']} was changed")
    for entry in reversed(entries):
        print("log", entry["seq"], entry["at"], entry["action"], entry.get("author"), entry.get("tools", {}))


def main(bucket: str, environment: str) -> None:
    """Print the current files of an environment, then its log."""
    current = json.loads(read(bucket, f"configs/{environment}/current.json"))
    if current["format"] > 2 or current.get("features"):
        sys.exit(f"a newer version is needed: {current.get('needs')}, {current.get('features')}")
    print_files(bucket, environment, current)
    if "log" in current:
        print_log(bucket, current["log"])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(sys.argv[1], sys.argv[2])
    else:
        print(__doc__)
