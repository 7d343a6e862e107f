"""The section `[renew]`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

from worker.core.foundation.notation import parse_duration, show_duration
from worker.features.renew.calendar import parse_months
from worker.settings.problems import Findings
from worker.settings.shape import FeatureSection
from worker.settings.values import Duration, Section, Shown, Whole, setting

KEPT = timedelta(days=90)  # the default of [retention] personal
A_MONTH = timedelta(days=31)
NEVER = "never"


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
        kept = (
            parse_duration(retention["personal"]) if isinstance(retention, dict) and "personal" in retention else KEPT
        )
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
