"""Objects of more than 5 GiB, which S3 copies only in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from apm_s3.migration import migrate, plan_migration
from apm_s3.settings import TransferSettings
from tests.migration.giants import GIB, Giants
from tests.migration.places import SOURCE, TARGET, Place, open_place

SIZE, PART = 6 * GIB + 5, GIB // 2
HEADERS = {"x_amz_meta_of": "us", "x_amz_tagging": "kind=test", "content_type": "text/x"}


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    """A server, and a manager that copies in larger parts than the source has."""
    async with open_place(settings={"transfer": TransferSettings(part_size=GIB)}) as place:
        yield place


def copied(giants: Giants) -> list[tuple[int, int]]:
    """The ranges of the only upload."""
    [parts] = giants.ranges.values()
    return [parts[number] for number in sorted(parts)]


@pytest.mark.parametrize("tells_parts", [True, False])
async def test_a_giant_is_copied_in_parts_that_sum_up_to_it_with_metadata_and_tags(
    one: Place, tells_parts: bool
) -> None:
    giants = Giants(one, tells_parts=tells_parts)
    giants.put("team/giant", SIZE, PART, **HEADERS)
    one.put("team/small")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert (report.moved, report.verified, report.failures, report.bytes) == (2, 2, (), SIZE + 4)
    ranges = copied(giants)
    assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
    assert ranges[-1][1] == SIZE
    # The source's own parts, so that the ETags are the same; otherwise those of the settings.
    assert ranges[0][1] == (PART if tells_parts else GIB)
    ours = one.server.s3.buckets["source"]["team/giant"]
    theirs = one.server.s3.buckets["target"]["copy/giant"]
    assert (ours.etag == theirs.etag) is tells_parts
    assert ours.headers == theirs.headers
    assert one.arrived("CopyObject") == 2  # of the small object, and of the probe


@pytest.mark.parametrize(
    ("dropped", "told"), [("x-amz-tagging", "dropped the tags kind"), ("x-amz-meta-of", "metadata")]
)
async def test_a_server_that_drops_something_of_a_copy_in_parts_is_found_out(
    one: Place, dropped: str, told: str
) -> None:
    giants = Giants(one, tells_parts=True, drops=dropped)
    giants.put("team/giant", SIZE, PART, **HEADERS)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert [failure.key for failure in report.failures] == ["giant"]
    assert told in report.failures[0].error


async def test_a_server_that_damages_a_copy_in_parts_is_found_out(one: Place) -> None:
    giants = Giants(one, tells_parts=True, damages=True)
    giants.put("team/giant", SIZE, PART, **HEADERS)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert [failure.key for failure in report.failures] == ["giant"]
    assert "different content" in report.failures[0].error


async def test_an_object_of_parts_is_copied_again_in_its_parts_if_nothing_else_can_be_compared(one: Place) -> None:
    giants = Giants(one, tells_parts=True, checksums=False)
    giants.put("team/large", 4 * GIB, PART, **HEADERS)

    # S3 gives a copy in one request the ETag of its content, and our own copy may be replaced.
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, if_exists="fail")

    assert (report.moved, report.verified, report.failures) == (1, 1, ())
    assert copied(giants)[-1] == (4 * GIB - PART, 4 * GIB)
    ours, theirs = one.server.s3.buckets["source"]["team/large"], one.server.s3.buckets["target"]["copy/large"]
    assert (ours.etag, ours.headers) == (theirs.etag, theirs.headers)


async def test_a_giant_may_not_replace_an_object_of_its_name(one: Place) -> None:
    giants = Giants(one, tells_parts=True)
    giants.put("team/giant", SIZE, PART)
    one.put("copy/giant", bucket="target")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, if_exists="fail")

    assert report.failed == 1
    assert one.stored()["giant"] == b"body"


async def test_the_plan_counts_the_parts_of_a_giant(one: Place) -> None:
    giants = Giants(one, tells_parts=True)
    giants.put("team/giant", SIZE, PART)

    plan = await plan_migration(SOURCE, TARGET, source_s3=one.s3)

    assert plan.bytes_to_move == SIZE
    assert plan.estimate.requests["PUT, COPY, POST, LIST"] > SIZE // GIB
