"""What a rehearsal shows: each event with its cost, the days, and the highest rates. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from worker.core.limits.budgets import BudgetRule
from worker.core.model.states import JobState
from worker.features.rehearsal.play import Rehearsed
from worker.reporting.prices import Prices
from worker.settings.money import in_json

DEFAULT = "default"
INVITATION = "invitation"
FINISHED = "finished"
# What happens to customers, in the order of a day's columns.
WHAT = ("session", "new session", "invitation", "new link", "reminder", FINISHED, "lapsed", "held", "failed")
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Event:
    """`cost` is in words; "": it costs nothing, or has no price."""

    at: datetime
    customer_id: str
    what: str
    channel: str = ""
    template: str = ""
    account: str = ""
    cost: str = ""
    detail: str = ""


def events_of(rehearsed: Rehearsed, prices: Prices) -> list[Event]:
    """All events, in order."""
    events = []
    for one in rehearsed.happenings.opened:
        cost = str(prices.accounts.get(one.account) or "")
        what = "new session" if one.is_new else "session"
        events.append(Event(one.at, one.customer_id, what, account=one.account, cost=cost))
    for one in rehearsed.happenings.left:
        first = "new link" if one.new_link else INVITATION
        what = first if one.kind == INVITATION else "reminder"
        template = rehearsed.templates.get(one.kind) or one.template or rehearsed.of_brands.get(one.brand, DEFAULT)
        cost = str(prices.channels.get(one.channel) or "")
        events.append(Event(one.at, one.customer_id, what, one.channel, template, one.account, cost))
    for one in rehearsed.happenings.ended:
        state = FINISHED if one.state is JobState.COMPLETED else one.state.value
        what = state if state in WHAT else "failed"
        events.append(Event(one.at, one.customer_id, what, account=one.account, detail=one.result or one.reason))
    return sorted(events, key=lambda event: (event.at, event.customer_id, WHAT.index(event.what)))


def days_of(events: Iterable[Event], prices: Prices, *, start: datetime, zone: tzinfo) -> list[dict[str, Any]]:
    """The days on which something happens, by the calendar of this zone, as `--json` has them."""
    first = start.astimezone(zone).date()
    by_day: dict[int, list[Event]] = {}
    for event in events:
        by_day.setdefault((event.at.astimezone(zone).date() - first).days + 1, []).append(event)
    return [
        _day(number, first.fromordinal(first.toordinal() + number - 1).isoformat(), found, prices)
        for number, found in sorted(by_day.items())
    ]


def _day(number: int, date: str, events: Sequence[Event], prices: Prices) -> dict[str, Any]:
    count = Counter(event.what for event in events)
    calls = Counter(event.account for event in events if event.what in WHAT[:2])
    messages = Counter(event.channel for event in events if event.channel)
    return {
        "day": number,
        "date": date,
        "events": {what: count[what] for what in WHAT if count[what]},
        "credits": dict(calls),
        "messages": dict(messages),
        "cost": in_json(prices.total(calls, messages)),
    }


def peaks_of(made: Mapping[str, Sequence[datetime]], rules: Mapping[str, BudgetRule]) -> list[dict[str, Any]]:
    """The most calls or messages in one second, and in the period of each limit, of each account and sender that was
    used. Accounts with one budget count together."""
    sharing: dict[str, list[str]] = {}
    for name, rule in rules.items():
        if made.get(name):
            sharing.setdefault(rule.name, []).append(name)
    peaks = []
    for names in sharing.values():
        times = sorted(at for name in names for at in made[name])
        limits = rules[names[0]].limits
        within = [{"limit": str(limit), "most": most_within(times, limit.period)} for limit in limits]
        peaks.append({"names": names, "per_second": most_within(times, SECOND), "limits": within})
    return peaks


def most_within(times: Sequence[datetime], period: timedelta) -> int:
    """The most of these times, which are in order, within any such period."""
    # A time that is a whole period later belongs to the next one.
    return max(
        (index + 1 - bisect_left(times, at - period + timedelta.resolution) for index, at in enumerate(times)),
        default=0,
    )
