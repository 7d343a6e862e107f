"""How a benchmark publishes events: their jobs are written as a consumer of the bus writes them, and rung for."""

from pathlib import Path
from types import TracebackType
from typing import Self

from celery import Celery

from worker.bootstrap import Parts
from worker.celery_settings import ISSUE, celery_settings
from worker.customers import Channel, Customer, Person
from worker.settings import load
from worker.store.batches import AcceptedLine
from worker.store.jobs import EVENT

FLOOR_SECONDS = 12 * 3600


class Feeder:
    """Publishes sign-ups, one after the other."""

    def __init__(self, folder: Path) -> None:
        settings = load(folder / "onboarding.toml")
        # Not the worker's own application: that is one for a process, and each part has its own broker.
        self._bells = Celery("bench", set_as_current=False)
        self._bells.config_from_object(celery_settings(settings))
        self._parts = Parts(settings)
        self._parts.ready()
        self._batch, _ = self._parts.batches.open(name="events", digest="events", again=True, now=self._parts.clock())
        self._row = 1

    def publish(self, customer_id: str, email: str) -> None:
        """Have the customer invited; returns once the job is committed and rung for."""
        self._row += 1
        who = Customer(customer_id, person=Person(email=email), country="DE", locale="en", channel=Channel.EMAIL)
        line = AcceptedLine(self._row, who, "kyc", "", FLOOR_SECONDS)
        self._parts.batches.add(self._batch.id, [line], [], priority=EVENT, now=self._parts.clock())
        self._bells.send_task(ISSUE, args=("kyc",), queue=ISSUE, retry=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._bells.close()
        self._parts.close()
