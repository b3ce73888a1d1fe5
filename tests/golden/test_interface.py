"""The help, the documents of commands, the OpenAPI document and the texts of errors are those of the golden files."""

import pytest

from tests.golden import FOLDER
from tests.golden.interface import FILES


@pytest.mark.parametrize("name", FILES)
def test_what_callers_see_is_as_before(name: str) -> None:
    assert FILES[name]() == (FOLDER / name).read_text("utf-8"), "python -m tests.golden.interface writes it anew"
