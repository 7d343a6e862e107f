"""Records the results of hand-overs to senders: all of a flush in its transaction."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.budgets.reports import count_unread
from onboarding_worker.core.claim.attempt_log import (
    CLOSE,
    CLOSE_DONE,
    SortedOut,
    after_call,
    closing,
    plain,
    sort_out,
    standing,
)
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.facts import MessagesSent, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import batch_of
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.database.tables.types import REFERENCE_LENGTH
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.messages import how_many, reminders
from onboarding_worker.core.messages.message_context import ClaimedInvitation, InviteResult, MessageClaim
from onboarding_worker.core.messages.unreached import fall_back
from onboarding_worker.core.model.channels import SuppressionReason, address_of
from onboarding_worker.core.model.endings import AddressIs, Cancel, Done, invitation_state_after
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LATE, InvitationState, JobState
from onboarding_worker.core.rows import message_rows
from onboarding_worker.core.rows.erased_jobs import erase_again
from onboarding_worker.core.rows.message_rows import HELD_FIRST, BounceCounts, set_job_states
from onboarding_worker.core.rows.sessions import schedule_checks
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.core.rules.contact import FIRST, NEW_LINKS
from onboarding_worker.core.rules.reconciliation import stays_unknown


def record_results(flush: MessageClaim, results: Sequence[InviteResult]) -> set[str]:
    """Write results: the attempts, the invitations and their jobs' states. No message becomes due by that."""
    connection, policy, now = flush.connection, flush.policy, flush.now
    # A message that left by an ordinary hand-over is plain if its lease is still ours. All other results are special: a
    # problem, a look-up, a late receipt.
    usual = [item for item in results if isinstance(item.ending, Done) and item.row.unknown_call is None]
    written, ours = write_plain(flush, usual) if usual else ([], {})
    ids = {item.row.attempt_id for item in written}
    special = [item for item in results if item.row.attempt_id not in ids]
    settled: list[InviteResult] = []
    if special:
        found = sort_out(connection, _STANDING, special, now=now)
        settled = _write_special(flush, found)
        special = found.results
        ours |= {id_: found.rows[id_].job_id for id_ in found.ours}
    results = [*written, *special]
    kept = [item for item in results if item.row.id in ours]
    if kept:
        done = [item.row for item in kept if isinstance(item.ending, Done)]
        if done:
            happened(connection, MessagesSent([one.id for one in done]), now=now)
        if refused := [item for item in special if item.row.id in ours and _address_refused(item)]:
            _follow_up(flush, refused)
        firsts = (item.row for item in written if item.row.kind == FIRST)
        set_job_states(connection, ours.values(), sent={ours[item.id]: item.session_id for item in firsts}, now=now)
        if policy.contact.reminders:
            sent = [
                reminders.Sent(one.session_id, ours[one.id], policy.channel, one.customer, one.expires_at)
                for one in done
                if one.kind == FIRST
            ]
            reminders.add(connection, policy.contact, sent, now=now)
        if settled:
            schedule_checks(connection, {ours[item.row.id] for item in settled}, now=now)
    call_outcomes = [CallOutcome(item.began_at) for item in written]
    call_outcomes += [CallOutcome(item.began_at, item.problem) for item in special if item.ending]
    unread = [item.problem.unread for item in special if item.problem is not None]
    count_unread(connection, policy.rule.name, unread, now=now)
    # Messages are not counted as credits.
    budgets.apply_outcomes(connection, policy.rule, call_outcomes, now=now, refund=False)
    if not_made := [item.row for item in results if item.ending is None]:
        budgets.end_probe(connection, policy.rule, not_made)
        how_many.take_back(connection, policy, not_made)
    message_rows.count_bounces(connection, _bounce_counts_of(kept, ours), policy.contact.pause, now=now)
    return set()


def _write_special(flush: MessageClaim, found: SortedOut[ClaimedInvitation]) -> list[InviteResult]:
    """Write results that are not plain. Returns those that settled an unknown outcome: it was reconciled, or answered
    late."""
    connection, keyring, now = flush.connection, flush.keyring, flush.now
    if found.answered:  # the jobs that are held for these messages are issued again: the messages decide their state
        held = sa.select(InvitationRow.job_id).join(Job, HELD_FIRST).where(InvitationRow.id.in_(found.answered))
        again = sa.update(Job).where(Job.id.in_(held), Job.state == JobState.HELD)
        connection.execute(again.values(state=JobState.ISSUED, reason="", detail=""))
    kept = [item for item in found.results if item.row.id in found.ours]
    moves = [_move(item, counted=found.counted(item), now=now) for item in kept]
    _MOVE.run(connection, moves)
    unknown = [item.row for item, move in zip(kept, moves, strict=True) if move["more_unknown"]]
    repeats = {item.id: item.customer.customer_id for item in unknown}
    how_many.end_waits(connection, flush.policy, repeats, now=now)
    closings = [_closing(keyring, item, late=False) for item in found.results]
    CLOSE.run(connection, closings + [_closing(keyring, item, late=True) for item in found.late], at=now)
    erase_again(connection, {found.rows[item.row.id].job_id for item in (*found.results, *found.late)})
    return [item for item in kept if item.row.unknown_call is not None or found.counted(item)]


def _closing(keyring: Keyring, result: InviteResult, *, late: bool) -> dict[str, Any]:
    values = closing(keyring, result)
    if late and isinstance(result.ending, Done):
        # The message left, and may leave again: only this says so. Mail servers give no reference.
        values |= {"new_outcome": LATE, "new_detail": "the receipt came after the lease"}
        values |= {"new_found": result.reference[:REFERENCE_LENGTH]}
    return values


_STANDING = standing(InvitationRow, InvitationRow.job_id)
_MOVE = bulk.Change(
    InvitationRow.id,
    bulk.new("state", "due_at", "reason", "detail", "reference", "sent_at", "unknown_attempt")
    | {
        "lease_until": None,
        "delivery_at": None,  # a bounced message that is sent again: the earlier delivery update no longer applies
        "attempts": InvitationRow.attempts + sa.bindparam("more_attempts"),
        "waits": InvitationRow.waits + sa.bindparam("more_waits"),
        "new_link": sa.bindparam("has_new_link"),
        # A look-up makes no message: then the one that it asked about keeps its template.
        "template": sa.func.coalesce(
            sa.func.nullif(sa.bindparam("new_template", type_=sa.String()), ""), InvitationRow.template
        ),
        # As for the template.
        "segments": sa.func.coalesce(sa.bindparam("new_segments", type_=sa.SmallInteger()), InvitationRow.segments),
        "unknown_handovers": InvitationRow.unknown_handovers + sa.bindparam("more_unknown"),
    },
    by="invitation_id",
)


def _move(result: InviteResult, *, counted: bool, now: datetime) -> dict[str, Any]:
    """The invitation's new values. `counted`: the attempt was counted already, when its outcome became unknown."""
    ending, item, call = result.ending, result.row, result.row.unknown_call
    unknown_call = call.attempt_id if call is not None else None
    after = after_call(
        ending, due_at=item.due_at, attempt_id=item.attempt_id, unknown_call=unknown_call, counted=counted
    )
    move = after | {
        "invitation_id": item.id,
        "new_state": InvitationState.WAITING if ending is None else invitation_state_after(ending),
        "new_reference": result.reference[:REFERENCE_LENGTH],
        "new_sent_at": now if isinstance(ending, Done) else None,
        "has_new_link": item.wording in NEW_LINKS,
        "new_template": result.template,
        "new_segments": result.segments if result.template else None,
        "more_unknown": int(stays_unknown(ending, result.problem) and call is None),
    }
    return move | _refused(result)


# The database checks in the same statement whether the lease is still ours.
_SENT = bulk.Change(
    InvitationRow.id,
    bulk.new("reference", "template", "segments")
    | {
        "state": InvitationState.SENT,
        "due_at": None,
        "lease_until": None,
        "delivery_at": None,
        "attempts": InvitationRow.attempts + 1,
        "reason": "",
        "detail": "",
        "sent_at": sa.bindparam("at"),
        "new_link": sa.bindparam("has_new_link"),
        "unknown_attempt": None,
        "counted": InvitationRow.counted + sa.bindparam("counts"),
    },
    InvitationRow.state == bulk.fixed(InvitationState.WORKING),
    by="row_id",
    equal={"fence": InvitationRow.fence},
    returning=[InvitationRow.job_id],
)


def write_plain(
    flush: MessageClaim, results: Sequence[InviteResult]
) -> tuple[list[InviteResult], dict[uuid.UUID, int]]:
    """Write the results that are plain, of one or more that may be. Returns them, and the jobs of their messages."""
    counts = tally.counts_in_bulk(len(results))
    items = sorted(results, key=lambda item: item.row.id)
    values: Columns = {
        "new_reference": [item.reference[:REFERENCE_LENGTH] for item in items],
        "has_new_link": [item.row.wording in NEW_LINKS for item in items],
        "new_template": [item.template for item in items],
        "new_segments": [item.segments for item in items],
    }
    found = plain(flush, _SENT, items, values, counts=counts)
    if not found:
        return [], {}
    if counts:
        # First messages that have left, with their jobs by now.
        all_, channel = tally.of(flush.connection), flush.policy.channel
        firsts = Counter(batch_of(row.job_id) for item, row in found if item.row.kind == FIRST)
        for batch_id, number in firsts.items():
            all_.add(tally.message(batch_id, InvitationState.WORKING, channel), -number)
            all_.add(tally.message(batch_id, InvitationState.SENT, channel), number)
    # Calls to senders are not counted (`tally.call`).
    closed = {"attempt_id": [item.row.attempt_id for item, _ in found]}
    CLOSE_DONE.run_columns(flush.connection, closed, at=flush.now, counts=0)
    return [item for item, _ in found], {row.id: row.job_id for _, row in found}


def _address_refused(result: InviteResult) -> dict[str, Any]:
    """The message's state and reason where the sender refused its address; empty otherwise."""
    address = result.problem.address if result.problem is not None else None
    if address is None or not isinstance(result.ending, Cancel):
        return {}
    # Like a bounce, but at once.
    state = InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED
    return {"new_state": state, "new_reason": Reason(state)}


def _refused(result: InviteResult) -> dict[str, Any]:
    """What is to be stored of the message where the sender refused it for good; empty otherwise."""
    if isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT:
        # Of a message it says nothing about the customer's data: a retry sends the same link.
        return {"new_reason": Reason.MESSAGE_REFUSED} | _address_refused(result)
    return _address_refused(result)


# Why an address is suppressed after a sender's refusal; others stay usable.
_TO_SUPPRESS: Mapping[AddressIs | None, SuppressionReason] = {
    AddressIs.GONE: SuppressionReason.BOUNCE,
    AddressIs.OPTED_OUT: SuppressionReason.STOP,
}


def _follow_up(flush: MessageClaim, results: Sequence[InviteResult]) -> None:
    """Suppress the addresses that are refused for good in these results, and write to their customers on the other
    channel.

    Call this after the messages are stored and before their jobs' states follow from the messages.
    """
    connection, keyring, policy, now = flush.connection, flush.keyring, flush.policy, flush.now
    refused = [(address_of(result.row.customer.person, policy.channel), result) for result in results]
    # Always in the same order, so that two transactions with the same addresses cannot deadlock.
    for address, result in sorted(refused, key=lambda pair: pair[0]):
        if result.problem is not None and (reason := _TO_SUPPRESS.get(result.problem.address)) is not None:
            try:
                suppress(connection, keyring, policy.channel, address, reason, f"sender/{policy.channel}", now=now)
            except ValueError:
                continue  # not an address that a message could be sent to
    back = [result for _, result in refused if _address_refused(result)["new_state"] is InvitationState.BOUNCED]
    fall_back(connection, keyring, policy.contact, [result.row.id for result in back], now=now)


def _bounce_counts_of(results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]) -> dict[int, BounceCounts]:
    """What these hand-overs add to the counts of each batch. `jobs`: by message, its job by now."""
    tried, refused = Counter[int](), Counter[int]()
    for result in results:
        if result.problem is not None and result.problem.address is AddressIs.ELSEWHERE:
            continue  # it says nothing about the list: the number may be a good one, and gets a text
        is_refused = isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT
        batch_id = batch_of(jobs[result.row.id])
        tried[batch_id] += isinstance(result.ending, Done) or is_refused
        refused[batch_id] += is_refused
    return {batch_id: BounceCounts(number, refused[batch_id], 0) for batch_id, number in tried.items()}
