"""The store's fixtures."""

from tests.core.conftest import (
    database,
    kept_subscribed,
    shelf,
    subscribed_postgresql,
    subscribed_sqlite,
    witnessed_template,
    witnessed_url,
)

__all__ = [
    "database",
    "kept_subscribed",
    "shelf",
    "subscribed_postgresql",
    "subscribed_sqlite",
    "witnessed_template",
    "witnessed_url",
]
