"""200 callers, cancelled at random, on connections that break at random: no caller gets the response of another."""

from __future__ import annotations

import random
import ssl
from pathlib import Path

import pytest
import trustme

from apm_s3.settings import RetrySettings, Timeouts
from tests.faults.crosstalk import WORKERS, Crowd
from tests.faults.server import FaultyS3
from tests.managers import make_manager
from tests.seams.s3 import VerifyingSettings

PATHS = [("signed", False), ("signed", True), ("boto", False), ("boto", True)]


@pytest.mark.parametrize(("path", "tls"), PATHS)
async def test_no_call_gets_the_response_of_another(path: str, tls: bool, tmp_path: Path) -> None:
    await _crowd(path, tls, tmp_path, 4 if path == "signed" else 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("path", "tls"), PATHS)
async def test_no_call_gets_the_response_of_another_in_many_calls(path: str, tls: bool, tmp_path: Path) -> None:
    await _crowd(path, tls, tmp_path, 200 if path == "signed" else 40)


async def _crowd(path: str, tls: bool, folder: Path, calls: int) -> None:
    seed = random.randrange(2**32)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    settings = VerifyingSettings(
        data_path=path,  # type: ignore[arg-type]
        max_concurrency=WORKERS // 2,
        verify=str(folder / "ca.pem") if tls else None,
        retry=RetrySettings(attempts=2, initial_delay=0.0, budget=1e9),
        timeouts=Timeouts(connect=20.0, read=20.0, deadline=60.0),
    )
    async with (
        FaultyS3(context if tls else None) as server,
        make_manager(server, settings) as s3,
    ):
        crowd = Crowd(server, s3, seed)
        await crowd.run(calls)
        in_use = s3.pool.stats().in_use
    assert not crowd.wrong, f"seed {seed}: {crowd.wrong[:10]}"
    assert crowd.ends["right"] > WORKERS * calls // 3, crowd.ends
    assert crowd.ends["cancelled"], crowd.ends
    assert in_use == 0
