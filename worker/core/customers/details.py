"""What is stored about a customer, apart from rows."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from worker.core.customers.customers import PERSONAL, CustomerKind, Person


@dataclass(frozen=True, repr=False)
class Details:
    """What is stored about a customer, apart from rows. Personal, so it has no repr."""

    person: Person
    country: str = ""
    locale: str = ""
    timezone: str = ""
    kind: CustomerKind = CustomerKind.INDIVIDUAL

    def get(self, column: str) -> Any:
        return getattr(self.person if column in PERSONAL else self, column)

    def shown(self, column: str) -> str:
        """The value as a report writes it; "" for none."""
        value = self.get(column)
        return value.isoformat() if isinstance(value, date) else str(value or "")
