"""Builds the targets that a configuration names."""

from worker.core.model.published_events import BUS, SUBSCRIBER
from worker.features.outbox.publishers.bus import AmqpBus
from worker.features.outbox.publishers.contract import Target
from worker.features.outbox.publishers.stream import RedisStream
from worker.features.outbox.publishers.subscriber import HttpSubscriber
from worker.settings.model import Settings
from worker.settings.problems import SettingsError


def build_targets(settings: Settings) -> dict[str, Target]:
    """The targets by the names in the outbox's rows. Opens no connection. Raises SettingsError."""
    targets: dict[str, Target] = {}
    bus = settings.bus
    if bus is not None and bus.url.startswith("redis"):
        targets[BUS] = RedisStream(bus.url, bus.exchange, tls=bus.protection)
    elif bus is not None and bus.url.startswith("amqp"):
        targets[BUS] = AmqpBus(bus.url, bus.exchange, declare=bus.declare, tls=bus.protection)
    elif bus is not None:
        raise SettingsError(["bus.url: expected amqp://…, amqps://…, redis://… or rediss://…"])
    for name, subscriber in settings.subscribers.items():
        targets[f"{SUBSCRIBER}{name}"] = HttpSubscriber(subscriber.url, subscriber.keys, tls=subscriber.protection)
    return targets
