"""Records the results of hand-overs to senders: all of a flush in its transaction."""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.store.suppressions import suppress
from worker.core.customers.store.tombstones import erase_again
from worker.core.database import bulk, tally
from worker.core.database.binary_rows import Columns
from worker.core.database.job_ids import batch_of
from worker.core.database.tables import InvitationRow, Job
from worker.core.database.tables.types import REFERENCE_LENGTH
from worker.core.facts import MessagesSent, happened
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store import reminders
from worker.core.limits.rate_adaptation import Stretch
from worker.core.limits.store import budgets
from worker.core.messages.delivery_reports import BounceCounts, reason_to_suppress, state_refused, stays_unknown
from worker.core.messages.store import fallback, message_cap_check
from worker.core.messages.store.fallback import fall_back
from worker.core.messages.store.handovers import InviteResult
from worker.core.messages.store.job_from_messages import move_jobs
from worker.core.messages.store.message_context import InvitationPolicy
from worker.core.messages.wording import Wording
from worker.core.model.channels import address_of
from worker.core.model.endings import AddressIs, Cancel, Done, invitation_state_after
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.store.late_attempts import sort_out
from worker.core.work.store.attempt_log import (
    CLOSE,
    CLOSE_DONE,
    LATE,
    after_call,
    closing,
    outcome_of_call,
    outcomes_of,
    standing,
    standing_of,
)
from worker.core.work.store.sessions import FIRST, HELD_FIRST, schedule_checks


def record_results(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    results: Sequence[InviteResult],
    *,
    now: datetime,
    stretch: Stretch | None = None,
) -> None:
    """Write results: the attempts, the invitations and their jobs' states."""
    usual = [item for item in results if may_be_plain(item)]
    plain, ours = write_plain(connection, policy, usual, now=now) if usual else ([], {})
    written = {item.opened.attempt_id for item in plain}
    special = [item for item in results if item.opened.attempt_id not in written]
    settled: list[InviteResult] = []
    if special:
        special, answered, settled = _write_special(connection, keyring, policy, special, now=now)
        ours |= answered
    results = [*plain, *special]
    kept = [item for item in results if item.opened.row.id in ours]
    if kept:
        sent = [item.opened.row.id for item in kept if isinstance(item.ending, Done)]
        happened(connection, MessagesSent(sent), now=now)
        _follow_up(connection, keyring, policy, kept, now=now)
        move_jobs(connection, ours.values(), sent=_first_sent(plain, ours), now=now)
        if policy.contact.reminders:
            reminders.add(connection, policy.contact, _first_messages(kept, ours, policy), now=now)
        schedule_checks(connection, {ours[item.opened.row.id] for item in settled}, now=now)
    call_outcomes = [outcome_of_call(item.began_at, item.problem) for item in results if item.ending]
    # Messages are not counted as credits.
    budgets.apply_outcomes(connection, policy.rule, call_outcomes, now=now, refund=False, stretch=stretch)
    not_made = [item.opened.row for item in results if item.ending is None]
    if any(item.probe for item in not_made):
        budgets.end_probe(connection, policy.rule)
    message_cap_check.take_back(connection, policy, not_made)
    fallback.count(connection, _bounce_counts_of(kept, ours), policy.contact.pause, now=now)


def _write_special(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    results: Sequence[InviteResult],
    *,
    now: datetime,
) -> tuple[list[InviteResult], dict[uuid.UUID, int], list[InviteResult]]:
    """Write all results that are not plain.

    Returns those that were not written before; the jobs of the messages that are still ours; and the results that
    settled an unknown outcome.
    """
    rows = {row.id: row for row in standing_of(connection, _STANDING, {item.opened.row.id for item in results})}
    outcomes = outcomes_of(connection, [item.opened.attempt_id for item in results])
    results = [item for item in results if item.opened.attempt_id in outcomes]  # a purge may have removed the row
    found = sort_out(connection, InvitationRow, (InvitationRow.job_id,), results, rows, outcomes, now=now)
    if found.answered:
        _open_again(connection, found.answered)
    results, late, ours = found.results, found.late, {id_: row.job_id for id_, row in found.ours.items()}
    kept = [item for item in results if item.opened.row.id in ours]
    counted = {item.opened.attempt_id: outcomes[item.opened.attempt_id] is not None for item in kept}
    moves = [_move(item, counted=counted[item.opened.attempt_id], now=now) for item in kept]
    _MOVE.run(connection, moves)
    repeats = {
        item.opened.row.id: _customer_of(item) for item, move in zip(kept, moves, strict=True) if move["more_unknown"]
    }
    message_cap_check.end_waits(connection, policy, repeats, now=now)
    closings = [_closing(keyring, item, late=False) for item in results]
    CLOSE.run(connection, closings + [_closing(keyring, item, late=True) for item in late], at=now)
    erase_again(connection, {rows[item.opened.row.id].job_id for item in (*results, *late)})
    return results, ours, [item for item in kept if _settles_outcome(item, counted)]


def _first_messages(
    results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int], policy: InvitationPolicy
) -> list[reminders.Sent]:
    items = [result.opened.row for result in results if isinstance(result.ending, Done)]
    return [
        reminders.Sent(item.session_id, jobs[item.id], policy.channel, item.customer, item.expires_at)
        for item in items
        if item.kind == FIRST
    ]


def _first_sent(plain: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]) -> dict[int, uuid.UUID]:
    """By job, the session whose first message has left."""
    items = (result.opened.row for result in plain)
    return {jobs[item.id]: item.session_id for item in items if item.kind == FIRST}


def _settles_outcome(result: InviteResult, counted: Mapping[uuid.UUID, bool]) -> bool:
    """True if the message's outcome was unknown until this result: it was reconciled, or answered late."""
    return result.opened.row.unknown_call is not None or counted[result.opened.attempt_id]


def _open_again(connection: sa.Connection, answered: Collection[uuid.UUID]) -> None:
    """Move jobs that are held for these messages back to issued, so that the messages decide their state."""
    held = sa.select(InvitationRow.job_id).join(Job, HELD_FIRST).where(InvitationRow.id.in_(answered))
    again = sa.update(Job).where(Job.id.in_(held), Job.state == JobState.HELD)
    connection.execute(again.values(state=JobState.ISSUED, reason="", detail=""))


def _closing(keyring: Keyring, result: InviteResult, *, late: bool) -> dict[str, Any]:
    called = result.ending is not None
    values = closing(keyring, result.opened.attempt_id, called=called, problem=result.problem, found=result.found)
    if late and isinstance(result.ending, Done):
        # The message left, and may leave again: only this says so. Mail servers give no reference.
        values |= {"new_outcome": LATE, "new_detail": "the receipt came after the lease"}
        values |= {"new_found": result.reference[:REFERENCE_LENGTH]}
    return values


def _customer_of(result: InviteResult) -> str:
    return result.opened.row.customer.customer_id


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
    ending = result.ending
    move = after_call(ending, result.opened, result.opened.row, counted=counted) | {
        "invitation_id": result.opened.row.id,
        "new_state": InvitationState.WAITING if ending is None else invitation_state_after(ending),
        "new_reference": result.reference[:REFERENCE_LENGTH],
        "new_sent_at": now if isinstance(ending, Done) else None,
        "has_new_link": result.opened.row.wording is Wording.NEW_LINK,
        "new_template": result.template,
        "new_segments": result.segments if result.template else None,
        "more_unknown": int(stays_unknown(ending, result.problem) and result.opened.row.unknown_call is None),
    }
    return move | _refused(result)


# The database checks in the same statement whether the lease is still ours.
_SENT = bulk.ChangeIf(
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
    by="invitation_id",
    equal={"fence": InvitationRow.fence},
    returning=[InvitationRow.job_id],
)


def may_be_plain(result: InviteResult) -> bool:
    """True for a message that left by an ordinary hand-over. It is plain if its lease is still ours.

    All other results are special: a problem, a look-up, a late receipt.
    """
    return isinstance(result.ending, Done) and result.opened.row.unknown_call is None


def write_plain(
    connection: sa.Connection, policy: InvitationPolicy, results: Sequence[InviteResult], *, now: datetime
) -> tuple[list[InviteResult], dict[uuid.UUID, int]]:
    """Write the results that are plain, of one or more that may be. Returns them, and the jobs of their messages."""
    counts = tally.counts_in_bulk(len(results))
    items = sorted(results, key=lambda item: item.opened.row.id)  # locked in the order of their ids, as all rows
    messages = [item.opened.row for item in items]
    moves: Columns = {
        "invitation_id": [message.id for message in messages],
        "fence": [message.fence for message in messages],
        "new_reference": [item.reference[:REFERENCE_LENGTH] for item in items],
        "has_new_link": [message.wording is Wording.NEW_LINK for message in messages],
        "new_template": [item.template for item in items],
        "new_segments": [item.segments for item in items],
    }
    moved = {(row.id, row.fence): row.job_id for row in _SENT.changed(connection, moves, at=now, counts=counts)}
    plain = [item for item, message in zip(items, messages, strict=True) if (message.id, message.fence) in moved]
    jobs = {id_: job_id for (id_, _), job_id in moved.items()}
    if plain:
        if counts:
            _count(connection, policy.channel, plain, jobs)
        # Calls to senders are not counted (`tally.call`).
        closed = {"attempt_id": [item.opened.attempt_id for item in plain]}
        CLOSE_DONE.run_columns(connection, closed, at=now, counts=0)
    return plain, jobs


def _count(
    connection: sa.Connection, channel: str, results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]
) -> None:
    """Count first messages that have left, with their jobs by now."""
    counts = tally.of(connection)
    first = (item.opened.row for item in results if item.opened.row.kind == FIRST)
    for batch_id, number in Counter(batch_of(jobs[item.id]) for item in first).items():
        counts.add(tally.message(batch_id, InvitationState.WORKING, channel), -number)
        counts.add(tally.message(batch_id, InvitationState.SENT, channel), number)


def _address_refused(result: InviteResult) -> dict[str, Any]:
    """The message's state and reason where the sender refused its address; empty otherwise."""
    address = result.problem.address if result.problem is not None else None
    if address is None or not isinstance(result.ending, Cancel):
        return {}
    state = state_refused(address)
    return {"new_state": state, "new_reason": Reason(state)}


def _refused(result: InviteResult) -> dict[str, Any]:
    """What is to be stored of the message where the sender refused it for good; empty otherwise."""
    if isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT:
        # Of a message it says nothing about the customer's data: a retry sends the same link.
        return {"new_reason": Reason.MESSAGE_REFUSED} | _address_refused(result)
    return _address_refused(result)


def _follow_up(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    results: Sequence[InviteResult],
    *,
    now: datetime,
) -> None:
    """Suppress the addresses that are refused for good, and write to their customers on the other channel.

    Call this after the messages are stored and before their jobs' states follow from the messages.
    """
    refused = [(_address(result, policy), result) for result in results if _address_refused(result)]
    # Always in the same order, so that two transactions with the same addresses cannot deadlock.
    for address, result in sorted(refused, key=lambda pair: pair[0]):
        reason = reason_to_suppress(result.problem.address if result.problem else None)
        if reason is not None:
            try:
                suppress(connection, keyring, policy.channel, address, reason, f"sender/{policy.channel}", now=now)
            except ValueError:
                continue  # not an address that a message could be sent to
    back = [result for _, result in refused if _address_refused(result)["new_state"] is InvitationState.BOUNCED]
    fall_back(connection, keyring, policy.contact, [result.opened.row.id for result in back], now=now)


def _address(result: InviteResult, policy: InvitationPolicy) -> str:
    return address_of(result.opened.row.customer.person, policy.channel)


def _bounce_counts_of(results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]) -> dict[int, BounceCounts]:
    """What these hand-overs add to the counts of each batch. `jobs`: by message, its job by now."""
    tried, refused = Counter[int](), Counter[int]()
    for result in results:
        if result.problem is not None and result.problem.address is AddressIs.ELSEWHERE:
            continue  # it says nothing about the list: the number may be a good one, and gets a text
        is_refused = isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT
        batch_id = batch_of(jobs[result.opened.row.id])
        tried[batch_id] += isinstance(result.ending, Done) or is_refused
        refused[batch_id] += is_refused
    return {batch_id: BounceCounts(number, refused[batch_id], 0) for batch_id, number in tried.items()}
