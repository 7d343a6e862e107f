"""The fixtures of all tests of lists."""

from tests.domain.intake.conftest import read, refusal

__all__ = ["read", "refusal"]
