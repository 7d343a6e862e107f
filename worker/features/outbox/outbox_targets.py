"""The configured targets of the outbox: which events each is sent, which targets have events due."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core.database.database import Database
from worker.core.foundation.clock import Clock
from worker.core.limits.budgets import BudgetRule
from worker.core.limits.store.budgets import Budgets
from worker.events.published_events import BUS, SUBSCRIBER, Happened
from worker.features.outbox.section import Subscriber
from worker.features.outbox.store import relay
from worker.settings.model import Settings

if TYPE_CHECKING:
    from worker.features.outbox.store.outbox import Subscriptions

# After so many failures in a row a target gets only a single event now and then.
PAUSES_AFTER = 3
# A broker is tried again that soon, however long it cannot be reached: it costs the broker one connection.
BUS_LONGEST_PAUSE = timedelta(seconds=10)
GIVE_UP = timedelta(days=3)  # how long an event is repeated, but for the bus, which is tried for ever
UNPUBLISHED_AFTER = timedelta(minutes=5)  # a running publisher publishes each second


class OutboxTargets:
    """The configured targets of the outbox. Safe for threads."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self.rules = target_rules(settings)
        self.database, self.clock = database, clock
        self._budgets = Budgets(database)

    def due(self) -> list[str]:
        """The targets that have events due, and may be published to now."""
        if not self.rules:
            return []
        now = self.clock()
        states = self._budgets.all()
        # Paused targets first: looking for a due event costs as much as the events that wait, which may be a month's.
        going = [name for name in self.rules if states[name].paused_until(now) is None]
        return relay.due(self.database, going, now=now)

    def unpublished(self) -> list[str]:
        """The targets that could have been published to for minutes, and that no process publishes to."""
        return relay.unpublished(self.database, self.due(), before=self.clock() - UNPUBLISHED_AFTER)


def unpublished_in_words(targets: list[str]) -> str:
    minutes = UNPUBLISHED_AFTER // timedelta(minutes=1)
    return f"{', '.join(targets)}: events have waited for more than {minutes} minutes, and no process publishes them"


def _targets(settings: Settings) -> dict[str, frozenset[Happened]]:
    """The events of each target."""
    everything = frozenset(Happened)
    targets = {BUS: everything} if settings.bus is not None else {}
    for name, subscriber in settings.named(Subscriber).items():
        targets[f"{SUBSCRIBER}{name}"] = frozenset(map(Happened, subscriber.types)) or everything
    return targets


def subscriptions_of(settings: Settings) -> "Subscriptions":
    """Which target is sent which events."""
    from worker.features.outbox.store.outbox import Subscriptions  # imported here: it writes, and most commands read

    return Subscriptions(_targets(settings), {name: account.provider for name, account in settings.accounts.items()})


def target_rules(settings: Settings) -> dict[str, BudgetRule]:
    """How each configured target is published to, by its name."""
    return {name: _rule_of(settings, name) for name in _targets(settings)}


def _rule_of(settings: Settings, target: str) -> BudgetRule:
    retry = settings.retry.policy
    if target == BUS:
        retry = replace(retry, most=min(retry.most, BUS_LONGEST_PAUSE), first=min(retry.first, BUS_LONGEST_PAUSE))
    return BudgetRule(target, retry=retry, opens_after=PAUSES_AFTER)


def observing(settings: Settings) -> "Subscriptions | None":
    return subscriptions_of(settings) if _targets(settings) else None
