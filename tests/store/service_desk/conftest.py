"""The desk, for the tests of what it does."""

import pytest

from tests.store.service_desk.desks import desk_of
from tests.store.shelf import Shelf
from worker.features.service_desk.store.desk import ServiceDesk


@pytest.fixture
def desk(ona: Shelf) -> ServiceDesk:
    """The desk, half an hour after Ona's invitation was sent."""
    ona.clock.advance(minutes=30)
    return desk_of(ona)
