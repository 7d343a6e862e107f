"""The desk and the store's fixtures, for the tests of what it does."""

import pytest

from tests.features.privacy.store.test_purge import purge, purging
from tests.features.service_desk.store.desks import desk_of
from tests.store.conftest import (
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
from tests.store.onboarding.test_in_review import ona as ona_in_review
from tests.store.onboarding.test_order_of_jobs import events, late, listed
from tests.store.shelf import Shelf
from tests.store.test_poison_rows import poison
from worker.features.service_desk.store.desk import ServiceDesk

__all__ = [
    "database",
    "decide",
    "events",
    "failover",
    "feed",
    "in_parallel",
    "kept_subscribed",
    "late",
    "listed",
    "ona",
    "ona_in_review",
    "poison",
    "post",
    "purge",
    "purging",
    "shelf",
    "subscribed_postgresql",
    "subscribed_sqlite",
    "witnessed_template",
    "witnessed_url",
]


@pytest.fixture
def desk(ona: Shelf) -> ServiceDesk:
    """The desk, half an hour after Ona's invitation was sent."""
    ona.clock.advance(minutes=30)
    return desk_of(ona)
