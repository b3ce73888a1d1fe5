"""`override` for Python 3.11, whose typing lacks it: https://docs.python.org/3/library/typing.html#typing.override."""

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override
elif sys.version_info >= (3, 12):
    from typing import override
else:
    _Method = TypeVar("_Method")

    def override(method: _Method) -> _Method:
        """Mark a method that replaces one of a base class."""
        return method


__all__ = ["override"]
