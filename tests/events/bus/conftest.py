from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from onboarding_worker.events.bus.sources import events_of
from onboarding_worker.runtime.bus_consumers import link_to
from tests.events.bus.brokers import a_bus, broker_of
from tests.events.bus.consuming import FakeInbox, log_of_the_bus


@pytest.fixture
def inbox() -> FakeInbox:
    return FakeInbox()


@pytest.fixture(params=["amqp", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bus_url(request: pytest.FixtureRequest, kind: str) -> str:
    return str(request.getfixturevalue(f"{kind}_url"))


@pytest.fixture
def make_broker(caplog: Any) -> Iterator[Callable[..., Any]]:
    """Makes buses of the test's own, declared, on the broker of a URL; all are removed at the end."""
    log_of_the_bus(caplog)
    with ExitStack() as stack:

        def make(url: str, *, declared: bool = True, **more: Any) -> Any:
            broker = broker_of(a_bus(url, **more))
            stack.callback(broker.clean)
            if declared:
                source = events_of(broker.bus)
                with link_to(source, 1, pytest.fail):
                    pass
            return broker

        yield make


@pytest.fixture
def broker(make_broker: Callable[..., Any], bus_url: str) -> Any:
    """A bus on RabbitMQ, and one on Redis."""
    return make_broker(bus_url)
