"""Where ranges of keys are split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.seams.migration import alphabet_of, ends, middle, width

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(TEXT, TEXT, TEXT)
def test_a_cut_lies_strictly_between_two_keys(one: str, other: str, seen: str) -> None:
    low, high = sorted([one, other])
    place = middle(low, high, alphabet_of([seen]))
    assert place is None or low < place < high
    if place is not None:
        place.encode()


def test_numbered_keys_are_halved_in_a_few_steps() -> None:
    keys = [f"obj-{number:07}" for number in range(1, 10_000)]
    place = middle(keys[999], "obj-0010000", alphabet_of(keys[:1000]))
    assert place is not None
    assert 0.2 < sum(key <= place for key in keys[1000:]) / 9000 < 0.8


def test_the_last_of_unknown_keys_is_searched_from_near_to_far() -> None:
    assert ends("obj-0001", "obj-0999") == [
        "obj-0\x7f", "obj-\x7f", "obj\x7f", "ob\x7f", "o\x7f", "\x7f"
    ]  # fmt: skip


def test_a_range_is_estimated_to_be_wider_than_its_parts() -> None:
    letters = "abcdef"
    assert width("a", None, letters) > width("a", "f", letters) > width("b", "e", letters) > width("b", "ba", letters)
