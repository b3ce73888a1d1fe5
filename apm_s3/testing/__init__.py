"""Helpers for tests of programs that use this library.

`MemoryObjects` is a bucket in memory for a `ConfigStore`, with failures to order; `embedded_server` is an S3 server in
this process. pytest has both as the fixtures `apm_s3_objects` and `apm_s3_server`.
"""

from apm_s3.testing._memory import MemoryObjects
from apm_s3.testing._server import EmbeddedServer, embedded_server

__all__ = ["EmbeddedServer", "MemoryObjects", "embedded_server"]
