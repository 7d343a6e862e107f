"""The caps on one customer's sessions and messages, and the reasons when a cap is used up. Pure.

How many messages one address may get, over all customers, lists and events. Pure.

The cap on a customer does not bound what one person receives: a broken list gives sixty customers the same address, and
a stranger can sign sixty names up with it. So an address has a few places. A message needs one to leave, and a session
is opened only for a message that has one: sixty customers with one address cost no sixty sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from worker.core.model.channels import is_mail, text_of
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState

# A message in one of these states has been handed over, or may have been: the outcome of a held message is unknown.
# Of all sessions and channels of the customer, with reminders and the texts that a provider sends.
COUNTED = frozenset(
    {
        InvitationState.WORKING,
        InvitationState.SENT,
        InvitationState.DELIVERED,
        InvitationState.BOUNCED,
        InvitationState.HELD,
    }
)


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
    """The text that is hashed for the places of an address: as `suppression.text_of`, without a `+tag`.

    A stranger can sign up any number of tags of one mailbox. That two tags are two persons is rare, and then a message
    waits; on the do-not-contact list it would be lost. Raises ValueError as `text_of` does.
    """
    local, at, domain = address.rpartition("@")
    mailbox = local.partition("+")[0]
    return text_of(channel, f"{mailbox}{at}{domain}" if mailbox and is_mail(channel) else address)


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

    def counts(self, cap: AddressCap, *, now: datetime) -> bool:
        """True if a message of this place was sent within the period, or may still be sent."""
        if self.taken_at + cap.period <= now:
            return False
        if self.invitation_id is None:
            return self.job not in _NO_MESSAGE
        return self.invitation is None or self.invitation in _TO_COME or self.unknown_handovers > 0


@dataclass(frozen=True, repr=False)
class Wish:
    """Who wants a place at an address (personal, so no repr): a job, before its session is opened (`invitation_id`
    None), or a message that may leave.

    A message whose earlier hand-overs have an unknown outcome may have arrived as often, so it needs a place more for
    each: `unknown_handovers`.
    """

    job_id: int
    invitation_id: UUID | None = None
    unknown_handovers: int = 0
    channel: str = ""
    address: str = ""

    def has(self, place: Place) -> bool:
        """True if the place was taken for this message, or for the job that it belongs to."""
        if self.invitation_id is not None and place.invitation_id == self.invitation_id:
            return True
        return place.job_id == self.job_id and place.invitation_id is None


def give_places(
    cap: AddressCap, places: Sequence[Place], wishes: Sequence[Wish], *, now: datetime
) -> list[int | datetime]:
    """For each wish, in order: the number of the place that it gets, or the time at which to ask again.

    A wish keeps the place that it has. `places` are all of the address. The times assume that each place is free
    again a period after it was taken, so wishes that wait do not all come back at once.
    """
    taken = {place.number: place for place in places if place.counts(cap, now=now)}
    free = [number for number in range(cap.messages) if number not in taken]
    ends = sorted(place.taken_at + cap.period for place in taken.values())
    given: list[int | datetime] = []
    kept: set[int] = set()
    waiting = 0
    for wish in wishes:
        own = [number for number, place in taken.items() if number not in kept and wish.has(place)]
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
