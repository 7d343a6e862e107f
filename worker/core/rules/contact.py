"""Which messages a customer may get: how fresh, in which words, how many, and what the configuration says of them.

A session has one message of each kind on each channel, so two commands at once cannot make two: `invitation`, its
reminders, and those that repeat its link because a person asked, `resend-1`, …

The cap on a customer does not bound what one person receives: a broken list gives sixty customers the same address, and
a stranger can sign sixty names up with it. So an address has a few places. A message needs one to leave, and a session
is opened only for a message that has one: sixty customers with one address cost no sixty sessions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason, address_of, is_mail, text_of
from onboarding_worker.core.model.customers import Channel, Customer
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.refusals import Advice
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.text_numbers import why_not_texted

# The customer was reached by such a message. A bounced message reached no one, and a held one perhaps no one.
REACHED = frozenset({InvitationState.SENT, InvitationState.DELIVERED})


def is_stale(expires_at: datetime, *, floor: timedelta, now: datetime) -> bool:
    """Whether a link has less life left than its route's freshness floor: no message may carry it."""
    return expires_at - now < floor


class Wording(StrEnum):
    """The value of the template variable `kind`."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    NEW_LINK = "new_link"
    TRY_AGAIN = "try_again"  # a new link for a customer who was refused, with what to do better


NEW_LINKS = frozenset({Wording.NEW_LINK, Wording.TRY_AGAIN})


def wording_of(*, first: bool, reached_before: bool, refused: bool = False) -> Wording:
    """The words of a message.

    `first`: it is the first message of its session on its channel, or repeats that on request; not a reminder.
    `reached_before`: a message with the link of an earlier session of the customer, for the same purpose, is in one of
    the states of REACHED. Without the words of a new link the customer would get the first message twice, and take the
    second for a mistake or for fraud. Our own link survives its session: sent again, it has the words of an invitation
    (`message_context.use_own_link`). `refused`: the provider has refused the customer, who is asked once more.
    """
    if not first:
        return Wording.REMINDER
    if refused:
        return Wording.TRY_AGAIN
    return Wording.NEW_LINK if reached_before else Wording.INVITATION


def advice_for(kind: str) -> str:
    """The advice of a message that shows what such a one looks like."""
    return Advice.DOCUMENT_PHOTO.value if kind == Wording.TRY_AGAIN else ""


FIRST = "invitation"  # the kind of a session's first message, as opposed to its reminders
PREFIX = "resend-"


def is_resend(kind: str) -> bool:
    return kind.startswith(PREFIX)


def next_kind(kinds: Iterable[str]) -> str:
    """The kind of the next message on a channel that has messages of these kinds."""
    return f"{PREFIX}{sum(map(is_resend, kinds)) + 1}"


@dataclass(repr=False)  # not frozen: see `model.customers`
class Invitation:
    """What a message is written from: a claimed one (`message_context.ClaimedInvitation`), or one to look at. Personal
    and secret: no repr shows it. `expires_at` is aware UTC."""

    customer: Customer
    opening: Opening
    expires_at: datetime
    _: KW_ONLY
    sender_name: str = ""
    wording: str = Wording.INVITATION
    clock: str = ""  # the zone that its times are written in; "": the customer's own, or UTC
    advice: str = ""  # what the customer can do better (`model.refusals.advice_of`)
    key: str = ""  # these two as in the `Message`; a preview has neither
    at: datetime | None = None


class CannotWrite(Exception):
    """The operator's words are wrong, not the customer. The text never has a value of a customer."""


class Writer(Protocol):
    """Writes messages: the templates."""

    def render(self, invitation: Invitation, *, channel: str, now: datetime) -> Message:
        """The message on a channel at `now` (aware UTC). Raises CannotWrite."""


# A message in one of these states has been handed over, or may have been: the outcome of a held message is unknown.
# Of all sessions and channels of the customer, with reminders and the texts that a provider sends.
COUNTED = REACHED | {InvitationState.WORKING, InvitationState.BOUNCED, InvitationState.HELD}


@dataclass(frozen=True)
class Caps:
    """`reissues`: sessions after the first, per customer and purpose. `messages`: to one customer, for all purposes."""

    reissues: int
    messages: int


def may_send(caps: Caps, messages: int) -> bool:
    """True if one more message may be handed over when `messages` count already."""
    return messages < caps.messages


def spent(caps: Caps, *, reissues: int, messages: int) -> Reason | None:
    """Why the customer gets no new session; None: it may have one.

    A session whose link cannot be sent costs money and is of no use: so the cap on messages limits sessions too.
    """
    if reissues >= caps.reissues:
        return Reason.REISSUES_SPENT
    return None if may_send(caps, messages) else Reason.MESSAGES_SPENT


# A place of such a job that was not taken for a message yet is free: no message follows.
_NO_MESSAGE = frozenset({JobState.FAILED, JobState.CANCELLED})
_TO_COME = COUNTED | {InvitationState.WAITING}


def text_of_mailbox(channel: str, address: str) -> str:
    """The text that is hashed for the places of an address: as `channels.text_of`, without a `+tag`.

    A stranger can sign up any number of tags of one mailbox. That two tags are two persons is rare, and then a message
    waits; on the do-not-contact list it would be lost. Raises ValueError as `text_of` does.
    """
    return text_of(channel, without_tag(address) if is_mail(channel) else address)


def without_tag(email: str) -> str:
    local, at, domain = email.rpartition("@")
    mailbox = local.partition("+")[0]
    return f"{mailbox}{at}{domain}" if mailbox else email


@dataclass(frozen=True)
class AddressCap:
    """At most `messages` to one address in any `period`."""

    messages: int
    period: timedelta


@dataclass(frozen=True)
class Place:
    """One of an address's places. `invitation_id` None: it was taken before its job's session is opened.

    `job` and `invitation` are their states; None: the row does not exist, or not any more. `unknown_handovers`: those
    of the message whose outcome stays unknown.
    """

    number: int
    job_id: int
    invitation_id: UUID | None
    taken_at: datetime
    job: JobState | None = None
    invitation: InvitationState | None = None
    unknown_handovers: int = 0


@dataclass(frozen=True, repr=False)
class Wish:
    """Who wants a place at an address (personal, so no repr): a job, before its session is opened (`invitation_id`
    None), or a message that may leave. Its own is a place that was taken for it, or for the job that it belongs to.

    A message whose earlier hand-overs have an unknown outcome may have arrived as often, so it needs a place more for
    each: `unknown_handovers`.
    """

    job_id: int
    invitation_id: UUID | None = None
    unknown_handovers: int = 0
    channel: str = ""
    address: str = ""


def give_places(
    cap: AddressCap, places: Sequence[Place], wishes: Sequence[Wish], *, now: datetime
) -> list[int | datetime]:
    """For each wish, in order: the number of the place that it gets, or the time at which to ask again.

    A wish keeps the place that it has. `places` are all of the address. The times assume that each place is free
    again a period after it was taken, so wishes that wait do not all come back at once.
    """
    taken: dict[int, Place] = {}  # a message of the place was sent within the period, or may still be sent
    for place in places:
        if place.invitation_id is None:
            counts = place.job not in _NO_MESSAGE
        else:
            counts = place.invitation is None or place.invitation in _TO_COME or place.unknown_handovers > 0
        if counts and place.taken_at + cap.period > now:
            taken[place.number] = place
    free = [number for number in range(cap.messages) if number not in taken]
    ends = sorted(place.taken_at + cap.period for place in taken.values())
    given: list[int | datetime] = []
    kept: set[int] = set()
    waiting = 0
    for wish in wishes:
        own = [
            number
            for number, place in taken.items()
            if number not in kept
            and (
                place.job_id == wish.job_id
                if place.invitation_id is None
                else place.invitation_id == wish.invitation_id
            )
        ]
        if len(own) > wish.unknown_handovers:
            newest = max(own, key=lambda number: taken[number].taken_at)
            kept.add(newest)
            given.append(newest)
        elif free and len(ends) < cap.messages:
            given.append(free.pop(0))
            ends.append(now + cap.period)
        else:
            # Of more places than the cap allows (it was higher), the first ones to end make no room.
            turn = len(ends) - cap.messages + waiting
            given.append(ends[turn % len(ends)] + cap.period * (turn // len(ends)))
            waiting += 1
    return given


# Only reasons that show that the address does not work. A customer who asked for no messages, or complained, gets none
# on another channel either; nor does a customer whom an operator suppressed.
UNREACHED = frozenset({SuppressionReason.BOUNCE})


def following(channel: str, fallbacks: Mapping[str, str]) -> tuple[str, ...]:
    """The channels that are tried after this one, each after the one before it."""
    found: dict[str, None] = {}
    other = fallbacks.get(channel)
    while other is not None and other != channel and other not in found:
        found[other] = None
        other = fallbacks.get(other)
    return tuple(found)


def writable(
    channels: Sequence[str], fallbacks: Mapping[str, str], suppressed: Mapping[str, SuppressionReason | None]
) -> tuple[str, ...]:
    """The channels on which the customer may get messages, with the fallback in place of an unreachable one.

    `channels` are the channels that the row asks for. `suppressed` holds every channel for which the customer has an
    address, with the reason of its suppression; None: the address may be used.
    """
    found: dict[str, None] = {}
    for channel in channels:
        reason = suppressed.get(channel)
        if channel in suppressed and reason is None:
            found[channel] = None
        elif channel in suppressed and reason in UNREACHED:
            others = following(channel, fallbacks)
            other = next((one for one in others if one in suppressed and suppressed[one] is None), None)
            if other is not None:
                found[other] = None
    return tuple(found)


@dataclass(frozen=True)
class PauseRule:
    """Pause above `percent` of the `tried` messages, if at least `least` were tried: a few messages prove little."""

    percent: int = 10
    least: int = 50


def kind_of(index: int) -> str:
    """The name of a reminder by its index among the configured times, in order of time."""
    return f"reminder-{index + 1}"


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
        span = next((span for index, span in enumerate(sorted(set(after))) if kind_of(index) == kind), None)
        return self.steps.get(span, Rung()) if span is not None else Rung()

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(step.channel for step in self.steps.values() if step.channel)


# A row whose brand the configuration does not have is looked at again: a process with the brand may run by then.
BRAND_LOOKED_AT_AGAIN = timedelta(minutes=15)


class CorrectedRule(StrEnum):
    """`[follow_up] corrected_address`, for accounts that open no other session before the end of the present one."""

    WAIT = "wait"
    SAME_LINK = "same-link"


@dataclass(frozen=True)
class ContactPolicy:
    """Built once from the configuration; what differs by account or channel stands in the policies that hold it."""

    caps: Caps
    spacing: timedelta = timedelta(0)  # the least time between two sessions of one customer
    # How long before its end a link is replaced, where the provider opens another session then; zero: after its end.
    ahead: timedelta = timedelta(0)
    per_day: int | None = None  # the most reissues of an account in a UTC day; None: no limit
    # The reasons for which a refused customer is asked once more (`model.refusals.asks_again`).
    refused_for: frozenset[str] = frozenset()
    corrected: CorrectedRule = CorrectedRule.WAIT  # what becomes of a link whose address was corrected
    hours: Hours = field(default_factory=Hours)
    # The channel to try where one does not reach the customer, by channel; the worker must have a sender for it.
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    address_cap: AddressCap | None = None  # None: an address may get any number of messages
    countries: frozenset[str] | None = None  # those that texts may go to; None: all
    texts_per_country: int | None = None  # in an hour; None: as many as there are
    brands: frozenset[str] | None = None  # the names of those in whose words messages can be written; None: all
    pause: PauseRule | None = None  # None: no batch is paused automatically
    reminders: tuple[timedelta, ...] = ()  # counted from the first message; steps of the ladder among them
    ladder: Ladder = field(default_factory=Ladder)
    budgets: Mapping[str, BudgetRule] = field(default_factory=dict)  # of the senders, by channel

    def impossible(self, customer: Customer) -> frozenset[timedelta]:
        """The times of reminders by a channel on which this customer cannot be reached."""
        if not self.ladder.channels:
            return frozenset()
        person = customer.person
        reachable = [
            name
            for name in CHANNELS
            if (address := address_of(person, name))
            and not (name == Channel.SMS and why_not_texted(address, self.countries))
        ]
        steps = self.ladder.steps.items()
        return frozenset(span for span, step in steps if step.channel and step.channel not in reachable)

    def lacks_brand(self, customer: Customer) -> bool:
        """Whether nothing can be written to the customer: its brand was taken out of the configuration."""
        return bool(customer.brand) and self.brands is not None and customer.brand not in self.brands

    @property
    def elsewhere(self) -> Mapping[timedelta, QuietHours | None]:
        """The quiet hours of reminders by another channel than the first message's."""
        steps = self.ladder.steps.items()
        return {span: self.hours.quiet.get(step.channel) for span, step in steps if step.channel}
