"""What the customers of a rehearsal are assumed to do; each event with its cost, the days, and the highest rates; and
how that is shown: as facts, as a table for people, and as a line for each customer and event."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from inspect import get_annotations
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from onboarding_worker.cli.shared_options import in_columns, whole_file
from onboarding_worker.core.foundation.notation import counted, show_duration, written
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.features.rehearsal.play import STEP, Asked, Rehearsed
from onboarding_worker.reporting.prices import Prices, in_words
from onboarding_worker.reporting.report_lines import write_table
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.money import in_json

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
    by_day: dict[date, list[Event]] = {}
    for event in events:
        by_day.setdefault(event.at.astimezone(zone).date(), []).append(event)
    days = []
    for day, found in sorted(by_day.items()):
        count = Counter(event.what for event in found)
        calls = Counter(event.account for event in found if event.what in WHAT[:2])
        messages = Counter(event.channel for event in found if event.channel)
        facts = {"day": (day - first).days + 1, "date": day.isoformat()}
        facts |= {"events": {what: count[what] for what in WHAT if count[what]}}
        facts |= {"credits": dict(calls), "messages": dict(messages), "cost": in_json(prices.total(calls, messages))}
        days.append(facts)
    return days


def peaks_of(made: Mapping[str, Sequence[datetime]], rules: Mapping[str, BudgetRule]) -> list[dict[str, Any]]:
    """The most calls or messages in one second, and in the period of each limit, of each account and sender that was
    used. Accounts with one budget count together."""
    sharing = dict.fromkeys(tuple(name for name in rule.names if made.get(name)) for rule in rules.values())
    peaks = []
    for names in filter(None, sharing):
        times = sorted(at for name in names for at in made[name])
        limits = rules[names[0]].limits
        within = [{"limit": str(limit), "most": most_within(times, limit.period)} for limit in limits]
        peaks.append({"names": [*names], "per_second": most_within(times, SECOND), "limits": within})
    return peaks


def most_within(times: Sequence[datetime], period: timedelta) -> int:
    """The most of these times, which are in order, within any such period."""
    # A time that is a whole period later belongs to the next one.
    return max(
        (index + 1 - bisect_left(times, at - period + timedelta.resolution) for index, at in enumerate(times)),
        default=0,
    )


BEGIN = timedelta(hours=1)  # no customer acts sooner after a message
FINISH = 0.6

COLUMNS = ("day", *get_annotations(Event))
TITLES = {"session": "sessions", "new session": "again", "invitation": "invited", "new link": "new links"}
TITLES |= {"reminder": "reminders"}
Events = Sequence[tuple[int, Event]]


def shares_of(*, finish: float | None, deny: float, leave: float, never: float | None) -> dict[str, float]:
    """Shares of all customers, from 0 to 1, together 1: what is not given is the rest. Raises ValueError where they are
    not all of the customers."""
    if finish is None:
        finish = FINISH if never is None else round(max(1 - never - deny - leave, 0.0), 9)
    rest = 1 - finish - deny - leave
    if never is None:
        never = round(max(rest, 0.0), 9)
    if rest < -1e-9 or abs(rest - never) > 1e-9:
        total = finish + deny + leave + (never if rest >= 0 else 0.0)
        raise ValueError(
            f"--finish, --deny, --leave and --never are {total * 100:g}% together: they must be all customers"
        )
    return {"finish": finish, "deny": deny, "leave": leave, "never": never}


def facts_of(
    settings: Settings, asked: Asked, rehearsed: Rehearsed, shares: Mapping[str, float]
) -> tuple[dict[str, Any], Events]:
    """The facts as `--json` prints them, and the events with their days."""
    prices, zone = Prices.of(settings), ZoneInfo(settings.invitations.timezone)
    events = events_of(rehearsed, prices)
    days = days_of(events, prices, start=asked.start, zone=zone)
    numbers = {day["date"]: day["day"] for day in days}
    by_day = [(numbers[event.at.astimezone(zone).date().isoformat()], event) for event in events]
    calls = sum((Counter(day["credits"]) for day in days), Counter[str]())
    messages = sum((Counter(day["messages"]) for day in days), Counter[str]())
    return {
        "list": asked.listed.name,
        "rows": rehearsed.status["rows"],
        "more_rows_left_out": rehearsed.is_cut,
        "from": written(asked.start),
        "until": written(asked.start + timedelta(days=asked.days)),
        "seed": asked.seed,
        "assumed": {**shares, "comes_after_seconds": [int(span.total_seconds()) for span in asked.acts]},
        "days": days,
        "events": dict(sum((Counter(day["events"]) for day in days), Counter[str]())),
        "results": rehearsed.status["results"],
        "credits": dict(calls),
        "messages": dict(messages),
        "cost": in_json(prices.total(calls, messages)),
        "without_price": prices.missing(calls, messages),
        "peaks": peaks_of(rehearsed.made, rehearsed.rules),
        "needs_a_person": _needs(rehearsed.status),
        "not_heard": sorted(name for name in calls if not settings.accounts[name].hears_results),
        "unsent": rehearsed.happenings.unsent,
    }, by_day


def _needs(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """What would wait for a person at the end of the days."""
    rows, found = status["rows"], []
    words = {"rejected": "`onboard check` says why", "held": "a person decides", "failed": "`--out` says why"}
    found += [("rows", state, f"{counted(rows[state], 'row')}: {what}") for state, what in words.items() if rows[state]]
    found += [("account", name, of["stopped"]) for name, of in status["accounts"].items() if of["stopped"]]
    if "pause_reason" in status:
        found.append(("batch", status["name"], f"pauses: {status['pause_reason']}"))
    if unsent := status.get("lapsed_unsent"):
        found.append(("rows", "lapsed", f"{counted(unsent, 'row')} without any message"))
    return [{"what": what, "name": name, "reason": reason} for what, name, reason in found]


def write_events(path: Path, events: Events) -> None:
    with whole_file(path) as out:
        write_table(out, COLUMNS, ([day, written(event.at), *astuple(event)[1:]] for day, event in events))


def lines_of(facts: Mapping[str, Any], out: Path | None) -> Iterator[str]:
    """For people. Lines are never cut or folded."""
    rows = counted(facts["rows"]["total"], "row")
    first = f"the first {rows} (--first)" if facts["more_rows_left_out"] else rows
    yield f"rehearsal of {facts['list']}: {first}, {facts['from']} to {facts['until']}, seed {facts['seed']}"
    yield _assumptions(facts)
    yield from _days(facts)
    if facts["cost"]:
        yield f"cost: {_amounts(facts['cost'])}"
    if facts["cost"] and facts["without_price"]:
        yield f"  without a price: {', '.join(facts['without_price'])}"
    for peak in facts["peaks"]:
        allowed = ", ".join(f"{one['most']:,} of {one['limit']}" for one in peak["limits"]) or "no limit"
        yield f"peak of {', '.join(peak['names'])}: {peak['per_second']:,} in a second ({allowed})"
    for name in facts["not_heard"]:
        yield f"note: {name} has no key for webhooks: customers who have finished are reminded, and get new links"
    if facts["unsent"]:
        yield f"{counted(facts['unsent'], 'row')} would still wait for their first message at the end"
    for need in facts["needs_a_person"]:
        yield f"needs a person: {need['what']} {need['name']}: {need['reason']}"
    if out is not None:
        yield f"each customer and event: {out}"
    yield "nothing was sent: the sandbox in this process took the place of providers and senders"


def _assumptions(facts: Mapping[str, Any]) -> str:
    assumed = facts["assumed"]
    shares = ", ".join(
        f"{assumed[name] * 100:g} % {words}"
        for name, words in (("finish", "finish"), ("deny", "are denied"), ("leave", "start and leave"))
        if assumed[name]
    )
    first, last = (show_duration(timedelta(seconds=seconds)) for seconds in assumed["comes_after_seconds"])
    return (
        f"assumed: {shares + ', ' if shares else ''}{assumed['never'] * 100:g} % never come; they come {first} to"
        f" {last} after their message; providers answer at once; no message comes back; times are within"
        f" {show_duration(STEP)}"
    )


def _days(facts: Mapping[str, Any]) -> list[str]:
    used = [what for what in WHAT if facts["events"].get(what)]
    lines = [["day", "date", *(TITLES.get(what, what) for what in used), *(["cost"] if facts["cost"] else [])]]
    for day in facts["days"]:
        lines.append([str(day["day"]), f"{date.fromisoformat(day['date']):%Y-%m-%d %a}", *_cells(day, used, facts)])
    lines.append(["", "in all", *_cells(facts, used, facts)])
    return in_columns(lines, right=lambda at: at != 1)


def _cells(of: Mapping[str, Any], used: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    cells = [f"{of['events'][what]:,}" if of["events"].get(what) else "" for what in used]
    return [*cells, _amounts(of["cost"])] if facts["cost"] else cells


def _amounts(cost: Mapping[str, str]) -> str:
    return in_words({currency: Decimal(amount) for currency, amount in cost.items()})
