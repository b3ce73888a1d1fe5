"""The ways to S3 below a manager: our own signed connections, aiobotocore's clients, routes, and credentials."""

from __future__ import annotations

import pytest

from apm_s3._redaction import redacted
from apm_s3._s3.transports.base import Endpoint, ObjectTransport, RawPage
from apm_s3._s3.transports.boto import errors as botocore_errors
from apm_s3._s3.transports.boto.client import Resigner
from apm_s3._s3.transports.boto.errors import Redaction, redact_logs
from apm_s3._s3.transports.clients import Clients, Clock, CredentialProvider
from apm_s3._s3.transports.expectations import check_object, check_status
from apm_s3._s3.transports.routes import (
    Origin,
    PlainTarget,
    Route,
    is_custom,
    learn_route,
    plain_credentials,
    plain_endpoint,
    plain_route,
    plain_target,
    route_of,
)
from apm_s3._s3.transports.signed import connections as _connections
from apm_s3._s3.transports.signed.checksum_probe import EVERYTHING
from apm_s3._s3.transports.signed.connection import Connection, ConnectionBroken, Stalls
from apm_s3._s3.transports.signed.connections import KEEPALIVE, Connections, Lane, default_bundle, dial
from apm_s3._s3.transports.signed.payloads import Payload, payload_of_stream
from apm_s3._s3.transports.signed.requests import Request
from apm_s3._s3.transports.signed.sender import _send as send_request
from apm_s3._s3.transports.signed.sender import _watched as watched_body
from apm_s3._s3.transports.transport import Transport as SignedTransport
from apm_s3.models._objects import PartInfo, Stream
from apm_s3.options._writes import HashedUpload


class BotoTransport(SignedTransport):
    """The transport that sends everything through aiobotocore."""

    def __init__(self, clients: Clients) -> None:
        super().__init__(clients, signed=False)


def keep_idle_connections(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Close connections that have been idle for `seconds`."""
    monkeypatch.setattr(_connections, "KEEPALIVE", seconds)
