"""The targets of our events, against a good server and those that they must not talk to."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from onboarding_worker.features.outbox.outbox_publisher import build_targets
from onboarding_worker.settings.model import Settings
from tests.conftest import NOON
from tests.events.outgoing import event
from tests.runtime.test_every_connection import (
    AMQP,
    OVER_AMQP,
    OVER_REDIS,
    REDIS,
    SERVERS,
    Client,
    closes_before_its_loop_ends,
    talks_to_the_right_server_only,
)

STREAM = f"tls-test-{uuid.uuid4().hex[:12]}"
NO_DECLARING = 'exchange = "amq.topic"\ndeclare = false'


def as_publisher(settings: Settings) -> str:
    (target,) = build_targets(settings).values()
    try:
        (reply,) = target.publish([event(1)], clock=lambda: NOON, goes_on=lambda: True)
    finally:
        target.close()
    return reply.problem.detail if reply.problem else ""


SUBSCRIBER = Client("subscribers.crm", "https://localhost:{port}", as_publisher, more='keys = [{ env = "KEY" }]')
CLIENTS = {
    "RabbitMQ": Client("bus", OVER_AMQP, as_publisher, speaking=AMQP, more=NO_DECLARING),
    "Redis": Client("bus", OVER_REDIS, as_publisher, speaking=REDIS, more=f'exchange = "{STREAM}"'),
    "subscriber": SUBSCRIBER,
}


@pytest.fixture(scope="module", autouse=True)
def services(amqp_url: str, redis_url: str) -> Iterator[None]:
    yield
    with redis.Redis.from_url(REDIS) as client:
        client.delete(STREAM)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_publisher_talks_to_the_right_server_only(client: str, server: str, tmp_path: Path) -> None:
    if client == "subscriber" and server == "asks for a certificate":
        return  # it presents none
    talks_to_the_right_server_only(CLIENTS[client], server, tmp_path)


def test_a_connection_to_a_subscriber_is_closed_before_its_loop_ends_also_by_a_slow_server(tmp_path: Path) -> None:
    closes_before_its_loop_ends(SUBSCRIBER, tmp_path)
