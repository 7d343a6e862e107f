"""The clock of tests that run without a simulated world."""

from tests.conftest import clock

__all__ = ["clock"]
