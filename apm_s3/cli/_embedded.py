"""The S3 server that the demo brings along: moto, in a thread of this process, on a free port."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from apm_s3.models import Credentials

CREDENTIALS = Credentials("demo", "demo")
"""moto takes any."""


@contextmanager
def embedded_server() -> Iterator[str]:
    """The URL of a server that lives as long as the block.

    Raises:
        ImportError: the extra `demo` is not installed.
    """
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - only the demo without an endpoint needs it

    # It would print every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
