"""The fixtures of rows in a database."""

from tests.core.conftest import (
    database,
    decide,
    failover,
    feed,
    in_parallel,
    kept_subscribed,
    ona,
    post,
    shelf,
    subscribed_postgresql,
    subscribed_sqlite,
    witnessed_template,
    witnessed_url,
)

__all__ = [
    "database",
    "decide",
    "failover",
    "feed",
    "in_parallel",
    "kept_subscribed",
    "ona",
    "post",
    "shelf",
    "subscribed_postgresql",
    "subscribed_sqlite",
    "witnessed_template",
    "witnessed_url",
]
