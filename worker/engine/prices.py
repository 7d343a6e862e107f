"""The prices in the configuration: of an account's calls, and of a channel's messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from worker.domain.model.money import Price, total
from worker.settings import Settings


@dataclass(frozen=True)
class Prices:
    """By account, and by channel; None: no price is set. What is not configured any more has none."""

    accounts: Mapping[str, Price | None] = field(default_factory=dict)
    channels: Mapping[str, Price | None] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Prices":
        return cls(
            {name: account.price for name, account in settings.accounts.items()},
            {name: section.price for name, section in settings.sending.items()},
        )

    def total(self, calls: Mapping[str, int], messages: Mapping[str, int]) -> Mapping[str, Decimal]:
        """The price of these calls, by account, and messages, by channel: by currency. Empty without any price."""
        return total(
            [
                *((self.accounts.get(name), number) for name, number in calls.items()),
                *((self.channels.get(name), number) for name, number in messages.items()),
            ]
        )

    def missing(self, calls: Mapping[str, int], messages: Mapping[str, int]) -> list[str]:
        """The accounts and channels with calls or messages and without a price."""
        accounts = {name for name in calls if self.accounts.get(name) is None}
        return sorted(accounts | {name for name in messages if self.channels.get(name) is None})
