"""When an approval must be renewed: months of the calendar, and the approvals that are due. Pure.

A month after 31 January is the last day of February. So the approvals that are due by a time are all those up to one
moment, and the database finds them by an index, whatever `every` is now.
"""

import calendar
import re
from datetime import datetime
from typing import Any

LONGEST = 100 * 12
EXPECTED = 'expected months or years, such as "24 months" or "2 years"'


def parse_months(given: Any) -> int:
    """The months in a text such as "24 months". Raises ValueError."""
    found = re.fullmatch(r"\s*([1-9]\d{0,3})\s*(month|year)s?\s*", given, re.ASCII) if isinstance(given, str) else None
    months = int(found[1]) * (12 if found[2] == "year" else 1) if found else 0
    if not 0 < months <= LONGEST:
        raise ValueError(EXPECTED)
    return months


def after(start: datetime, months: int) -> datetime:
    """So many months after `start`, at the same time of day: its day, or the month's last."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last))


def approved_until(by: datetime, months: int) -> datetime:
    """The latest start that is so many months before `by`, or more."""
    found = after(by, -months)
    last_day = by.day == calendar.monthrange(by.year, by.month)[1]
    last = calendar.monthrange(found.year, found.month)[1]
    return found.replace(day=last) if last_day and last > found.day else found
