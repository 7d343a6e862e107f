"""Messages, the kind of row that carries a link: what of a flush is special to them, and their gates: whether a leased
message may leave now, just before it leaves.

Each gate gets the messages that no earlier gate has kept, asks only about those that it concerns, and says why some
must stay. A gate that leaves it to its caller whether it concerns any is asked only then. Pure modules decide; a gate
only gives them what they need.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import batch_pace
from onboarding_worker.core.claim.attempt_log import open_rows
from onboarding_worker.core.claim.claims import Leased
from onboarding_worker.core.claim.flush import Kept, Rows
from onboarding_worker.core.database.encrypted_values import decrypt_opening
from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.core.messages import how_many, reminders
from onboarding_worker.core.messages.message_context import (
    LEASES,
    ClaimedInvitation,
    InvitationPolicy,
    MessageClaim,
    first_handovers,
)
from onboarding_worker.core.messages.record_results import record_results
from onboarding_worker.core.messages.stale_links import replace_sessions
from onboarding_worker.core.messages.unreached import fall_back
from onboarding_worker.core.model.channels import address_of, detail_of
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Later, Never, NotNow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.refusals import advice_of, of_stored
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.model.states import (
    ENDED_JOBS,
    LIVE_SESSIONS,
    InvitationState,
    JobState,
    Result,
    SessionState,
)
from onboarding_worker.core.rows.cancellation import cancel_jobs
from onboarding_worker.core.rows.in_review import others_in_review
from onboarding_worker.core.rows.message_rows import customer_of, set_job_states
from onboarding_worker.core.rows.own_links import OwnLink
from onboarding_worker.core.rows.row_by_row import hold_messages
from onboarding_worker.core.rows.suppressions import suppressed
from onboarding_worker.core.rows.unknown_outcomes import messages_to_reconcile
from onboarding_worker.core.rules.contact import (
    BRAND_LOOKED_AT_AGAIN,
    FIRST,
    UNREACHED,
    is_resend,
    is_stale,
    wording_of,
)
from onboarding_worker.core.rules.given_links import is_kept_back
from onboarding_worker.core.rules.quiet_hours import allowed_at
from onboarding_worker.core.rules.reconciliation import UnknownCall
from onboarding_worker.core.rules.text_numbers import why_not_texted

# A verdict wakes the messages that wait for it; this delay is for a review that ends without a verdict.
ASK_AGAIN = timedelta(hours=1)


def has_stale_link(item: ClaimedInvitation, now: datetime) -> bool:
    """Whether the message's link is too old to be sent, or its session is over: our own link never is. Or
    an address that was corrected has the link of its session."""
    if item.given_away:
        return True
    if item.own_link is not None:
        return False
    return item.ended or is_stale(item.expires_at, floor=item.floor, now=now)


def of_missing_brands(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Keep the messages of a brand that the configuration does not have, whatever the age of their links."""
    contact, again = claim.policy.contact, Later(claim.now + BRAND_LOOKED_AT_AGAIN, Reason.BRAND_MISSING)
    return {one.id: again for one in messages if contact.lacks_brand(one.customer)}


def in_review(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Hold first messages, and resends, to customers who have already submitted, through the app or an earlier link.

    The worker does not invite these customers again, and does not buy another session because this link is stale. A
    customer who submitted through an earlier link while this session was being created waits until that review is
    decided, whatever this link's expiry.
    """
    firsts = [one for one in messages if one.kind == FIRST or is_resend(one.kind)]
    following = [
        one for one in firsts if one.leased.reached_before or (one.leased.reissues and one.leased.replaces is not None)
    ]
    reviewed = others_in_review(claim.connection, {one.leased.session_id for one in following}) if following else ()
    return {
        one.id: Later(claim.now + ASK_AGAIN, Reason.IN_REVIEW)
        for one in firsts
        if (one.leased.result == Result.REVIEW and not one.ended) or one.leased.session_id in reviewed
    }


def to_suppressed_addresses(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Stop the messages whose addresses are suppressed by now."""
    channel = claim.policy.channel
    to = {one.id: (channel, address_of(one.customer.person, channel)) for one in messages}
    found = suppressed(claim.connection, claim.keyring, to.values())
    return {
        id_: Never(InvitationState.SUPPRESSED, Reason.SUPPRESSED, detail_of(reason), unreached=reason in UNREACHED)
        for id_, address in to.items()
        if (reason := found.get(address)) is not None
    }


def to_refused_numbers(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Stop the texts to numbers that get none. Another channel may reach their customers.

    Intake refuses such numbers. This is for a number that an event has changed since, for a configuration that has
    changed since, and for the fallback to texts.
    """
    countries = claim.policy.contact.countries
    found = {one.id: why_not_texted(one.customer.person.phone, countries) for one in messages}
    return {
        id_: Never(InvitationState.FAILED, Reason.NUMBER_REFUSED, why, unreached=True)
        for id_, why in found.items()
        if why
    }


def quiet(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Keep the messages to where it is quiet, until it is not."""
    hours, channel = claim.policy.contact.hours, claim.policy.channel
    zones = {one.id: hours.zones(one.customer, (channel,)) for one in messages}
    times = {id_: allowed_at(each, hours.quiet.get(channel), claim.now) for id_, each in zones.items()}
    return {id_: Later(at, Reason.QUIET_HOURS) for id_, at in times.items() if at > claim.now}


def planned_later(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Kept:
    """Keep the messages of batches whose start has not come, and the first messages that are too many for the pace."""
    planned = [one for one in messages if one.leased.planned]
    starts = batch_pace.starts_later(claim.connection, {one.leased.batch_id for one in planned}, now=claim.now)
    early: dict[uuid.UUID, NotNow] = {
        one.id: Later(starts[one.leased.batch_id], Reason.PLANNED) for one in planned if one.leased.batch_id in starts
    }
    paced = places_of(claim, [one for one in planned if one.id not in early])
    return early | (batch_pace.take(claim.connection, paced, batch_pace.MESSAGES, now=claim.now) if paced else {})


def places_of(_claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> list[batch_pace.PacedRow]:
    """The places that these messages need of their batches' pace."""
    firsts = [one for one in messages if one.leased.planned and one.kind == FIRST and not one.leased.reached_before]
    return [batch_pace.PacedRow(one.id, one.leased.batch_id) for one in firsts]


def of_no_use(claim: MessageClaim, rows: Sequence[Any]) -> Kept:
    """Stop the messages whose session or job has ended, or whose job or batch was cancelled.

    A message whose link ended before it reached the customer is left out: its session is replaced, unless that has
    happened already.
    """
    # A job that is being worked ends with its call: its successor must not make another one meanwhile.
    over = [row.job_id for row in rows if row.cancelled_at is not None and row.job_state is not JobState.WORKING]
    if over:
        cancel_jobs(claim.connection, over, now=claim.now)
    kept: dict[uuid.UUID, NotNow] = {}
    for row in rows:
        is_first, is_current = row.kind == FIRST, row.job_session_id == row.session_id
        if row.cancelled_at is not None:
            why = Reason.ERASED if row.job_reason == Reason.ERASED else Reason.CANCELLED
            kept[row.id] = Never(InvitationState.SUPERSEDED, why)
        # It was under way when its link turned out to be for another person, or may be, and did not leave.
        elif row.job_state is JobState.HELD and row.job_reason in (Reason.NOT_ME, Reason.ANSWER_REPEATED):
            kept[row.id] = Never(InvitationState.SUPERSEDED, Reason(row.job_reason))
        # Our own link leads on, whatever its session has become.
        elif claim.policy.stable is not None and row.job_state not in ENDED_JOBS and (not is_first or is_current):
            continue
        elif row.session_state is SessionState.EXPIRED and row.job_state is JobState.ISSUED and is_first and is_current:
            continue  # it is replaced
        elif row.session_state not in LIVE_SESSIONS or row.job_state in (JobState.COMPLETED, JobState.LAPSED):
            kept[row.id] = Never(InvitationState.SUPERSEDED, Reason.SESSION_ENDED)
    return kept


class Invitations(Rows[InvitationPolicy, ClaimedInvitation]):
    """The messages. One whose session has ended, or whose job or batch was cancelled, becomes superseded: its link
    would be of no use. A job whose link has become too old goes back for a new session.
    """

    leases = LEASES
    row_gates = ((of_no_use, None),)
    gates = (
        (of_missing_brands, lambda _claim, messages: any(one.customer.brand for one in messages)),
        (in_review, None),
        (to_suppressed_addresses, lambda _claim, messages: any(one.leased.any_suppressed for one in messages)),
        (to_refused_numbers, lambda claim, _messages: claim.policy.channel == Channel.SMS),
        (how_many.spent, None),
        (reminders.not_now, lambda _claim, messages: any(one.kind != FIRST for one in messages)),
        (quiet, lambda claim, _messages: bool(claim.policy.contact.hours.quiet)),
        (planned_later, lambda _claim, messages: any(one.leased.planned for one in messages)),
    )
    # Only a message that may leave takes a place of its address, and keeps it. The country is last: it counts what
    # leaves.
    gates_after_the_pace = (
        (how_many.without_place, None),
        (how_many.countries_spent, lambda claim, _messages: how_many.is_capped(claim.policy)),
    )
    pace, places_of = batch_pace.MESSAGES, staticmethod(places_of)
    unknown_calls, record = staticmethod(messages_to_reconcile), staticmethod(record_results)
    locks_counts = staticmethod(how_many.is_capped)

    def decrypted(self, claim: MessageClaim, row: sa.Row[Any], unknown_call: UnknownCall | None) -> ClaimedInvitation:
        keyring, contact, is_first = claim.keyring, claim.policy.contact, row.kind == FIRST
        customer = customer_of(keyring, row)
        if not is_first and (template := contact.ladder.step_of(row.kind, contact.reminders).template):
            customer = replace(customer, template=template)
        opening = Opening("")
        if row.session_state is not SessionState.DEFERRED:
            opening = decrypt_opening(keyring, row.session_id, row.session, vendor=row.vendor)
        return ClaimedInvitation(
            id=row.id,
            session_id=row.session_id,
            job_id=row.job_id,
            batch_id=row.batch_id,
            kind=row.kind,
            fence=row.fence,
            attempts=row.attempts,
            due_at=row.due_at,
            lease_until=row.lease_until,
            probe=False,
            customer=customer,
            opening=opening,
            leased=row,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            floor=timedelta(seconds=row.floor_seconds),
            unknown_call=unknown_call,
            priority=row.priority,
            advice=advice_of(of_stored(row.refused_for)) if row.refused_for else "",
            key=row.id.hex,
            wording=wording_of(
                first=is_first or is_resend(row.kind),
                reached_before=row.reached_before,
                refused=row.refused_for is not None,
            ),
            unknown_handovers=row.unknown_handovers,
            lost_handovers=row.lost_handovers,
            traceparent=row.traceparent,
            ended=row.session_state is SessionState.EXPIRED,
            given_away=row.given_away != ""
            and is_kept_back(row.given_away, same_link=row.same_link, channel=row.channel),
        )

    def read(
        self, claim: MessageClaim, rows: Sequence[sa.Row[Any]]
    ) -> tuple[list[ClaimedInvitation], dict[Any, NotNow]]:
        """Where messages carry our own links, with these instead of their sessions'."""
        items, stay = super().read(claim, rows)
        links = claim.policy.stable
        if links is None or not items:
            return items, stay
        keys = {item.id: (item.customer.customer_id, item.customer.purpose) for item in items}
        by_key = links.ensure(claim.connection, claim.keyring, set(keys.values()), now=claim.now)
        for item in items:
            match by_key.get(keys[item.id]):
                case OwnLink() as link:
                    item.use_own_link(link)
                case CannotDecrypt() as error:
                    stay[item.id] = Never(InvitationState.HELD, Reason.CANNOT_DECRYPT, str(error))
                case None:
                    stay[item.id] = Never(InvitationState.SUPERSEDED, Reason.LINK_REVOKED)
        return [item for item in items if item.id not in stay], stay

    def keep_back(self, claim: MessageClaim, rows: Sequence[sa.Row[Any]], stay: Mapping[Any, NotNow]) -> None:
        """The jobs' states follow from their messages. But a superseded message does not change its job: another
        message, or another session, replaces it."""
        connection, now = claim.connection, claim.now
        never = {id_: why for id_, why in stay.items() if isinstance(why, Never)}
        unreached = [id_ for id_, why in never.items() if why.unreached]
        fall_back(connection, claim.keyring, claim.policy.contact, unreached, now=now)
        # What is held has no time, and a cancelled list's reminder without one was over before (`session_reuse`).
        over = {id_: why for id_, why in never.items() if why.state is not InvitationState.HELD}
        timed = {id_: replace(why, at=now) for id_, why in over.items() if why.reason is not Reason.CANCELLED}
        self.leases.keep_back(connection, {**stay, **timed}, now=now)
        ended = {id_ for id_, why in never.items() if why.state is not InvitationState.SUPERSEDED}
        if ended:
            set_job_states(connection, [row.job_id for row in rows if row.id in ended], now=now)

    def passed(
        self, claim: MessageClaim, rows: Sequence[sa.Row[Any]], leased: Leased
    ) -> tuple[list[ClaimedInvitation], frozenset[str]]:
        items, channels = super().passed(claim, rows, leased)
        if claim.policy.stable is not None:
            leaving = [item.own_link for item in items if item.own_link is not None]
            claim.policy.stable.put_off(claim.connection, leaving, now=claim.now)
        return items, channels

    def open(self, flush: MessageClaim, items: Sequence[ClaimedInvitation]) -> list[ClaimedInvitation]:
        # A row with an unknown outcome is reconciled first: the message may have been sent while its link was fresh.
        stale = [item for item in items if item.unknown_call is None and has_stale_link(item, flush.now)]
        opened = list(items)
        if stale:
            replace_sessions(flush.connection, flush.policy, stale, now=flush.now)
            how_many.take_back(flush.connection, flush.policy, stale)
            replaced = {item.id for item in stale}
            opened = [item for item in items if item.id not in replaced]
        repeats = [item for item in opened if item.unknown_handovers]
        first = first_handovers(flush.connection, repeats) if repeats else {}
        for item in opened:
            item.at = first.get(item.id, flush.now)
        open_rows(flush, opened, invitation_id=[item.id for item in opened])
        return opened

    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        hold_messages(connection, kinds, states=(InvitationState.WAITING,), now=now)

    def uncount(self, flush: MessageClaim, items: Sequence[ClaimedInvitation]) -> None:
        how_many.take_back(flush.connection, flush.policy, items)
