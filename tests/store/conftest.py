from collections.abc import Callable

import pytest

from worker.keyring import Keyring
from worker.store.database import Database

from .shelf import Shelf


@pytest.fixture
def shelf(database: Database, keyring: Keyring, clock: Callable) -> Shelf:
    return Shelf(database, keyring, clock)
