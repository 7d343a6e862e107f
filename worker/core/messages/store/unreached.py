"""Decides what follows when a message does not reach its customer: its address is stopped, another channel is tried,
its batch pauses.

A customer who asked for no messages, or complained, gets none on another channel either. And a list of wrong addresses,
sent to its end, ruins the sender's reputation with every mail provider: the next list does not arrive either. The
counts start again when an operator resumes the batch.

The messages' results and their counts are written in the same transaction. That transaction only marks the batch; the
timer pauses the batch's rows afterwards (`Decisions.finish_pauses`), because a batch may have a million rows.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, Person
from worker.core.customers.store.suppressions import suppressed
from worker.core.database import bulk
from worker.core.database.audit_entries import Act, note
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import Erased, read_person
from worker.core.database.fast import tally
from worker.core.database.fast.unanswered import UNANSWERED
from worker.core.database.job_ids import IS_LIVE
from worker.core.database.tables import Batch, BounceCount, CustomerRow, InvitationRow, Job, SessionRow
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.messages.contact import FIRST, ContactPolicy, PauseRule
from worker.core.messages.quiet_hours import message_at
from worker.core.messages.store.message_rows import waiting_message, why_later
from worker.core.messages.text_numbers import why_not_texted
from worker.core.model.channels import SuppressionReason, address_of
from worker.core.model.endings import AddressIs
from worker.core.model.states import InvitationState, JobState, PauseCause, SessionState


def state_refused(address: AddressIs) -> InvitationState:
    """The state of an invitation whose address the sender refused: like a bounce, but at once."""
    return InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED


def reason_to_suppress(address: AddressIs | None) -> SuppressionReason | None:
    """Why the address must be suppressed after a sender's refusal; None: it stays usable."""
    return _REASONS.get(address) if address is not None else None


_REASONS = {AddressIs.GONE: SuppressionReason.BOUNCE, AddressIs.OPTED_OUT: SuppressionReason.STOP}


@dataclass(frozen=True)
class BounceCounts:
    """A batch's messages in a span of time, such as the last hour or since the batch was resumed.

    `tried` counts messages that were handed over, or refused for good because of their address; it includes `refused`
    and `bounced`. Messages that wait, failed because of the sender, or have an unknown outcome are not counted.
    """

    tried: int
    refused: int
    bounced: int


def pause_reason(spans: Iterable[BounceCounts], rule: PauseRule, *, batch_id: int) -> str | None:
    """Why the batch must pause, as a text for the operator; None: it continues.

    One span above the limit is enough. The last hour shows a new problem behind many delivered messages; the whole
    time shows a problem of a batch that is too slow for the last hour.
    """
    for counts in spans:
        failed = counts.refused + counts.bounced
        if counts.tried >= rule.least and failed * 100 > counts.tried * rule.percent:
            return (
                f"{failed} of {counts.tried} messages were refused ({counts.refused}) or bounced ({counts.bounced}),"
                f" more than {rule.percent} %: check the addresses, then run `onboard resume {batch_id}`"
            )
    return None


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


def fall_back(
    connection: sa.Connection,
    keyring: Keyring,
    policy: ContactPolicy,
    invitations: Collection[uuid.UUID],
    *,
    now: datetime,
) -> set[str]:
    """Add a first message on the other channel for sessions whose message did not reach the customer.

    Adds no message for a customer without an address on that channel, with a suppressed address, with a number that
    gets no texts, or with a message on that channel for this session already; and none once the session or the job has
    ended. Returns the channels on which a message is due at once.
    """
    if not policy.fallbacks or not invitations:
        return set()
    people: dict[uuid.UUID, tuple[sa.Row[Any], str, Person]] = {}
    unreached = fetch(connection, _UNREACHED, {"ids": bulk.keys(invitations)})
    for row in unreached:
        channel = policy.fallbacks.get(row.channel)
        if channel is None:
            continue
        try:
            person = read_person(keyring, row.customer_id, row.person)
        except (CannotDecrypt, Erased):
            continue
        address = address_of(person, channel)
        if address and not (channel == Channel.SMS and why_not_texted(address, policy.countries)):
            people[row.session_id] = (row, channel, person)
    wanted = [(channel, address_of(person, channel)) for _, channel, person in people.values()]
    blocked = suppressed(connection, keyring, wanted) if wanted else {}
    rows = [
        _message(row, channel, person, policy, now=now)
        for row, channel, person in people.values()
        if (channel, address_of(person, channel)) not in blocked
    ]
    if not rows:
        return set()
    # Another transaction may have added the message already.
    connection.execute(bulk.insert(InvitationRow, connection.dialect.name).on_conflict_do_nothing(), rows)
    return {row["channel"] for row in rows if row["due_at"] <= now}


_UNREACHED = (
    sa.select(
        InvitationRow.session_id,
        InvitationRow.channel,
        Job.id.label("job_id"),
        Job.batch_id,
        Job.priority,
        Job.invite_at,
        CustomerRow.customer_id,
        CustomerRow.encrypted.label("person"),
        CustomerRow.country,
        CustomerRow.timezone,
    )
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .join(Batch, Batch.id == Job.batch_id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    .where(
        bulk.among(InvitationRow.id, "ids"),
        sa.or_(IS_LIVE, SessionRow.state == bulk.fixed(SessionState.UNBOUGHT)),
        Job.state.in_([JobState.ISSUED, JobState.INVITED]),
        Job.session_id == SessionRow.id,
        sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).is_(None),
    )
)


def _message(row: sa.Row[Any], channel: str, person: Person, policy: ContactPolicy, *, now: datetime) -> dict[str, Any]:
    zones = policy.hours.zones_of(timezone=row.timezone, phone=person.phone, country=row.country)
    due_at = message_at(channel, zones, policy.hours.quiet, invite_at=row.invite_at, now=now)
    values = waiting_message(
        session_id=row.session_id,
        job_id=row.job_id,
        batch_id=row.batch_id,
        channel=channel,
        kind=FIRST,
        due_at=due_at,
        priority=row.priority,
        now=now,
    )
    return values | {"reason": why_later(due_at, wanted_at=max(row.invite_at or now, now))}


HOUR = timedelta(hours=1)
NOTHING = BounceCounts(0, 0, 0)
ACT = Act("schedule", "batch.paused")


def count(
    connection: sa.Connection, counted: Mapping[int, BounceCounts], rule: PauseRule | None, *, now: datetime
) -> None:
    """Add to the batches' counts of this minute, and pause the batches with too many bounced messages.

    That is written at the end of the transaction: all transactions with results of a batch write the same row. `rule`
    None: batches are never paused automatically, and nothing is counted.
    """
    some = {batch_id: one for batch_id, one in counted.items() if one != NOTHING}
    if some and rule is not None:
        tally.of(connection).last.append(partial(_write, counted=some, rule=rule, now=now))


def _write(connection: sa.Connection, *, counted: Mapping[int, BounceCounts], rule: PauseRule, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    for batch_id, one in sorted(counted.items()):  # always in the same order: two transactions must not deadlock
        row = {"batch_id": batch_id, "minute": minute, **asdict(one)}
        connection.execute(_add(connection.dialect.name), row, execution_options=UNANSWERED)
    if failing := [batch_id for batch_id, one in counted.items() if one.refused or one.bounced]:
        _pause(connection, failing, rule, now=now)


@cache
def _add(dialect: str) -> sa.Insert:
    statement = bulk.insert(BounceCount, dialect)
    more = {name: BounceCount.__table__.c[name] + statement.excluded[name] for name in _COUNTS}
    return statement.on_conflict_do_update(index_elements=["batch_id", "minute"], set_=more)


def _pause(connection: sa.Connection, batch_ids: Collection[int], rule: PauseRule, *, now: datetime) -> None:
    for batch_id in sorted(batch_ids):
        batch = connection.execute(_GOING, {"batch_id": batch_id}).one_or_none()
        if batch is None:
            continue
        # The whole minute of the resume counts as before it: the operator has seen what was counted in that minute.
        since = [BounceCount.minute > batch.resumed_at] if batch.resumed_at else []
        spans = ([*since, BounceCount.minute > now - HOUR], since)
        reason = pause_reason((_sum(connection, batch_id, span) for span in spans), rule, batch_id=batch_id)
        if reason is not None:
            marked = connection.execute(_MARK, {"batch_id": batch_id, "reason": reason[:400]})
            if marked.rowcount:  # a resume clears the reason from the batch: the entry keeps it
                note(connection, f"batch {batch_id}", now=now, reason=reason, act=ACT)


def _sum(connection: sa.Connection, batch_id: int, span: Iterable[sa.ColumnElement[bool]]) -> BounceCounts:
    sums = (sa.func.coalesce(sa.func.sum(BounceCount.__table__.c[name]), 0) for name in _COUNTS)
    row = connection.execute(sa.select(*sums).where(BounceCount.batch_id == batch_id, *span)).one()
    return BounceCounts(*map(int, row))


_COUNTS = ("tried", "refused", "bounced")
# A daily batch (`last_row` is set) never pauses: a few wrong addresses must not stop every other customer of the day.
_MAY_PAUSE = (Batch.cancelled_at.is_(None), Batch.last_row.is_(None), Batch.pause_cause == "")
_GOING = sa.select(Batch.resumed_at).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
# An import, or an operator's pause, may hold the batch's lock and wait for rows that this transaction holds. So this
# transaction skips a locked batch: the next counted result marks the batch.
_FREE = sa.select(Batch.id).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
_MARK = (
    sa.update(Batch)
    .where(Batch.id.in_(_FREE.with_for_update(skip_locked=True, key_share=True)))
    .values(pause_cause=PauseCause.ITSELF.value, pause_reason=sa.bindparam("reason"))
)
