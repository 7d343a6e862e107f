"""A pilot: the first rows of a list go out, and what becomes of them decides about the rest. Pure.

    finished >= 50% and bounced <= 3% within 4 hours

A lower bound (>=, >) must be reached within the time. An upper bound (<=, <) must hold until its end, and fails as soon
as it is broken: customers who came back do not go away again. So a condition with lower bounds alone is met early.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from operator import ge, gt, le, lt

from onboarding_worker.core.foundation.notation import counted, parse_duration, show_duration

# What is counted of the pilot's customers, with its meaning for people.
NAMES = {
    "sent": "their first invitation left",
    "delivered": "a message was reported delivered",
    "bounced": "a message was refused for its address, or came back",
    "finished": "the provider's final result is known",
    "approved": "the result is approved",
    "denied": "the result is denied",
    "suspected": "the result is suspected",
    "held": "a person must decide about the row",
    "failed": "the row failed",
}
_OPERATORS = {">=": ge, "<=": le, ">": gt, "<": lt}
_NAME, _OPERATOR, _NUMBER, _PERCENT, _AND, _WITHIN = (
    re.compile(rf"\s*({one})", re.ASCII | re.IGNORECASE)
    for one in (
        rf"(?:{'|'.join(NAMES)})(?![a-z])",
        *(">=|<=|>|<", r"\d{1,9}(?:\.\d{1,3})?", "%", "and(?![a-z])", "within(?![a-z])"),
    )
)
EXAMPLE = "finished >= 50% and bounced <= 3% within 4 hours"


class BadCondition(ValueError):
    """A condition that cannot be read. The text shows the place."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        super().__init__(f"expected {expected} at character {at + 1}:\n  {text}\n  {' ' * at}^\nsuch as: {EXAMPLE}")
        self.at = at


@dataclass(frozen=True)
class Bound:
    """A bound of one number: of customers, or of the percent of the pilot's customers."""

    name: str
    operator: str
    number: Decimal
    percent: bool

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.number}{'%' if self.percent else ''}"

    @property
    def is_upper(self) -> bool:
        return self.operator in ("<", "<=")

    def holds(self, numbers: Mapping[str, int], size: int) -> bool:
        value = Decimal(numbers.get(self.name, 0))
        # Without a division: 1 of 3 customers is less than 33.4 %, and more than 33.3 %.
        bound = self.number * size / 100 if self.percent else self.number
        return bool(_OPERATORS[self.operator](value, bound))


@dataclass(frozen=True)
class Condition:
    """All bounds must hold. `within`: so long after the pilot's last invitation has left."""

    bounds: tuple[Bound, ...]
    within: timedelta

    def __str__(self) -> str:
        return f"{' and '.join(map(str, self.bounds))} within {show_duration(self.within)}"


@dataclass(frozen=True)
class PilotNumbers:
    """The pilot's customers now. `unsent`: whose first invitation has not left, and who have not ended."""

    size: int
    unsent: int
    open: int  # for whom something may still happen by itself
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """Whether the rest goes out, and why, for people."""

    met: bool
    why: str


def parse_condition(text: str) -> Condition:
    """Read a condition. Raises BadCondition."""
    bounds: list[Bound] = []
    at = 0
    while True:
        name = _read(text, at, _NAME, f"one of {', '.join(NAMES)}")
        operator = _read(text, name.end(), _OPERATOR, ">=, >, <= or <")
        number = _read(text, operator.end(), _NUMBER, "a number, or a percentage")
        percent = _PERCENT.match(text, number.end())
        if percent and Decimal(number[1]) > 100:
            raise _unread(text, number.end(), "100% or less")
        bounds.append(Bound(name[1].lower(), operator[1], Decimal(number[1]), percent is not None))
        at = (percent or number).end()
        if not (more := _AND.match(text, at)):
            break
        at = more.end()
    begins = _read(text, at, _WITHIN, "`and`, or `within` and a duration").end()
    try:
        within = parse_duration(text[begins:])
    except ValueError:
        raise BadCondition(text, min(begins, len(text)), "a duration such as 4 hours, to the end") from None
    if within <= timedelta(0):
        raise BadCondition(text, begins, "a duration above zero")
    return Condition(tuple(bounds), within)


def _read(text: str, at: int, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise _unread(text, at, expected)
    return found


def _unread(text: str, at: int, expected: str) -> BadCondition:
    rest = text[at:]
    return BadCondition(text, at + len(rest) - len(rest.lstrip()), expected)


def judge(
    condition: Condition | None, pilot: PilotNumbers, *, sent_at: datetime | None, now: datetime
) -> Verdict | None:
    """The verdict; None: it is too early. `sent_at`: when the pilot's last invitation had left; None: not yet. Without
    a condition a person decides, as soon as the pilot has left."""
    if condition is None:
        if sent_at is None:
            return None
        return Verdict(False, f"the pilot of {counted(pilot.size, 'customer')} has left; {in_words(pilot)}")
    broken = [bound for bound in condition.bounds if not bound.holds(pilot.numbers, pilot.size)]
    upper = [bound for bound in broken if bound.is_upper]
    over = sent_at is not None and (now >= sent_at + condition.within or not pilot.open)
    if upper or (over and broken):
        failed = ", ".join(f"{_value(bound, pilot)}, wanted {bound}" for bound in (upper or broken))
        return Verdict(False, f"the pilot of {counted(pilot.size, 'customer')} did not pass: {failed}")
    early = sent_at is not None and not any(bound.is_upper for bound in condition.bounds)
    if not broken and (over or early):
        passed = ", ".join(_value(bound, pilot) for bound in condition.bounds)
        return Verdict(True, f"the pilot of {counted(pilot.size, 'customer')} passed: {passed}")
    return None


def in_words(pilot: PilotNumbers) -> str:
    """The numbers that are not zero."""
    return ", ".join(f"{pilot.numbers[name]:,} {name}" for name in NAMES if pilot.numbers.get(name)) or "nothing yet"


def pilot_size(first: str, rows: int) -> int:
    """How many rows the pilot has: of "100" or "2%", rounded up, at least 1 and at most all rows."""
    wanted = Decimal(first[:-1]) * rows / 100 if first.endswith("%") else Decimal(first)
    return min(max(ceil(wanted), 1), rows)


def read_first(text: str) -> str:
    """Read "100" or "2%". Raises ValueError with the expected form."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*|\s*(\d{1,2}(?:\.\d{1,3})?)\s*%\s*", text, re.ASCII)
    found = match and (match[1] or f"{match[2]}%")
    if not found or Decimal(found.rstrip("%")) == 0:
        raise ValueError("expected a number of rows such as 100, or a share below 100 % such as 2%")
    return found


def _value(bound: Bound, pilot: PilotNumbers) -> str:
    number = pilot.numbers.get(bound.name, 0)
    share = f" ({number * 100 / pilot.size:.1f} %)" if bound.percent and pilot.size else ""
    return f"{bound.name} {number:,}{share}"
