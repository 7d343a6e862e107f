"""The configured targets of the outbox: which events each is sent, which targets have events due; and how each of them
stands, for people."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.notation import written, written_if_any
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.events.cloudevents import BUS, SUBSCRIBER, Happened
from onboarding_worker.features.outbox.section import Subscriber
from onboarding_worker.features.outbox.store import relay
from onboarding_worker.reporting.standings import Standing, Standings
from onboarding_worker.reporting.waits import FAILING_AFTER, Wait
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from onboarding_worker.features.outbox.store.outbox import Subscriptions

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

    def status(self) -> list[dict[str, Any]]:
        """Each target, with how many events wait, and why."""
        found, states, now = relay.status(self.database), self._budgets.all(), self.clock()
        facts = []
        for name in sorted({*self.rules, *found}):
            (waiting, given_up, oldest), state = found.get(name, (0, 0, None)), states.get(name, BudgetState())
            fact = {"target": name, "configured": name in self.rules, "waiting": waiting}
            fact |= {"oldest": written_if_any(oldest), "given_up": given_up}
            fact |= {"paused_until": written_if_any(state.paused_until(now))}
            facts.append(fact | {"pause_reason": state.pause_reason if state.pauses else None})
        return facts

    def given_up(self) -> list[dict[str, Any]]:
        """The newest events that were given up."""
        return [
            {"target": row.target, "number": row.id, "event": str(row.event_id), "kind": row.kind}
            | {"customer_id": row.customer_id, "occurred_at": written(row.occurred_at)}
            | {"given_up_at": written(row.since), "attempts": row.attempts, "detail": row.detail}
            for row in relay.given_up(self.database, most=SHOWN)
        ]


def _targets(settings: Settings) -> dict[str, frozenset[Happened]]:
    """The events of each target."""
    everything = frozenset(Happened)
    targets = {BUS: everything} if settings.bus is not None else {}
    for name, subscriber in settings.named(Subscriber).items():
        targets[f"{SUBSCRIBER}{name}"] = frozenset(map(Happened, subscriber.types)) or everything
    return targets


def target_rules(settings: Settings) -> dict[str, BudgetRule]:
    """How each configured target is published to, by its name."""
    retry = settings.retry.policy
    of_bus = replace(retry, most=min(retry.most, BUS_LONGEST_PAUSE), first=min(retry.first, BUS_LONGEST_PAUSE))
    return {
        name: BudgetRule(name, retry=of_bus if name == BUS else retry, opens_after=PAUSES_AFTER)
        for name in _targets(settings)
    }


def observing(settings: Settings) -> "Subscriptions | None":
    """Which target is sent which events; None without a target."""
    if not (targets := _targets(settings)):
        return None
    # Imported here: it writes, and most commands read.
    from onboarding_worker.features.outbox.store.outbox import Subscriptions

    return Subscriptions(targets, {name: account.provider for name, account in settings.accounts.items()})


SHOWN = 100  # events that were given up
# A target that is started again needs no person.
FAILS_FOR = timedelta(minutes=1)


def unpublished_in_words(targets: list[str]) -> str:
    minutes = UNPUBLISHED_AFTER // timedelta(minutes=1)
    return f"{', '.join(targets)}: events have waited for more than {minutes} minutes, and no process publishes them"


def up_to(number: int) -> str:
    """The number of events, as `relay.count` has counted them."""
    return f"more than {relay.MOST_COUNTED:,}" if number > relay.MOST_COUNTED else f"{number:,}"


def _standing(settings: Settings, database: Database, states: Mapping[str, BudgetState], now: datetime) -> Standing:
    """What needs a person: the configured targets that have accepted no event for a while, and those for which events
    were given up. The budgets keep how publishing goes: events are counted of these targets only."""
    waits, all_given_up = [], {}
    for name in sorted(target_rules(settings)):
        if given_up := relay.count(database, name, given_up=True):
            all_given_up[name] = given_up
        state = states.get(name, BudgetState())
        since = state.opened_at or (relay.waits_since(database, name) if state.pauses > 1 else None)
        # Who asks us to wait is there, and may take the next event.
        fails = since is not None and since <= now - (FAILS_FOR if state.opened_at else FAILING_AFTER)
        waiting = relay.count(database, name, given_up=False) if fails else 0
        if not waiting and not given_up:
            continue
        why = f"events that wait: {up_to(waiting)}; given up: {up_to(given_up)}"
        if fails:
            why = f"has accepted no event since {written_if_any(since)} ({state.pause_reason}); {why}"
        waits.append(Wait("target", name, why, "onboard events outgoing list", since=since if fails else None))
    return Standing([], {"given_up": all_given_up} if all_given_up else {}, waits)


def _warning(settings: Settings, database: Database, now: datetime) -> str:
    targets = OutboxTargets(settings, database, lambda: now).unpublished()
    return f"{unpublished_in_words(targets)}: see `onboard events outgoing list`" if targets else ""


STANDINGS = Standings(_standing, _warning)


def target_in_words(item: Mapping[str, Any]) -> str:
    """What a target does now, and why."""
    if not item["configured"]:
        return "no longer configured: its events are deleted after 30 days"
    if item["pause_reason"]:
        until = f"until {item['paused_until']}" if item["paused_until"] else "then one event is tried first"
        return f"paused, {until}: {item['pause_reason']}"
    return f"oldest: {item['oldest']}" if item["waiting"] else "nothing waits"
