"""When events are published: in `run` and `up` by threads, in workers by wake-ups of the queue `tell`."""

import logging
from collections.abc import Callable
from datetime import timedelta

from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.work.ticks import Ticks
from worker.features.outbox.outbox_publisher import OutboxPublisher
from worker.features.outbox.outbox_targets import OutboxTargets, unpublished_in_words
from worker.features.outbox.outbox_threads import OutboxThreads
from worker.features.outbox.publishers.build import build_targets
from worker.wiring.background import Work
from worker.wiring.container import Parts

log = logging.getLogger(__name__)
LOOK_SECONDS = 60.0


class WokenPublisher:
    """Publishes to the target of each wake-up."""

    def __init__(self, parts: Parts, stopping: Callable[[], bool]) -> None:
        self._outbox = OutboxTargets.of(parts.settings, parts.database, parts.clock)
        targets = build_targets(parts.settings)
        self._publisher = OutboxPublisher(self._outbox, targets, stopping=stopping, meters=parts.meters)
        self._unpublished, self._looks = Outage(log, logging.WARNING), Ticks(LOOK_SECONDS)

    def due(self) -> list[str]:
        targets = self._outbox.due()
        if self._looks.begin(monotonic()):
            self._say_unpublished(self._outbox.unpublished() if targets else [])
        return targets

    def _say_unpublished(self, targets: list[str]) -> None:
        if targets:
            words = f"{unpublished_in_words(targets)}: does a worker consume the queue tell?"
            self._unpublished.lasts(words, monotonic())
        else:
            self._unpublished.over("events are published again")

    def serve(self, name: str, *, longest: timedelta) -> bool:
        return self._publisher.publish(name, longest=longest)

    def close(self) -> None:
        self._publisher.close()


def _threads(parts: Parts) -> OutboxThreads:
    outbox = OutboxTargets.of(parts.settings, parts.database, parts.clock)
    return OutboxThreads(outbox, build_targets(parts.settings), meters=parts.meters)


WORK = Work(_threads, in_run=True, woken=WokenPublisher)
