"""The store's fixtures; desks are those of tests/features."""

from tests.core.conftest import (
    database,
    kept_subscribed,
    shelf,
    subscribed_postgresql,
    subscribed_sqlite,
    witnessed_template,
    witnessed_url,
)
from tests.desk.fixtures import own_redis

__all__ = [
    "database",
    "kept_subscribed",
    "own_redis",
    "shelf",
    "subscribed_postgresql",
    "subscribed_sqlite",
    "witnessed_template",
    "witnessed_url",
]
