"""The rows of a batch that wait for something else than the rest: a forecast is the rest's, and names them apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from worker.core.foundation.plural import counted, listed_in_words
from worker.core.foundation.timestamps import written
from worker.core.model.reasons import Reason
from worker.reporting.forecast import Forecast
from worker.reporting.store.apart import Apart
from worker.reporting.store.counts import Waits
from worker.reporting.store.unknown_outcomes import Orphans

# What one row waits for, and what several wait for; all other rows wait for the end of a session.
_WAIT_FOR: Mapping[str, tuple[str, str]] = {
    Reason.UNKNOWN: (
        "row waits for the look-up of a call whose answer was lost",
        "rows wait for the look-ups of calls whose answers were lost",
    ),
    Reason.ADDRESS_SPENT: ("row waits for messages_per_address", "rows wait for messages_per_address"),
    Reason.JOINED_JOB: ("row waits for the row of another list", "rows wait for the rows of other lists"),
}
_SESSION_ENDS = ("row waits for the end of a session", "rows wait for the ends of sessions")
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Part:
    """Rows that wait for the same. `until` None: it is not known until when."""

    rows: int
    until: datetime | None
    in_words: str


def part_of(apart: Apart) -> Part:
    what = counted(apart.rows, *_WAIT_FOR.get(apart.reason, _SESSION_ENDS))
    if apart.rows == 1:
        until = "until"
    elif apart.reason == Reason.ADDRESS_SPENT:
        until = "the last is looked at again"  # rows with one address may have the same time, and then some wait again
    else:
        until = "the last until"
    return Part(apart.rows, apart.last, f"{what}, {until} {written(apart.last)}")


def part_of_lost(orphans: Orphans, ends_by: datetime | None) -> Part:
    """The rows whose sessions' tokens were lost. They are due at the next look-up, which may find that those go on."""
    lost = lost_sessions(orphans.number)
    if ends_by is None:
        return Part(orphans.number, None, f"{lost}: the next is looked at {written(orphans.first)}")
    last = "it" if orphans.number == 1 else "the last"
    return Part(orphans.number, ends_by, f"{lost}: {last} has ended by {written(ends_by)} at the latest")


def part_of_kept(kept: Mapping[int, Waits]) -> Part:
    """The rows that joined rows of paused batches, by batch: they go on when a person resumes these."""
    rows = sum(one.rows for one in kept.values())
    names = listed_in_words([str(batch_id) for batch_id in sorted(kept)])
    steps = listed_in_words([f"`onboard resume {batch_id}`" for batch_id in sorted(kept)])
    paused = f"batch {names}, which is paused" if len(kept) == 1 else f"batches {names}, which are paused"
    goes_on = "goes on with it" if len(kept) == 1 else "go on with them"
    what = counted(rows, "row waits for the row", "rows wait for the rows")
    return Part(rows, None, f"{what} of {paused}: {steps} {goes_on}")


def with_rows_apart(ends: Forecast, parts: Iterable[Part], *, left: int) -> Forecast:
    """The forecast of the rest, with the parts that wait for longer. `left`: the rows and messages that are left.

    If nothing else is left, the last of the parts ends the batch.
    """
    if ends.finishes_at is None:
        return ends
    longer = [one for one in parts if (one.until or _NEVER) > ends.finishes_at]
    if left > sum(one.rows for one in longer):
        return replace(ends, apart=tuple(one.in_words for one in longer))
    last = max(longer, key=lambda one: one.until or _NEVER)
    return Forecast(last.until, last.in_words)


def lost_sessions(orphans: int) -> str:
    """This number of orphans, in words; "" for none."""
    return f"{counted(orphans, 'session')} whose token was lost" if orphans else ""


def lost_answers(calls: int, messages: int) -> str:
    """This number of calls and messages whose answers were lost, in words; "" for none."""
    words = [(calls, "call", "calls"), (messages, "message", "messages")]
    parts = [f"{number:,} {singular if number == 1 else plural}" for number, singular, plural in words if number]
    return f"{' and '.join(parts)} whose answer was lost" if parts else ""
