"""Servers of subscribers and brokers."""

from tests.desk.fixtures import own_redis
from tests.desk.listener import listen

__all__ = ["listen", "own_redis"]
