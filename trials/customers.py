"""The list of a trial: invented customers for all five endpoints, with email, SMS or both."""

import csv
import random
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# The prefix of a customer's id names the account, so that the checks can use that account's rules.
ACCOUNTS = {"K": "kyc", "L": "kyc-lt", "B": "kyb", "F": "au", "N": "au-new"}
COUNTRIES = {"K": "DE", "L": "LT", "B": "FR", "F": "AU", "N": "AU"}
CHANNELS = ("email", "email", "sms", "both")
FIRST_ROW = 2  # rows are numbered as in a spreadsheet: the header is row 1
COLUMNS = "customer_id kind first_name last_name company_name email phone country locale channel entity_id"
FAMILY = "Okonkwo-Brandt"  # a name that is in no log by accident


@dataclass(frozen=True)
class Listed:
    """One row of the list."""

    index: int
    entity_id: str

    @property
    def row(self) -> int:
        return self.index + FIRST_ROW

    @property
    def prefix(self) -> str:
        return "KLBFN"[self.index % 5]

    @cached_property
    def customer_id(self) -> str:
        return f"{self.prefix}-{self.index:06}"

    @property
    def account(self) -> str:
        return ACCOUNTS[self.prefix]

    @property
    def channel(self) -> str:
        return CHANNELS[self.index // 5 % 4]

    @property
    def channels(self) -> frozenset[str]:
        return frozenset({"email", "sms"} if self.channel == "both" else {self.channel})

    @property
    def email(self) -> str:
        return f"c{self.index}@example.com"

    @property
    def phone(self) -> str:
        return f"+4479{self.index:08}"


def listed(rows: int) -> list[Listed]:
    """The customers. Every call returns the same list, and the same file is the same batch."""
    draw = random.Random(5)
    made = []
    for index in range(rows):
        known = index % 5 == 3
        made.append(Listed(index, str(uuid.UUID(int=draw.getrandbits(128), version=4)) if known else ""))
    return made


def columns_of(one: Listed) -> dict[str, str]:
    name = ["company", "", "", "Lee & Co"] if one.prefix == "B" else ["individual", "Ann", FAMILY, ""]
    contact = [one.email, one.phone, COUNTRIES[one.prefix], "en", one.channel, one.entity_id]
    return dict(zip(COLUMNS.split(), [one.customer_id, *name, *contact], strict=True))


def write_list(path: Path, customers: list[Listed]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS.split())
        writer.writeheader()
        writer.writerows(map(columns_of, customers))
