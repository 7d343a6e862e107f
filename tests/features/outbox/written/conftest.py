"""The store's fixtures."""

from tests.core.conftest import (
    database,
    feed,
    in_parallel,
    kept_subscribed,
    ona,
    shelf,
    subscribed_postgresql,
    subscribed_sqlite,
    witnessed_template,
    witnessed_url,
)

__all__ = [
    "database",
    "feed",
    "in_parallel",
    "kept_subscribed",
    "ona",
    "shelf",
    "subscribed_postgresql",
    "subscribed_sqlite",
    "witnessed_template",
    "witnessed_url",
]
