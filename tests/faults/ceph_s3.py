"""Ceph's RADOS Gateway 18, as far as it differs from S3. Each difference was seen on the real one."""

from __future__ import annotations

from tests.faults.memory_s3 import MemoryS3, Refused, Request, Response, _xml

UNKNOWN_SETTINGS = ("ownershipControls", "metrics", "inventory", "accelerate", "intelligent-tiering")


class CephS3(MemoryS3):
    """The state of the gateway. Old versions are not kept, only their ids are given out.

    Attributes:
        completed: ids of uploads that were completed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.completed: set[str] = set()

    def versioned(self, bucket: str) -> bool:
        return b"Enabled" in self.settings.get((bucket, "versioning"), b"")

    def handle(self, request: Request) -> Response:
        response = super().handle(request)
        if request.operation == "GetBucket:publicAccessBlock" and response.status == 404:
            response.length = len(response.body)
            response.body += b"<PublicAccessBlockConfiguration></PublicAccessBlockConfiguration>"
        return response

    def _put_object(self, request: Request) -> Response:
        if (request.bucket, "publicAccessBlock") in self.settings:
            raise Refused(403, "AccessDenied")
        if (request.bucket, "encryption") in self.settings:
            raise Refused(400, "InvalidArgument")  # without a Vault
        headers = dict(request.headers)
        found = self.buckets[request.bucket].get(request.key)
        if_match = headers.pop("if-match", None)
        # In a versioned bucket it checks the version that is being written, which never exists.
        versioned = self.versioned(request.bucket)
        if if_match is not None and (versioned or found is None or if_match not in {"*", found.etag.strip('"')}):
            raise Refused(412, "PreconditionFailed")
        if versioned:
            headers.pop("if-none-match", None)
        response = super()._put_object(Request(request.method, request.target, _plus_is_plus(headers), request.body))
        if versioned:
            response.headers["x-amz-version-id"] = f"v{next(self._ids)}"
        return response

    def _delete_object(self, request: Request) -> Response:
        return super()._delete_object(_unconditional(request))

    def _copy_object(self, request: Request) -> Response:
        response = super()._copy_object(_unconditional(request))
        if request.headers.get("x-amz-metadata-directive") == "REPLACE":
            self.buckets[request.bucket][request.key].headers.pop("x-amz-tagging", None)
        return response

    def _complete_multipart_upload(self, request: Request) -> Response:
        upload_id = request.query["uploadId"]
        if upload_id in self.completed:
            return _xml("CompleteMultipartUploadResult", "<ETag></ETag>")
        response = super()._complete_multipart_upload(_unconditional(request))
        self.completed.add(upload_id)
        self.buckets[request.bucket][request.key].headers.pop("x-amz-tagging", None)
        return response

    def _get_object_tagging(self, request: Request) -> Response:
        response = super()._get_object_tagging(request)
        return response if b"<Tag>" in response.body else Response(200, {"content-type": "application/xml"})

    def _setting(self, request: Request, operation: str) -> Response:
        verb, _, name = operation.partition("Bucket:")
        if name not in UNKNOWN_SETTINGS:
            return super()._setting(request, operation)
        if verb == "Put":
            raise Refused(400, "InvalidArgument")  # of CreateBucket, for which it takes it
        return self._list_objects_v2(request)


def _unconditional(request: Request) -> Request:
    headers = {name: value for name, value in request.headers.items() if name not in {"if-match", "if-none-match"}}
    return Request(request.method, request.target, headers, request.body)


def _plus_is_plus(headers: dict[str, str]) -> dict[str, str]:
    return {name: value.replace("+", "%2B") if name == "x-amz-tagging" else value for name, value in headers.items()}
