"""The fixtures of all tests of lists."""

from tests.lists.conftest import read, refusal

__all__ = ["read", "refusal"]
