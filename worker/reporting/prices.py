"""The prices in the configuration, of calls and messages; and what a batch has cost, by route and verified customer."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from worker.core.customers.customers import Channel
from worker.reporting.store.spending import Figures, sum_of
from worker.settings.model import Settings
from worker.settings.money import Price, total

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


def in_words(amounts: Mapping[str, Decimal]) -> str:
    """The amounts by currency, for people; "" without any."""
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in amounts.items())
