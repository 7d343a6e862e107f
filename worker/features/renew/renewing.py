"""Looks each minute whose approvals end, and asks them again."""

from collections.abc import Callable

from worker.features.renew.section import Renew
from worker.features.renew.store.asking import Renewing
from worker.reporting.store.look import Looked
from worker.wiring.background import Ticks
from worker.wiring.container import Parts

LOOK_EVERY = 60.0  # seconds, in each process


def swept(parts: Parts) -> Callable[[Looked], None]:
    if not parts.settings.section(Renew).on:
        return lambda _looked: None
    renewing, ticks = Renewing(parts), Ticks(LOOK_EVERY)

    def renew(_looked: Looked) -> None:
        if ticks.begin(parts.clock().timestamp()):  # no real seconds: a trial plays days in one
            renewing.ask(now=parts.database_clock())

    return renew
