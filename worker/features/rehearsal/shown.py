"""What the customers of a rehearsal are assumed to do, and how it is shown: as facts, as a table for people, and as a
line for each customer and event."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from onboarding_sandbox.behaviour import Share
from worker.cli.shared_options import whole_file
from worker.core.foundation.notation import counted, show_duration, spreadsheet_safe, written
from worker.features.rehearsal.calendar import WHAT, Event, days_of, events_of, peaks_of
from worker.features.rehearsal.play import Asked, Rehearsed
from worker.features.rehearsal.stand_ins import hears_results
from worker.features.rehearsal.steps import STEP
from worker.reporting.prices import Prices, in_words
from worker.settings.model import Settings
from worker.settings.money import in_json

BEGIN = timedelta(hours=1)  # no customer acts sooner after a message
FINISH = 0.6

COLUMNS = ("day", "at", "customer_id", "what", "channel", "template", "account", "cost", "detail")
TITLES = {"session": "sessions", "new session": "again", "invitation": "invited", "new link": "new links"}
TITLES |= {"reminder": "reminders"}
Events = Sequence[tuple[int, Event]]


@dataclass(frozen=True)
class Shares:
    """Shares of all customers, from 0 to 1; together 1."""

    finish: float
    deny: float
    leave: float
    never: float

    @classmethod
    def of(cls, *, finish: float | None, deny: float, leave: float, never: float | None) -> "Shares":
        """What is not given is the rest. Raises ValueError where the shares are not all of the customers."""
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
        return cls(finish, deny, leave, never)

    @property
    def played(self) -> tuple[Share, ...]:
        """The same for the sandbox, where the rest never come."""
        return Share("finish", self.finish), Share("deny", self.deny), Share("open", self.leave)


def facts_of(settings: Settings, asked: Asked, rehearsed: Rehearsed, shares: Shares) -> tuple[dict[str, Any], Events]:
    """The facts as `--json` prints them, and the events with their days."""
    prices, zone = Prices.of(settings), ZoneInfo(settings.invitations.timezone)
    events = events_of(rehearsed, prices)
    days = days_of(events, prices, start=asked.start, zone=zone)
    numbers = {day["date"]: day["day"] for day in days}
    by_day = [(numbers[event.at.astimezone(zone).date().isoformat()], event) for event in events]
    calls = _sum(day["credits"] for day in days)
    messages = _sum(day["messages"] for day in days)
    return {
        "list": asked.name,
        "rows": rehearsed.status["rows"],
        "more_rows_left_out": rehearsed.is_cut,
        "from": written(asked.start),
        "until": written(asked.start + timedelta(days=asked.days)),
        "seed": asked.seed,
        "assumed": {
            "finish": shares.finish,
            "deny": shares.deny,
            "leave": shares.leave,
            "never": shares.never,
            "comes_after_seconds": [int(span.total_seconds()) for span in asked.acts],
        },
        "days": days,
        "events": dict(_sum(day["events"] for day in days)),
        "results": rehearsed.status["results"],
        "credits": dict(calls),
        "messages": dict(messages),
        "cost": in_json(prices.total(calls, messages)),
        "without_price": prices.missing(calls, messages),
        "peaks": peaks_of(rehearsed.made, rehearsed.rules),
        "needs_a_person": _needs(rehearsed.status),
        "not_heard": sorted(name for name in calls if not hears_results(settings.accounts[name])),
        "unsent": rehearsed.happenings.unsent,
    }, by_day


def _sum(counts: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _needs(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """What would wait for a person at the end of the days."""
    rows, found = status["rows"], []
    words = {"rejected": "`onboard check` says why", "held": "a person decides", "failed": "`--out` says why"}
    found += [
        {"what": "rows", "name": state, "reason": f"{counted(rows[state], 'row')}: {what}"}
        for state, what in words.items()
        if rows[state]
    ]
    found += [
        {"what": "account", "name": name, "reason": facts["stopped"]}
        for name, facts in status["accounts"].items()
        if facts["stopped"]
    ]
    if "pause_reason" in status:
        found.append({"what": "batch", "name": status["name"], "reason": f"pauses: {status['pause_reason']}"})
    if unsent := status.get("lapsed_unsent"):
        found.append({"what": "rows", "name": "lapsed", "reason": f"{counted(unsent, 'row')} without any message"})
    return found


def write_events(path: Path, events: Events) -> None:
    with whole_file(path) as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(COLUMNS)
        for day, event in events:
            texts = (event.customer_id, event.what, event.channel, event.template, event.account, event.cost)
            lines.writerow([day, written(event.at), *map(spreadsheet_safe, (*texts, event.detail))])


def show(facts: Mapping[str, Any], out: Path | None) -> None:
    """For people. Lines are never cut or folded."""
    rows = counted(facts["rows"]["total"], "row")
    first = f"the first {rows} (--first)" if facts["more_rows_left_out"] else rows
    click.echo(f"rehearsal of {facts['list']}: {first}, {facts['from']} to {facts['until']}, seed {facts['seed']}")
    click.echo(_assumptions(facts))
    _show_days(facts)
    if facts["cost"]:
        click.echo(f"cost: {_amounts(facts['cost'])}")
    if facts["cost"] and facts["without_price"]:
        click.echo(f"  without a price: {', '.join(facts['without_price'])}")
    for peak in facts["peaks"]:
        allowed = ", ".join(f"{one['most']:,} of {one['limit']}" for one in peak["limits"]) or "no limit"
        click.echo(f"peak of {', '.join(peak['names'])}: {peak['per_second']:,} in a second ({allowed})")
    for name in facts["not_heard"]:
        click.echo(f"note: {name} has no key for webhooks: customers who have finished are reminded, and get new links")
    if facts["unsent"]:
        click.echo(f"{counted(facts['unsent'], 'row')} would still wait for their first message at the end")
    for need in facts["needs_a_person"]:
        click.echo(f"needs a person: {need['what']} {need['name']}: {need['reason']}")
    if out is not None:
        click.echo(f"each customer and event: {out}")
    click.echo("nothing was sent: the sandbox in this process took the place of providers and senders")


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


def _show_days(facts: Mapping[str, Any]) -> None:
    used = [what for what in WHAT if facts["events"].get(what)]
    titles = ["day", "date", *(TITLES.get(what, what) for what in used), *(["cost"] if facts["cost"] else [])]
    lines = [titles]
    lines += [
        [str(day["day"]), f"{date.fromisoformat(day['date']):%Y-%m-%d %a}", *_cells(day, used, facts)]
        for day in facts["days"]
    ]
    lines.append(["", "in all", *_cells(facts, used, facts)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [line[0].rjust(widths[0]), line[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        click.echo("  ".join(cells).rstrip())


def _cells(of: Mapping[str, Any], used: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    cells = [f"{of['events'][what]:,}" if of["events"].get(what) else "" for what in used]
    return [*cells, _amounts(of["cost"])] if facts["cost"] else cells


def _amounts(cost: Mapping[str, str]) -> str:
    return in_words({currency: Decimal(amount) for currency, amount in cost.items()})
