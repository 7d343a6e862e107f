"""What was done in a period, as `report --from` prints it: in all, by account, by route and by week. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from worker.core.foundation.notation import counted
from worker.reporting.prices import NO_ROUTE, SHOWN_ROUTES, Line, Prices
from worker.reporting.store.spending import Figures, Place, sum_of
from worker.settings.money import in_json

NUMBERS = ("invited", "finished", "verified", "calls", "messages")
COLUMNS = ("week", "account", "route", *NUMBERS)
LONGEST = 60  # characters of a route that is shown


@dataclass(frozen=True)
class PeriodReport:
    """`first` and `last`: days, both in it. `rows`: by week, account and route. `unpriced`: what was used and has no
    price, an account or a channel."""

    first: date
    last: date
    all: Line
    accounts: Sequence[Line]
    routes: Sequence[Line]
    weeks: Sequence[Line]
    rows: Sequence[tuple[Place, Line]]
    unpriced: Sequence[str]
    purged: int

    @property
    def currencies(self) -> list[str]:
        return list(self.all.cost)


def numbers_of(line: Line) -> tuple[int, ...]:
    """As `NUMBERS` has them."""
    figures = line.figures
    return figures.invited, figures.finished, figures.verified, line.calls, line.messages


def report_of(places: Mapping[Place, Figures], purged: int, prices: Prices, *, first: date, last: date) -> PeriodReport:
    by_account, by_route = dict[str, Figures](), dict[str, Figures]()
    by_week, rows = dict[date, Figures](), dict[Place, Figures]()
    for place, figures in places.items():
        week, route = place.day - timedelta(days=place.day.weekday()), place.route or NO_ROUTE
        by_account.setdefault(place.account or NO_ROUTE, Figures()).add(figures)
        by_route.setdefault(route, Figures()).add(figures)
        by_week.setdefault(week, Figures()).add(figures)
        rows.setdefault(Place(place.account, route, week), Figures()).add(figures)
    everything, line = sum_of(places.values()), prices.line
    routes = [line(name, found) for name, found in by_route.items()]
    ordered = sorted(rows, key=lambda place: (place.day, place.account, place.route))
    return PeriodReport(
        first,
        last,
        line("all", everything),
        [line(name, by_account[name]) for name in sorted(by_account)],
        sorted(routes, key=lambda one: (-one.figures.invited, one.name)),
        [line(week.isoformat(), by_week[week]) for week in sorted(by_week)],
        [(place, line("", rows[place])) for place in ordered],
        prices.missing(everything.calls, everything.charged),
        purged,
    )


def as_facts(report: PeriodReport) -> dict[str, Any]:
    """The report as `--json` prints it (docs/reference/json.md)."""
    return {
        "from": report.first.isoformat(),
        "to": report.last.isoformat(),
        "all": _facts(report.all),
        "accounts": {line.name: _facts(line) for line in report.accounts},
        "routes": {line.name: _facts(line) for line in report.routes},
        "weeks": {line.name: _facts(line) for line in report.weeks},
        "without_price": list(report.unpriced),
        "purged_batches": report.purged,
    }


def _facts(line: Line) -> dict[str, Any]:
    figures = line.figures
    facts: dict[str, Any] = {"invited": figures.invited, "finished": figures.finished, "verified": figures.verified}
    facts |= {"calls": dict(sorted(figures.calls.items())), "messages": dict(sorted(figures.messages.items()))}
    return facts | {"cost": in_json(line.cost)}


def in_words(report: PeriodReport) -> str:
    """The report for people: a table whose lines are never cut."""
    period = f"from {report.first} to {report.last} (UTC, both days included)"
    notes = []
    if report.unpriced:
        notes.append(f"not in the cost, without a price in the configuration: {', '.join(report.unpriced)}")
    if report.purged:
        notes.append(f"{counted(report.purged, 'batch', 'batches')} of this time purged since: not in these numbers")
    if not report.rows:
        return "\n".join([f"nothing was invited, finished or bought {period}", *notes])
    routes, others = report.routes[:SHOWN_ROUTES], len(report.routes) - SHOWN_ROUTES
    table = [("", *NUMBERS, "cost"), _cells(report.all)]
    for title, lines in (("account", report.accounts), ("route", routes), ("week from", report.weeks)):
        table += [(title,) + ("",) * (len(NUMBERS) + 1), *(_cells(line, indent="  ") for line in lines)]
        if title == "route" and others > 0:
            table.append((f"  … and {others} more: --json has all",) + ("",) * (len(NUMBERS) + 1))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shown = [
        "  ".join([row[0].ljust(widths[0]), *(one.rjust(wide) for one, wide in zip(row[1:], widths[1:], strict=True))])
        for row in table
    ]
    return "\n".join([period, "", *(line.rstrip() for line in shown), *([""] if notes else []), *notes])


def _cells(line: Line, indent: str = "") -> tuple[str, ...]:
    name = line.name if len(line.name) <= LONGEST else f"{line.name[: LONGEST - 1]}…"
    return (f"{indent}{name}", *(f"{number:,}" for number in numbers_of(line)), line.amounts)


def names_of(report: PeriodReport) -> tuple[str, ...]:
    return (*COLUMNS, *(f"cost_{currency}" for currency in report.currencies))


def rows_of(report: PeriodReport) -> Iterator[list[str | int | Decimal]]:
    for place, line in report.rows:
        costs = [line.cost.get(currency, Decimal(0)) for currency in report.currencies]
        yield [place.day.isoformat(), place.account, place.route, *numbers_of(line), *costs]


def row_facts(report: PeriodReport) -> Iterator[dict[str, Any]]:
    for place, line in report.rows:
        yield {"week": place.day.isoformat(), "account": place.account, "route": place.route, **_facts(line)}
