"""Servers of subscribers that end with their test."""

from collections.abc import Callable, Iterator

import pytest

from tests.desk.fixtures import own_redis
from tests.publishers.listener import Handler, Listener

__all__ = ["own_redis"]


@pytest.fixture
def listen() -> Iterator[Callable[[Handler], Listener]]:
    made: list[Listener] = []

    def start(answer: Handler) -> Listener:
        made.append(Listener(answer))
        return made[-1]

    yield start
    for listener in made:
        listener.close()
