"""The hours that a list's texts take, since only so many go to one country in an hour (`[sms] per_country`). Pure."""

from collections.abc import Mapping
from datetime import datetime

from worker.core.messages.text_numbers import HOUR, hour_of
from worker.reporting.forecast import Forecast


def with_country_cap(
    ends: Forecast, cap: int | None, left: Mapping[str, int], *, sent: Mapping[str, int], now: datetime
) -> Forecast:
    """The forecast, if the texts to a country need more hours than the rest. `left` and `sent`, in this hour, by
    country; "" is a country that is not known."""
    if ends.finishes_at is None or cap is None:
        return ends
    for country, texts in left.items():
        at = last_text_at(cap, texts, sent.get(country, 0), now=now)
        if ends.finishes_at is None or at > ends.finishes_at:
            where = country or "one country, if all go to one"
            ends = Forecast(at, f"[sms] per_country: {cap:,} texts an hour to {where}", assumed=not country)
    return ends


def by_country(left: int, lately: Mapping[str, int]) -> dict[str, int]:
    """These texts by country, in the proportion of those that went lately; by "" where none did."""
    whole = sum(lately.values())
    return {name: -(-left * number // whole) for name, number in lately.items()} if whole else {"": left}


def last_text_at(cap: int, left: int, sent: int, *, now: datetime) -> datetime:
    """When the last of `left` texts to a country may go, after `sent` in this hour; `now` if none waits for an hour."""
    waiting = left - max(cap - sent, 0)
    return now if waiting <= 0 else hour_of(now) + HOUR * -(-waiting // cap)
