"""Listings in ranges find every key once, whatever the server's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apm_s3.errors import IntegrityError
from apm_s3.migration import MigrationOptions
from apm_s3.models import FileInfo, ListPage
from tests.migration.listings import KeyServer
from tests.migration.stubs import side
from tests.seams.migration import Checkpoints, Journal, Listing, S3Place, Source, Span


class Seen:
    """The keys that a listing found since it last restarted."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def take(self, files: Sequence[FileInfo]) -> None:
        self.keys += [info.key for info in files]

    async def again(self) -> None:
        self.keys.clear()


async def listed(server: KeyServer, *, ordered: bool | None, **bounds: str | None) -> list[str]:
    seen = Seen()
    await Listing(server, "bucket", "", Checkpoints(seen.take, seen.again), ordered=ordered, **bounds).run()
    return sorted(seen.keys)


@pytest.mark.parametrize("ordered", [True, None])
async def test_a_flat_prefix_is_listed_in_parallel_ranges_of_similar_size(ordered: bool | None) -> None:
    keys = [f"obj-{number:07}" for number in range(20_000)]
    server = KeyServer(keys, page=100)

    assert await listed(server, ordered=ordered) == keys
    assert server.most >= 8
    assert server.requests["page"] <= 240
    assert server.requests["probe"] <= 200


async def test_a_server_that_lists_folder_by_folder_loses_no_key() -> None:
    keys = [f"{number:04}" for number in range(2000)] + ["0500/a", "0500-b", "0500.c", "0501/x/y", "05"]
    server = KeyServer(keys, folder_by_folder=True, page=50)

    assert await listed(server, ordered=None) == sorted(keys)


@example(["a", ".", "-", "aa", "a/", "a.", ".b", "ba", "aaa", "aaaa"], None)
@given(st.lists(st.text("ab/-.", min_size=1, max_size=6), unique=True, max_size=60), st.sampled_from([None, False]))
async def test_every_key_is_found_on_a_server_with_an_unknown_order(keys: list[str], ordered: bool | None) -> None:
    server = KeyServer(keys, folder_by_folder=True, page=3)
    assert await listed(server, ordered=ordered) == sorted(keys)


@given(st.sets(st.text(max_size=5).filter(lambda key: key and "\0" not in key), max_size=60))
async def test_every_key_is_found_once_on_a_server_with_the_order_of_s3(keys: set[str]) -> None:
    assert await listed(KeyServer(sorted(keys), page=3), ordered=True) == sorted(keys)


@pytest.mark.parametrize("folder_by_folder", [True, False])
async def test_a_listing_can_be_limited_by_bounds(folder_by_folder: bool) -> None:
    keys = [f"{number:03}" for number in range(300)] + ["100/a", "100-b"]
    server = KeyServer(keys, folder_by_folder=folder_by_folder, page=20)
    found = await listed(server, ordered=None, start="050", stop="100/a")
    assert found == sorted(key for key in keys if "050" < key <= "100/a")


async def test_a_listing_resumes_at_its_checkpoints() -> None:
    keys = [f"{number:03}" for number in range(100)]

    class Halfway(Checkpoints):
        async def spans(self) -> list[Span]:
            return [Span(1, "049", "059"), Span(2, "089", None)]

    seen = Seen()
    await Listing(KeyServer(keys), "bucket", "", Halfway(seen.take, seen.again), ordered=True).run()
    assert sorted(seen.keys) == keys[50:60] + keys[90:]


async def test_an_interrupted_listing_goes_on_after_the_last_key_in_the_journal(tmp_path: Path) -> None:
    keys = [f"{number:04}" for number in range(2000)]

    class Breaking(KeyServer):
        """Lists six pages."""

        async def list_files(self, *arguments: Any, **options: Any) -> ListPage:
            if self.requests["page"] == 6:
                raise OSError("the connection broke")
            return await super().list_files(*arguments, **options)

    class Noting(KeyServer):
        """Notes where pages begin."""

        begun: ClassVar[set[str | None]] = set()

        async def list_files(self, *arguments: Any, **options: Any) -> ListPage:
            if options.get("max_keys") != 1 and options.get("token") is None:
                self.begun.add(options.get("start_after"))
            return await super().list_files(*arguments, **options)

    async def listed_into(journal: Journal, server: KeyServer) -> None:
        source = Source(
            journal, MigrationOptions(), S3Place("source", ""), as_files=False, as_root=True, on_found=lambda *_: None
        )
        await source.run(side(server, "source"), (None, None))

    async with Journal(tmp_path / "journal", {}) as journal:
        with pytest.raises(OSError, match="broke"):
            await listed_into(journal, Breaking(keys, page=100))
        spans = await journal.do(lambda store: store.spans())
        rows = await journal.do(lambda store: store.pending(0, 9999))
    known = {row.key for row in rows}
    begun = {span.after: span.upto for span in spans if span.after in known}
    assert begun
    assert 0 < len(known) <= 600
    for place, upto in begun.items():
        following = keys[keys.index(str(place)) + 1]
        assert following not in known or (upto is not None and following > upto)
    server = Noting(keys, page=100)
    async with Journal(tmp_path / "journal", {}) as journal:
        await listed_into(journal, server)
        rows = await journal.do(lambda store: store.pending(0, 9999))
    assert sorted(row.key for row in rows) == keys
    assert begun.keys() <= server.begun


async def test_a_key_outside_of_the_prefix_is_refused() -> None:
    with pytest.raises(IntegrityError, match="outside of the prefix 'team/'"):
        await Listing(
            KeyServer(["other"]), "bucket", "team/", Checkpoints(Seen().take, Seen().again), ordered=True
        ).run()


async def test_a_circular_listing_ends() -> None:
    class Circle(KeyServer):
        async def list_files(self, bucket: str, prefix: str = "", **_: object) -> ListPage:
            return ListPage((FileInfo("bucket", "a", 1),), next_token="again")

    with pytest.raises(IntegrityError):
        await listed(Circle([]), ordered=False)
