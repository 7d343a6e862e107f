"""The desk and the store's fixtures, for the tests of what it does."""

import pytest

from onboarding_worker.features.service_desk.store.desk import ServiceDesk
from tests.core.rows.test_in_review import ona as ona_in_review
from tests.core.rows.test_poison_rows import poison
from tests.features.privacy.store.test_purge import purge, purging
from tests.features.service_desk.store.desks import desk_of
from tests.lists.store.test_order_of_jobs import events, late, listed
from tests.stored.shelf import Shelf

__all__ = ["events", "late", "listed", "ona_in_review", "poison", "purge", "purging"]


@pytest.fixture
def desk(ona: Shelf) -> ServiceDesk:
    """The desk, half an hour after Ona's invitation was sent."""
    ona.clock.advance(minutes=30)
    return desk_of(ona)
