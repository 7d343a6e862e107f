"""How a benchmark publishes events."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Feeder:
    """Publishes sign-ups, one after the other."""

    def __init__(self, folder: Path) -> None:
        os.environ["ONBOARDING_CONFIG"] = str(folder / "onboarding.toml")
        from worker import bells
        from worker.bootstrap import Parts
        from worker.settings import load

        self._ring = bells.ring
        self._parts = Parts(load(folder / "onboarding.toml"))
        self._parts.ready()
        self._batch, _ = self._parts.batches.open(name="events", digest="events", again=True, now=self._parts.clock())
        self._row = 1

    def publish(self, customer_id: str, email: str) -> None:
        from worker.customers import Channel, Customer, Person
        from worker.store.batches import AcceptedLine
        from worker.store.jobs import EVENT

        self._row += 1
        who = Customer(customer_id, person=Person(email=email), country="DE", locale="en", channel=Channel.EMAIL)
        line = AcceptedLine(self._row, who, "kyc", "", 12 * 3600)
        self._parts.batches.add(self._batch.id, [line], [], priority=EVENT, now=self._parts.clock())
        self._ring("issue", "kyc")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._parts.close()
