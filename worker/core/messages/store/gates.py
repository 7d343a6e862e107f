"""The gates of a claim of messages: whether a leased message may leave now, just before it leaves.

Each gate gets the messages that no earlier gate has kept, asks only about those that it concerns, and says why some
must stay; `passed` writes that. Pure modules decide; a gate only gives them what they need.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.customers.store.cancellation import cancel_jobs
from worker.core.customers.store.in_review import others_in_review
from worker.core.customers.store.suppressions import suppressed
from worker.core.customers.suppression import detail_of
from worker.core.database import bulk
from worker.core.database.encrypted_values import Erased
from worker.core.database.leases import kept_back
from worker.core.database.tables import InvitationRow
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.session_updates import Result
from worker.core.lifecycle.store import reminders
from worker.core.lifecycle.store.own_links import OwnLink, StableLinks
from worker.core.limits.store import batch_pace
from worker.core.messages.delivery_reports import UNREACHED
from worker.core.messages.store import address_places, message_cap_check
from worker.core.messages.store.fallback import fall_back
from worker.core.messages.store.job_from_messages import move_jobs
from worker.core.messages.store.message_context import (
    Candidate,
    ClaimedInvitation,
    InvitationPolicy,
    MessageClaim,
    decrypted,
    leaves_at,
)
from worker.core.messages.text_numbers import why_not_texted
from worker.core.messages.wording import is_resend
from worker.core.model.channels import address_of
from worker.core.model.endings import Later, Never, NotNow
from worker.core.model.reasons import Reason
from worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, InvitationState, JobState, SessionState
from worker.core.unknown.store.unknown_outcomes import messages_to_reconcile
from worker.core.work.store.sessions import FIRST

log = logging.getLogger(__name__)

# A verdict wakes the messages that wait for it; this delay is for a review that ends without a verdict.
ASK_AGAIN = timedelta(hours=1)

Gate = Callable[[MessageClaim, Sequence[Candidate]], Mapping[uuid.UUID, NotNow]]


def in_review(claim: MessageClaim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """Hold first messages, and resends, to customers who have already submitted, through the app or an earlier link.

    The worker does not invite these customers again, and does not buy another session because this link is stale. A
    customer who submitted through an earlier link while this session was being created waits until that review is
    decided, whatever this link's expiry.
    """
    firsts = [one for one in messages if one.item.kind == FIRST or is_resend(one.item.kind)]
    following = [one for one in firsts if one.row.reached_before or (one.row.reissues and one.row.replaces is not None)]
    reviewed = others_in_review(claim.connection, {one.row.session_id for one in following})
    return {
        one.item.id: Later(claim.now + ASK_AGAIN, Reason.IN_REVIEW)
        for one in firsts
        if (one.row.result == Result.REVIEW and not one.item.ended) or one.row.session_id in reviewed
    }


def to_suppressed_addresses(claim: MessageClaim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """Stop the messages whose addresses are suppressed by now."""
    if not any(one.row.any_suppressed for one in messages):
        return {}
    channel = claim.policy.channel
    to = {one.item.id: (channel, address_of(one.item.customer.person, channel)) for one in messages}
    found = suppressed(claim.connection, claim.keyring, to.values())
    return {
        id_: Never(InvitationState.SUPPRESSED, Reason.SUPPRESSED, detail_of(reason), unreached=reason in UNREACHED)
        for id_, address in to.items()
        if (reason := found.get(address)) is not None
    }


def to_refused_numbers(claim: MessageClaim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """Stop the texts to numbers that get none. Another channel may reach their customers.

    Intake refuses such numbers. This is for a number that an event has changed since, for a configuration that has
    changed since, and for the fallback to texts.
    """
    if claim.policy.channel != Channel.SMS:
        return {}
    countries = claim.policy.contact.countries
    found = {one.item.id: why_not_texted(one.item.customer.person.phone, countries) for one in messages}
    return {
        id_: Never(InvitationState.FAILED, Reason.NUMBER_REFUSED, why, unreached=True)
        for id_, why in found.items()
        if why
    }


def quiet(claim: MessageClaim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """Keep the messages to where it is quiet, until it is not."""
    times = {one.item.id: leaves_at(claim.policy, one.item, claim.now) for one in messages}
    return {id_: Later(at, Reason.QUIET_HOURS) for id_, at in times.items() if at > claim.now}


def planned_later(claim: MessageClaim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """Keep the messages of batches whose start has not come, and the first messages that are too many for the pace."""
    planned = [one for one in messages if one.row.planned]
    if not planned:
        return {}
    starts = batch_pace.starts_later(claim.connection, {one.row.batch_id for one in planned}, now=claim.now)
    early: dict[uuid.UUID, NotNow] = {
        one.item.id: Later(starts[one.row.batch_id], Reason.PLANNED) for one in planned if one.row.batch_id in starts
    }
    asks = _paced([one for one in planned if one.item.id not in early])
    return early | (batch_pace.take(claim.connection, asks, batch_pace.MESSAGES, now=claim.now) if asks else {})


def _paced(messages: Sequence[Candidate]) -> list[batch_pace.Asks]:
    """The places that these messages need of their batches' pace."""
    firsts = [one for one in messages if one.row.planned and one.item.kind == FIRST and not one.row.reached_before]
    return [batch_pace.Asks(one.item.id, one.row.batch_id) for one in firsts]


# Only a message that may leave takes a place of its address, and keeps it. The country is last: it counts what leaves.
AFTER_THE_PACE: tuple[Gate, ...] = (address_places.without_place, message_cap_check.countries_spent)
# For all messages except those with an unknown outcome: these are reconciled, not sent.
GATES: tuple[Gate, ...] = (
    in_review,
    to_suppressed_addresses,
    to_refused_numbers,
    message_cap_check.spent,
    reminders.not_now,
    quiet,
    planned_later,
    *AFTER_THE_PACE,
)


def passed(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    rows: Sequence[Any],
    *,
    now: datetime,
) -> list[ClaimedInvitation]:
    """The messages that may leave now, in the order of their claim.

    The other rows are released here, each with what becomes of it and of its job.
    """
    claim = MessageClaim(connection, keyring, policy, now)
    # A job that is being worked ends with its call: its successor must not make another one meanwhile.
    over = [row.job_id for row in rows if row.cancelled_at is not None and row.job_state is not JobState.WORKING]
    cancel_jobs(connection, over, now=now)
    stay = of_no_use(rows, stable=policy.stable is not None)
    found, undecrypted = _decrypted(claim, [row for row in rows if row.id not in stay])
    stay |= undecrypted
    own: dict[uuid.UUID, OwnLink] = {}
    if policy.stable is not None and found:
        own, without = _with_own_links(claim, policy.stable, found)
        stay |= without
        found = [one for one in found if one.item.id in own]
    for gate in GATES:
        asked = [one for one in found if one.item.unknown_call is None and one.item.id not in stay]
        kept = gate(claim, asked) if asked else {}
        if kept:
            log.debug("%s: %d of %d leased messages stay: %s", policy.channel, len(kept), len(asked), gate.__name__)
        if kept and gate in AFTER_THE_PACE:
            paced = _paced([one for one in asked if one.item.id in kept])
            if paced:
                batch_pace.give_back(connection, paced, batch_pace.MESSAGES)
        stay |= kept
    unreached = [row_id for row_id, why in stay.items() if isinstance(why, Never) and why.unreached]
    fall_back(connection, keyring, policy.contact, unreached, now=now)
    _keep_back(connection, rows, stay, now=now)
    if policy.stable is not None:
        policy.stable.put_off(connection, [link for id_, link in own.items() if id_ not in stay], now=now)
    return [one.item for one in found if one.item.id not in stay]


def _decrypted(claim: MessageClaim, rows: Sequence[Any]) -> tuple[list[Candidate], dict[uuid.UUID, NotNow]]:
    """The messages, and those that cannot be decrypted: these may block no others."""
    customers = {row.id: row.customer_id for row in rows}
    unknown_calls = messages_to_reconcile(claim.connection, rows, customers, now=claim.now)
    found: list[Candidate] = []
    stay: dict[uuid.UUID, NotNow] = {}
    for row in rows:
        try:
            found.append(Candidate(decrypted(claim.keyring, row, unknown_calls.get(row.id)), row))
        except CannotDecrypt as error:
            stay[row.id] = Never(InvitationState.HELD, Reason.CANNOT_DECRYPT, str(error))
        except Erased as error:
            stay[row.id] = Never(InvitationState.FAILED, Reason.ERASED, str(error))
    return found, stay


def _with_own_links(
    claim: MessageClaim, links: StableLinks, found: Sequence[Candidate]
) -> tuple[dict[uuid.UUID, OwnLink], dict[uuid.UUID, NotNow]]:
    """Give the messages our own links instead of their sessions'. Returns these, and the messages that get none."""
    keys = {one.item.id: (one.item.customer.customer_id, one.item.customer.purpose) for one in found}
    by_key = links.ensure(claim.connection, claim.keyring, set(keys.values()), now=claim.now)
    own: dict[uuid.UUID, OwnLink] = {}
    stay: dict[uuid.UUID, NotNow] = {}
    for one in found:
        match by_key.get(keys[one.item.id]):
            case OwnLink() as link:
                one.item.use_own_link(link.address, link.ends_at, made_at=link.made_at)
                own[one.item.id] = link
            case CannotDecrypt() as error:
                stay[one.item.id] = Never(InvitationState.HELD, Reason.CANNOT_DECRYPT, str(error))
            case None:
                stay[one.item.id] = Never(InvitationState.SUPERSEDED, Reason.LINK_REVOKED)
    return own, stay


def of_no_use(rows: Sequence[Any], *, stable: bool) -> dict[uuid.UUID, NotNow]:
    """The messages whose session or job has ended, or whose job or batch was cancelled, with the reason.

    A message whose link ended before it reached the customer is left out: its session is replaced, unless that has
    happened already.
    """
    return {row.id: why for row in rows if (why := _of_no_use(row, stable=stable)) is not None}


def _of_no_use(row: Any, *, stable: bool) -> Never | None:
    if row.cancelled_at is not None:
        return Never(InvitationState.SUPERSEDED, Reason.CANCELLED)
    # It was under way when its link turned out to be for another person, or may be, and did not leave.
    if row.job_state is JobState.HELD and row.job_reason in (Reason.NOT_ME, Reason.ANSWER_REPEATED):
        return Never(InvitationState.SUPERSEDED, Reason(row.job_reason))
    # Our own link leads on, whatever its session has become.
    if stable and row.job_state not in ENDED_JOBS and (row.kind != FIRST or row.job_session_id == row.session_id):
        return None
    is_current = row.job_session_id == row.session_id
    replaceable = row.job_state is JobState.ISSUED and row.kind == FIRST and is_current
    if row.session_state is SessionState.EXPIRED and replaceable:
        return None
    if row.session_state not in LIVE_SESSIONS or row.job_state in (JobState.COMPLETED, JobState.LAPSED):
        return Never(InvitationState.SUPERSEDED, Reason.SESSION_ENDED)
    return None


def _keep_back(
    connection: sa.Connection, rows: Sequence[Any], stay: Mapping[uuid.UUID, NotNow], *, now: datetime
) -> None:
    """Release the claimed rows that do not leave; their jobs' states follow from their messages."""
    kept = [row for row in rows if row.id in stay]
    moves = [{"invitation_id": row.id} | kept_back(stay[row.id], InvitationState.WAITING) for row in kept]
    _CHANGE.run(connection, moves)
    # A superseded message does not change its job: another message, or another session, replaces it.
    ended = [row.job_id for row in kept if _ends(stay[row.id])]
    if ended:
        move_jobs(connection, ended, now=now)


def _ends(why: NotNow) -> bool:
    return isinstance(why, Never) and why.state is not InvitationState.SUPERSEDED


_CHANGE = bulk.Change(
    InvitationRow.id,
    bulk.new("state", "due_at", "reason", "detail") | {"lease_until": None},
    by="invitation_id",
)
