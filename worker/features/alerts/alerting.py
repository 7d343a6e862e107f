"""Tells people what begins, and what ends, to need a person: what `onboard status` ends with, without its reasons."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.core.database.database import Database
from worker.core.foundation import event_loop
from worker.core.foundation.clock import Clock, monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.work.ticks import Ticks
from worker.features.alerts.publishing import Send, alert_targets
from worker.features.alerts.store import alerts
from worker.reporting.attention import Attention
from worker.settings.model import Settings
from worker.wiring.watching import NeedsAPerson, Teller

log = logging.getLogger(__name__)
_failing: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


@dataclass(frozen=True)
class Alerts:
    """Safe for several processes. `needs`: what needs a person now."""

    targets: Mapping[str, Send]
    database: Database
    needs: NeedsAPerson
    clock: Clock
    ticks: Ticks = field(default_factory=lambda: Ticks(60.0))

    def look(self) -> None:
        """Tell what is new, if a look is due. Blocks while it is sent."""
        if not self.targets or not self.ticks.begin(monotonic()):
            return
        needs = {_called(one) for one in self.needs()}
        for target, send in self.targets.items():
            news = alerts.look(self.database, target, needs, now=self.clock())
            lines = [f"{one} needs a person: onboard status" for one in news.began]
            lines += [f"{one} needs no person any more" for one in news.ended]
            if not lines:
                continue
            if why := event_loop.run(send(lines)):
                _failing[target].lasts(f"[alerts] {target} accepts no alert; it is tried again", monotonic(), why=why)
                continue
            alerts.tell(self.database, target, news)
            _failing[target].over(f"[alerts] {target} accepts alerts again")


def _called(one: Attention) -> str:
    """Names of accounts, targets and keys, numbers of batches: neither files nor folders, whose names may say more."""
    name = "" if one.what in ("folder", "list") else one.name.partition(" (")[0]
    return f"{one.what} {name}".strip()


def look_of(settings: Settings, database: Database, needs: NeedsAPerson, clock: Clock) -> Callable[[], None]:
    return Alerts(alert_targets(settings), database, needs, clock).look


TELLER = Teller(look_of)
