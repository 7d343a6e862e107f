"""Each test has an empty directory, and a sandbox."""

from tests.desk.fixtures import bare, play, played

__all__ = ["bare", "play", "played"]
