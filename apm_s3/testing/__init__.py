"""Helpers for testing programs that use this library.

`MemoryObjects` is an in-memory bucket for a `ConfigStore` that can simulate failures; `embedded_server` runs an S3
server in this process. Both are pytest fixtures: `apm_s3_objects` and `apm_s3_server`.
"""

from apm_s3.testing._memory import MemoryObjects
from apm_s3.testing._server import EmbeddedServer, embedded_server

__all__ = ["EmbeddedServer", "MemoryObjects", "embedded_server"]
