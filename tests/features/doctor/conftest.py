"""Each test has a directory with a configuration, and a sandbox beside it."""

from tests.desk.fixtures import bare, desk, desk_at, own_redis, play, played

__all__ = ["bare", "desk", "desk_at", "own_redis", "play", "played"]
