"""A consumer that is killed, as a process of its own.

It writes the ids of the events it takes to a file, each on the disk before it is acknowledged. With `once` it kills
itself between that and the acknowledgement.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.model.incoming import Event, EventReceipt, Outcome, Received
from onboarding_worker.events.bus.consumer import BusConsumer
from onboarding_worker.events.bus.links import stream_link
from onboarding_worker.events.bus.sources import events_of
from onboarding_worker.runtime.bus_consumers import link_to
from onboarding_worker.settings.outside import Bus


class FileInbox:
    def __init__(self, file: Path, *, once: bool) -> None:
        self._file = file
        self._once = once

    def receive(self, events: Sequence[Event]) -> Received:
        with self._file.open("a") as stream:
            stream.write("".join(f"{event.id}\n" for event in events))
            stream.flush()
            os.fsync(stream.fileno())
        if self._once:
            os.kill(os.getpid(), signal.SIGKILL)
        return Received([EventReceipt(Outcome.TAKEN) for _ in events])

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        raise AssertionError("no sender of this queue has a user")

    def check_ready(self) -> None:
        pass

    def outdated(self) -> str | None:
        return None

    def unwritable(self) -> str:
        return ""


def consume(url: str, queue: str, file: Path, once: bool) -> None:
    source = replace(events_of(Bus.model_construct(url=url, queue=queue)), prefetch=20)
    BusConsumer(
        source,
        FileInbox(file, once=once),
        connect=partial(link_to, source)
        if source.topology.on_amqp
        else lambda *_: stream_link(source, taken_seconds=1),
        wake=lambda _wake_up: None,
        clock=ProcessClock(),
    ).run()
