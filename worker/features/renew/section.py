"""The section `[renew]`, and its months of the calendar.

A month after 31 January is the last day of February. So the approvals that are due by a time are all those up to one
moment, and the database finds them by an index, whatever `every` is now.
"""

import calendar
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

from onboarding_worker.core.foundation.notation import parse_duration, show_duration
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.values import Duration, Section, Shown, Whole, setting

KEPT = timedelta(days=90)  # the default of [retention] personal
A_MONTH = timedelta(days=31)
NEVER = "never"
LONGEST = 100 * 12


def parse_months(given: Any) -> int:
    """The months in a text such as "24 months". Raises ValueError."""
    found = re.fullmatch(r"\s*([1-9]\d{0,3})\s*(month|year)s?\s*", given, re.ASCII) if isinstance(given, str) else None
    months = int(found[1]) * (12 if found[2] == "year" else 1) if found else 0
    if not 0 < months <= LONGEST:
        raise ValueError('expected months or years, such as "24 months" or "2 years"')
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


def _purposes(given: Any) -> dict[str, int]:
    if not isinstance(given, dict):
        raise ValueError("expected a table of PURPOSE = MONTHS")
    return {str(name): 0 if months == NEVER else parse_months(months) for name, months in given.items()}


class Renew(Section):
    """When customers whom a provider has approved are asked again."""

    # In months. Of `purposes`: 0 is never; other purposes have `every`.
    every: Annotated[int | None, BeforeValidator(parse_months), Shown("months")] = setting(
        None, 'How long an approval holds, such as "24 months" or "2 years", by the calendar.', "for ever"
    )
    before: Duration = setting(
        timedelta(days=30), "How long before its end the customer is asked again.", ge=timedelta(0)
    )
    per_day: Whole = setting(1000, "The most customers who are asked again in a day (UTC).", ge=1, le=10_000_000)
    purposes: Annotated[dict[str, int], BeforeValidator(_purposes), Shown("table")] = setting(
        {}, 'Purposes for which another time holds: PURPOSE = "12 months", or "never".'
    )

    @property
    def on(self) -> bool:
        """Whether anything is renewed."""
        return self.every is not None or any(self.purposes.values())


def check(renew: Renew, given: Mapping[str, Any], findings: Findings) -> None:
    months = [one for one in (renew.every, *renew.purposes.values()) if one]
    if not months:
        return
    if renew.before >= min(months) * timedelta(days=28):
        findings.problem(("renew", "before"), "expected less than the shortest time that an approval holds")
        return
    retention = given.get("retention")
    try:
        kept = parse_duration(retention.get("personal", KEPT) if isinstance(retention, dict) else KEPT)
    except ValueError:
        return
    needed = max(months) * A_MONTH - renew.before
    if kept < needed:
        findings.warn(
            ("renew", "every"),
            f'by then contact details are erased: [retention] personal is "{show_duration(kept)}"; customers whose'
            f' details are gone are not asked again, so keep them for "{needed.days} days" or more',
        )


SECTION = FeatureSection("renew", Renew, check=check)
