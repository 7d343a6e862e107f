"""What a batch has cost: by route, and for each verified customer. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from worker.reporting.prices import Prices
from worker.reporting.store.spending import RouteFacts

SHOWN_ROUTES = 20


@dataclass(frozen=True)
class CostRow:
    """One line of the table. Amounts are in words; "" without a price."""

    name: str
    customers: int
    calls: int
    messages: int
    verified: int
    cost: str
    each_verified: str


@dataclass(frozen=True)
class Costs:
    """`priced`: at least one price is known. `unpriced`: the accounts and channels that were used and have none."""

    routes: tuple[CostRow, ...]
    all: CostRow
    priced: bool
    unpriced: tuple[str, ...]


def costs(routes: Mapping[str, RouteFacts], prices: Prices) -> Costs:
    ranked = sorted(routes.items(), key=lambda item: (-item[1].customers, item[0]))
    shown, others = ranked[:SHOWN_ROUTES], ranked[SHOWN_ROUTES:]
    rows = [_row(name or "no account chosen", facts, prices) for name, facts in shown]
    if others:
        rows.append(_row(f"{len(others)} other routes", _sum(facts for _, facts in others), prices))
    everything = _sum(routes.values())
    missing = prices.missing(everything.calls, everything.messages)
    return Costs(
        tuple(rows),
        _row("all", everything, prices),
        bool(prices.total(everything.calls, everything.charged)),
        tuple(missing),
    )


def _row(name: str, facts: RouteFacts, prices: Prices) -> CostRow:
    amounts = prices.total(facts.calls, facts.charged)
    each = {currency: amount / facts.verified for currency, amount in amounts.items()} if facts.verified else {}
    return CostRow(
        name,
        facts.customers,
        sum(facts.calls.values()),
        sum(facts.messages.values()),
        facts.verified,
        _in_words(amounts),
        _in_words(each),
    )


def _sum(many: Iterable[RouteFacts]) -> RouteFacts:
    one = RouteFacts()
    for facts in many:
        counts = ((one.calls, facts.calls), (one.messages, facts.messages), (one.charged, facts.charged))
        for ours, theirs in counts:
            for name, number in theirs.items():
                ours[name] = ours.get(name, 0) + number
        one.customers += facts.customers
        one.verified += facts.verified
    return one


def _in_words(amounts: Mapping[str, Decimal]) -> str:
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in amounts.items())
