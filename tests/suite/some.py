"""A loop over what was found says nothing if nothing was found."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def some(found: Iterable[T]) -> list[T]:
    """What was found; fails if that is nothing."""
    listed = list(found)
    assert listed, "nothing was found that the test could look at"
    return listed
