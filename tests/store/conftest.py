from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from worker.keyring import Keyring
from worker.store.database import Database

from .shelf import Shelf


@pytest.fixture
def shelf(database: Database, keyring: Keyring, clock: Callable) -> Shelf:
    return Shelf(database, keyring, clock)


@pytest.fixture
def beside() -> Callable:
    """Calls the same thing in several threads at once; what each answered."""

    def run(call: Callable[[], Any], *, times: int) -> list[Any]:
        with ThreadPoolExecutor(times) as threads:
            return [done.result() for done in [threads.submit(call) for _ in range(times)]]

    return run
