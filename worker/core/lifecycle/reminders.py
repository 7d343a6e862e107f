"""Decides which reminder of a session is next, and when; and by which channel, with which words. Pure.

A reminder repeats the link that the customer has; it never costs a session (docs/reference/reissue.md). A step of the
ladder is a reminder that goes by another channel or with another template than the first message.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.core.messages.quiet_hours import QuietHours, allowed_at
from worker.core.model.reasons import Reason
from worker.core.model.sessions import is_stale
from worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState


@dataclass(frozen=True)
class Invited:
    """A session, on the channel of its invitation. Times are aware.

    `invitation` is the state of the first message, `invited_at` the time of its hand-over. `made` are the kinds of the
    reminders that exist on this channel, in any state. `in_review`: the customer has submitted. `floor` is the least
    life that a link may leave with.
    """

    job: JobState
    session: SessionState
    invitation: InvitationState
    invited_at: datetime
    expires_at: datetime
    floor: timedelta
    made: Collection[str] = ()
    in_review: bool = False


@dataclass(frozen=True)
class Reminder:
    """A reminder to send. `kind` is its permanent name: a session has one of each kind on each channel."""

    kind: str
    due_at: datetime


@dataclass(frozen=True)
class Rung:
    """How a reminder differs from the first message: its channel, its template; empty: as the first message."""

    channel: str = ""
    template: str = ""


@dataclass(frozen=True)
class Ladder:
    """The reminders that differ, by their time after the invitation."""

    steps: Mapping[timedelta, Rung] = field(default_factory=dict)

    def step_of(self, kind: str, after: Collection[timedelta]) -> Rung:
        """The step of a reminder of this kind. `after`: the times of all reminders."""
        return next((self.at(span) for index, span in enumerate(sorted(set(after))) if kind_of(index) == kind), Rung())

    def at(self, span: timedelta) -> Rung:
        return self.steps.get(span, Rung())

    def impossible(self, reachable: Collection[str]) -> frozenset[timedelta]:
        """The times of steps by a channel on which the customer cannot be reached."""
        return frozenset(span for span, step in self.steps.items() if step.channel and step.channel not in reachable)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(step.channel for step in self.steps.values() if step.channel)


def kind_of(index: int) -> str:
    """The name of a reminder by its index among the configured times, in order of time."""
    return f"reminder-{index + 1}"


def next_reminder(
    after: Collection[timedelta],
    invited: Invited,
    zones: tuple[str, ...],
    quiet: QuietHours | None,
    now: datetime,
    *,
    skip: Collection[timedelta] = (),
    elsewhere: Mapping[timedelta, QuietHours | None] | None = None,
) -> Reminder | Reason:
    """The next reminder, due at `now` or later and outside quiet hours; or why there is none.

    `after` are the configured times, counted from the invitation. A reminder is skipped if the one after it is due by
    the time that it could leave: so a customer never gets two at once after an outage or quiet hours. `skip` are times
    of `after` without a reminder for this customer; `elsewhere` has the quiet hours of those by another channel.

    Caps and suppressed addresses are not decided here: they hold for each message (`messages.store.gates`).
    """
    if invited.job is not JobState.INVITED or invited.session not in LIVE_SESSIONS or invited.in_review:
        return Reason.NOT_OPEN
    if invited.invitation not in (InvitationState.SENT, InvitationState.DELIVERED):
        return Reason.NOT_REACHED
    spans = sorted(set(after))
    times = [invited.invited_at + span for span in spans]
    last_made = max((index for index in range(len(times)) if kind_of(index) in invited.made), default=-1)
    for index in range(last_made + 1, len(times)):
        if spans[index] in skip:
            continue
        due_at = allowed_at(zones, (elsewhere or {}).get(spans[index], quiet), max(times[index], now))
        later = next((invited.invited_at + span for span in spans[index + 1 :] if span not in skip), None)
        if later is not None and later <= due_at:
            continue
        if is_stale(invited.expires_at, floor=invited.floor, now=due_at):
            return Reason.LINK_ENDS_FIRST
        return Reminder(kind_of(index), due_at)
    return Reason.NONE_LEFT
