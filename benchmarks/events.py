"""Publishes a benchmark's events to RabbitMQ with a client that is not ours, as other systems do."""

import json
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pika

QUEUE = "onboarding.requests"  # the exchange that producers publish to has the same name


class Feeder:
    """Publishes sign-ups, one after the other, each confirmed."""

    def __init__(self, broker: str) -> None:
        # kombu reads "//" as the virtual host "/"; pika reads it as no virtual host.
        self._connection = pika.BlockingConnection(pika.URLParameters(broker.removesuffix("//") + "/%2F"))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def publish(self, customer_id: str, email: str) -> None:
        """Publish the customer's sign-up. Returns after the broker has confirmed it."""
        event: dict[str, Any] = {
            "specversion": "1.0",
            "type": "onboarding.requested",
            "source": "/benchmark",
            "id": customer_id,
            "time": datetime.now(UTC).isoformat(),  # noqa: TID251 -- another system's clock
            "data": {"customer_id": customer_id, "email": email, "country": "DE"},
        }
        properties = pika.BasicProperties(
            content_type="application/cloudevents+json", delivery_mode=pika.DeliveryMode.Persistent
        )
        self._channel.basic_publish(QUEUE, "onboarding.requested", json.dumps(event), properties, mandatory=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._connection.close()
