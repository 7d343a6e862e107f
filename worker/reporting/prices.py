"""The prices in the configuration, of calls and messages; what a batch has cost, by route and verified customer; and
what was done in a period, as `report --from` prints it: in all, by account, by route and by week. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.reporting.store.spending import Figures, Place, sum_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.money import Price, in_json, total

SHOWN_ROUTES = 20
NO_ROUTE = "no account chosen"


@dataclass(frozen=True)
class Prices:
    """By account, and by channel; None: no price is set. What is not configured any more has none."""

    accounts: Mapping[str, Price | None] = field(default_factory=dict)
    channels: Mapping[str, Price | None] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Prices":
        accounts = {name: account.price for name, account in settings.accounts.items()}
        return cls(accounts, {name: section.price for name, section in settings.sending.items()})

    def with_texts_of(self, segments: int) -> "Prices":
        """These prices, where each text is charged as so many segments."""
        text = self.channels.get(Channel.SMS)
        if text is None:
            return self
        return replace(self, channels={**self.channels, Channel.SMS: replace(text, amount=text.amount * segments)})

    def at_most(
        self, calls: Mapping[str, int], customers: Iterable[tuple[Collection[str], int]], *, each: int, together: int
    ) -> Mapping[str, Decimal]:
        """The most that these calls cost, by account, with the messages of their customers: by currency. `customers`:
        the channels that they may be reached on, and how many they are. Each gets at most `each` messages on a channel
        and `together` on all; in each currency those are taken as the dearest ones."""
        counted = [(self.accounts.get(name), number) for name, number in calls.items()]
        for channels, number in customers:
            priced = [price for name in channels if (price := self.channels.get(name)) is not None]
            left: dict[str, int] = defaultdict(lambda: together)
            for price in sorted(priced, key=lambda one: one.amount, reverse=True):
                messages = min(each, left[price.currency])
                left[price.currency] -= messages
                counted.append((price, messages * number))
        return total(counted)

    def total(self, calls: Mapping[str, int], messages: Mapping[str, int]) -> Mapping[str, Decimal]:
        """The price of these calls, by account, and messages, by channel: by currency. Empty without any price."""
        priced = [(self.accounts.get(name), number) for name, number in calls.items()]
        priced += [(self.channels.get(name), number) for name, number in messages.items()]
        return total(priced)

    def line(self, name: str, figures: Figures) -> "Line":
        return Line(name, figures, self.total(figures.calls, figures.charged))

    def missing(self, calls: Mapping[str, int], messages: Mapping[str, int]) -> list[str]:
        """The accounts and channels with calls or messages and without a price."""
        accounts = {name for name in calls if self.accounts.get(name) is None}
        return sorted(accounts | {name for name in messages if self.channels.get(name) is None})


@dataclass(frozen=True)
class Line:
    """The figures of one route, account or week, or of all. `cost` by currency; empty without a price."""

    name: str
    figures: Figures
    cost: Mapping[str, Decimal]

    @property
    def calls(self) -> int:
        return sum(self.figures.calls.values())

    @property
    def messages(self) -> int:
        return sum(self.figures.messages.values())

    @property
    def doubt(self) -> str:
        return doubt_in_words(self.figures.lost)

    @property
    def amounts(self) -> str:
        return in_words(self.cost)

    @property
    def each_verified(self) -> str:
        verified = self.figures.verified
        return in_words({currency: amount / verified for currency, amount in self.cost.items()}) if verified else ""


@dataclass(frozen=True)
class Costs:
    """`unpriced`: the accounts and channels that were used and have no price."""

    routes: Sequence[Line]
    all: Line
    unpriced: Sequence[str]


def costs(routes: Mapping[str, Figures], prices: Prices) -> Costs:
    ranked = sorted(routes.items(), key=lambda item: (-item[1].customers, item[0]))
    shown, others = ranked[:SHOWN_ROUTES], ranked[SHOWN_ROUTES:]
    lines = [prices.line(name or NO_ROUTE, figures) for name, figures in shown]
    if others:
        lines.append(prices.line(f"{len(others)} other routes", sum_of(figures for _, figures in others)))
    everything = sum_of(routes.values())
    return Costs(lines, prices.line("all", everything), prices.missing(everything.calls, everything.messages))


def doubt_in_words(lost: Mapping[str, int]) -> str:
    """What is not known of the credits: of calls that brought no session. "" if there are none."""
    number = sum(lost.values())
    return f"at most: {counted(number, 'call')} brought no session, and may have cost nothing" if number else ""


def in_words(amounts: Mapping[str, Decimal]) -> str:
    """The amounts by currency, for people; "" without any."""
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in amounts.items())


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
    by_account, by_route, by_week, rows = (defaultdict[Any, Figures](Figures) for _ in range(4))
    for place, figures in places.items():
        week, route = place.day - timedelta(days=place.day.weekday()), place.route or NO_ROUTE
        by_account[place.account or NO_ROUTE].add(figures)
        by_route[route].add(figures)
        by_week[week].add(figures)
        rows[Place(place.account, route, week)].add(figures)
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
    lost = {name: number for name, number in sorted(figures.lost.items()) if number}
    return facts | ({"lost_calls": lost} if lost else {}) | {"cost": in_json(line.cost)}


def table_of(report: PeriodReport) -> str:
    """The report for people: a table whose lines are never cut."""
    period = f"from {report.first} to {report.last} (UTC, both days included)"
    notes = []
    if report.unpriced:
        notes.append(f"not in the cost, without a price in the configuration: {', '.join(report.unpriced)}")
    if report.all.doubt:
        notes.append(f"calls and cost are {report.all.doubt}")
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
