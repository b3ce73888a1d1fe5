"""Objects of a server in memory that seem to have gigabytes: it tells their sizes, and holds a few bytes of each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from tests.faults.memory_s3 import Request, Response, StoredObject, error_response
from tests.faults.server import Exchange
from tests.migration.places import Place

GIB = 1024**3
BODY = b"a giant's"
_LARGEST = 5 * GIB
"""Of one copy, and of one part: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""


class Giants:
    """Objects that seem large.

    Attributes:
        sizes: what the server tells, by bucket and key.
        ranges: what has been copied into the parts of each upload.
        tells_parts: whether HEAD tells the size of a part.
        drops: a header that completed uploads lose.
        damages: whether completed uploads hold other content than their parts.
        checksums: whether it tells checksums of whole objects.
    """

    def __init__(
        self, place: Place, *, tells_parts: bool, drops: str = "", damages: bool = False, checksums: bool = True
    ) -> None:
        self._place = place
        self._part_size = 0
        self.sizes: dict[tuple[str, str], int] = {}
        self.ranges: dict[str, dict[int, tuple[int, int]]] = {}
        self.tells_parts = tells_parts
        self.drops = drops
        self.damages = damages
        self.checksums = checksums
        place.server.will(self._respond, times=None)

    def put(self, key: str, size: int, part_size: int, **headers: str) -> None:
        """Store an object that was uploaded in parts."""
        count = -(-size // part_size)
        etag = hashlib.md5(hashlib.md5(BODY).digest() * count).hexdigest()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._place.server.s3.buckets["source"][key] = StoredObject(BODY, named, f'"{etag}-{count}"')
        self._part_size = part_size
        self.sizes["source", key] = size

    async def _respond(self, exchange: Exchange) -> None:
        request = exchange.request
        refused = request.operation == "CopyObject" and self.sizes.get(self._source(request), 0) > _LARGEST
        if refused:
            message = (
                f"The specified copy source is larger than the maximum allowable size for a copy source: {_LARGEST}"
            )
            exchange.send(error_response(400, "InvalidRequest", message))
            return
        # Each part holds all of the few bytes.
        headers = {name: value for name, value in request.headers.items() if name != "x-amz-copy-source-range"}
        exchange.request = replace(request, headers=headers)
        # It forgets what it drops at any time.
        forgets = self.drops == "x-amz-tagging" and request.operation == "PutObjectTagging"
        response = Response(200) if forgets else exchange.carry_out()
        if response.status < 300:
            self._pretend(request, response)
        exchange.send(response)

    def _pretend(self, request: Request, response: Response) -> None:
        match request.operation:
            case "HeadObject" if (size := self.sizes.get((request.bucket, request.key))) is not None:
                asked_part = "partNumber" in request.query
                response.length = self._part_size if asked_part and self.tells_parts else size
                if not self.checksums:
                    return
                damaged = self.damages and request.bucket == "target"
                response.headers["x-amz-checksum-crc64nvme"] = "AAAAAAAAAAI=" if damaged else "AAAAAAAAAAE="
                response.headers["x-amz-checksum-type"] = "FULL_OBJECT"
            case "CopyObject" if (size := self.sizes.get(self._source(request))) is not None:
                self.sizes[request.bucket, request.key] = size
            case "ListObjectsV2":
                for (bucket, _), size in self.sizes.items():
                    if bucket == request.bucket:
                        response.body = response.body.replace(b"<Size>%d</Size>" % len(BODY), b"<Size>%d</Size>" % size)
            case "UploadPartCopy":
                found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["x-amz-copy-source-range"])
                assert found is not None
                parts = self.ranges.setdefault(request.query["uploadId"], {})
                parts[int(request.query["partNumber"])] = (int(found[1]), int(found[2]) + 1)
            case "CompleteMultipartUpload":
                self._complete(request.bucket, request.key, self.ranges[request.query["uploadId"]])

    def _complete(self, bucket: str, key: str, parts: dict[int, tuple[int, int]]) -> None:
        made = self._place.server.s3.buckets[bucket][key]
        made.body = BODY
        made.headers = {name: value for name, value in made.headers.items() if name != self.drops}
        if self.damages:
            made.etag = f'"{hashlib.md5(key.encode()).hexdigest()}-{len(parts)}"'
        self.sizes[bucket, key] = sum(stop - start for start, stop in parts.values())

    def _source(self, request: Request) -> tuple[str, str]:
        bucket, _, key = request.headers["x-amz-copy-source"].lstrip("/").partition("/")
        return bucket, key
