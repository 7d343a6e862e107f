"""What comes next for a row or message that waits, and what keeps it waiting: what a clerk may read out. Pure.

A row's own `due_at` says nothing while its batch is paused, its account is stopped, or everything is. What keeps rows
waiting is that of a report (`core.model.waits`), found when the history is read.
"""

from dataclasses import dataclass
from datetime import datetime

from worker.core.model.stops import way_out
from worker.features.service_desk.case import in_utc
from worker.reporting.obstacles import Circumstances


@dataclass(frozen=True)
class Place:
    """Where a row or message waits. `paused`: why its batch is; `behind_pilot`: it waits for the verdict on its list's
    pilot. `others`: other accounts may take it over."""

    batch_id: int = 0
    paused: str = ""
    behind_pilot: bool = False
    others: bool = False


AT_ITS_BATCH = Place()


@dataclass(frozen=True)
class Next:
    """`at`: not before then, and now where no time is known. `then`: what a person can do."""

    at: datetime
    text: str
    then: str = ""


def next_step(
    what: str, due_at: datetime | None, place: Place, needed: tuple[str, ...], around: Circumstances, *, now: datetime
) -> Next:
    """What comes next: `what`, a sentence without its stop, once nothing is in its way. `needed`: the account and the
    senders that it waits for."""
    due = max(due_at or now, now)
    batch = f"batch {place.batch_id}"
    if around.stopped:
        return Next(now, _nothing_before("everything goes on", around.stopped), "`onboard resume --all`")
    if place.paused:
        resume = f"`onboard resume {place.batch_id}`"
        return Next(now, _nothing_before(f"{batch} goes on, which is paused", place.paused), resume)
    if place.behind_pilot:
        text = f"Next: nothing before the verdict on the pilot of {batch}: this row is behind it."
        return Next(now, text, f"`onboard status {place.batch_id}` shows the pilot")
    blocked = [around.blocked[name] for name in needed if name in around.blocked]
    for one in blocked:
        if one.is_missing:
            back = "put the account back into the configuration"
            return Next(now, _nothing_before("the account is there again", one.in_words), back)
        if one.stopped:
            event = f"{one.called} goes on" + (", or another account takes the row over" if place.others else "")
            return Next(now, _nothing_before(event, one.in_words), way_out(one.name, one.stopped))
    until = [(end, one) for one in blocked if (end := one.paused_until or one.full_until) is not None and end > due]
    if until:
        end, last = max(until, key=lambda each: each[0])
        return Next(end, f"{_nothing_before(in_utc(end), last.in_words)} Then {what}.")
    return Next(due, f"Next: {what}.")


def _nothing_before(event: str, why: str) -> str:
    return f"Next: nothing before {event}: {why}."
