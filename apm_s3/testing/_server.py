"""An S3 server for tests and the demo: moto, in a thread of this process, on a free port."""

from __future__ import annotations

import logging
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apm_s3.models import Credentials

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer


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
    # Otherwise it prints every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = _make_server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield EmbeddedServer(f"http://127.0.0.1:{server.port}")
    finally:
        # A program that ends without leaving the block: the server's thread no longer runs, and would never stop.
        if not sys.is_finalizing():
            server.shutdown()
            thread.join()
            server.server_close()


def _make_server() -> BaseWSGIServer:
    """Return what `moto.server.ThreadedMotoServer` runs, with one Server header in each response instead of two."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - an extra
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    class Handler(MotoRequestHandler):
        def send_response(self, code: int, message: str | None = None) -> None:
            # moto names itself. In Python's development mode, aiohttp refuses a response with two such headers.
            self.send_response_only(code, message)
            self.send_header("Date", self.date_time_string())

    return make_server(
        "127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Handler
    )
