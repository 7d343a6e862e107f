"""Builds the targets that a configuration names."""

from worker.core.model.published_events import BUS, SUBSCRIBER
from worker.features.outbox.publishers.bus import AmqpBus
from worker.features.outbox.publishers.contract import Target
from worker.features.outbox.publishers.stream import RedisStream
from worker.features.outbox.publishers.subscriber import HttpSubscriber
from worker.features.outbox.section import Subscriber
from worker.settings.model import Settings


def build_targets(settings: Settings) -> dict[str, Target]:
    """The targets by the names in the outbox's rows. Opens no connection."""
    targets: dict[str, Target] = {}
    bus = settings.bus
    if bus is not None and bus.url.startswith("redis"):
        targets[BUS] = RedisStream(bus.url, bus.exchange, tls=bus.protection)
    elif bus is not None:
        targets[BUS] = AmqpBus(bus.url, bus.exchange, declare=bus.declare, tls=bus.protection)
    for name, subscriber in settings.named(Subscriber).items():
        targets[f"{SUBSCRIBER}{name}"] = HttpSubscriber(subscriber.url, subscriber.keys, tls=subscriber.protection)
    return targets
