"""An S3 server for tests and the demo: moto, in a thread of this process, on a free port."""

from __future__ import annotations

import logging
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from apm_s3.models import Credentials


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. It accepts any credentials, and does not check signatures or checksums."""

    endpoint_url: str
    credentials: Credentials = field(default_factory=lambda: Credentials("test", "test"))
    region: str = "us-east-1"

    def reset(self) -> None:
        """Remove every bucket."""
        request = urllib.request.Request(f"{self.endpoint_url}/moto-api/reset", data=b"", method="POST")  # noqa: S310
        with urllib.request.urlopen(request):  # noqa: S310 - our own server's address
            pass


@contextmanager
def embedded_server() -> Iterator[EmbeddedServer]:
    """Run a server for the duration of the block.

    Raises:
        ImportError: the extra `testing` is not installed.
    """
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an extra

    # Otherwise it prints every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield EmbeddedServer(f"http://{host}:{port}")
    finally:
        # A program that ends without leaving the block: the server's thread no longer runs, and would never stop.
        if not sys.is_finalizing():
            server.stop()
