"""Amounts of money: exact, in one currency each. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_CENTS = Decimal("0.00")  # a sum has two decimal places, or those of the finest price


@dataclass(frozen=True)
class Price:
    """What one call or message costs."""

    amount: Decimal
    currency: str  # three letters, as in ISO 4217

    @classmethod
    def parse(cls, text: str) -> "Price":
        """Read "0.90 EUR". Raises ValueError, with an example."""
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) ([A-Z]{3})", text.strip(), re.ASCII)
        if not match:
            raise ValueError('expected an amount and a currency, such as "0.90 EUR"')
        return cls(Decimal(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def total(counted: Iterable[tuple[Price | None, int]]) -> Mapping[str, Decimal]:
    """The sum of so many calls at their prices, by currency. What has no price is left out."""
    sums: dict[str, Decimal] = {}
    for price, number in counted:
        if price is not None:
            sums[price.currency] = sums.get(price.currency, _CENTS) + price.amount * number
    return dict(sorted(sums.items()))


def amounts_in_words(amounts: Mapping[str, Any]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in amounts.items())


def in_json(amounts: Mapping[str, Decimal]) -> dict[str, Any]:
    """Amounts as text: a number of JSON is read as a binary fraction."""
    return {currency: str(amount) for currency, amount in amounts.items()}
