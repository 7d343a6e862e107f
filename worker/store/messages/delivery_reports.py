"""Apply delivery updates: what senders report about messages after the hand-over.

references      --lock-->     the messages' and their jobs' rows, in the order in which a dispatcher locks them
DeliveryUpdate  --deliver-->  the message delivered or bounced; its address suppressed or released; another channel
Delivered       --count-->    its batch's bounce counts
"""

import re
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.auto_pause import BounceCounts
from worker.domain.contact.delivery_reports import (
    DeliveryStatus,
    DeliveryUpdate,
    Stop,
    invitation_state_after,
    reason_to_suppress,
)
from worker.domain.contact.suppression import SuppressionReason
from worker.domain.model.channels import address_of, is_mail
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.base.encrypted_values import Erased, decrypt_person
from worker.store.base.keys_of_customers import readable
from worker.store.messages import bounce_counts
from worker.store.messages.fallback import DeliveryPolicy, fall_back
from worker.store.messages.suppressions import release, suppress
from worker.store.onboarding.job_from_messages import move_jobs
from worker.store.onboarding.sessions import ABOUT_A_MESSAGE, FIRST, schedule_checks
from worker.store.outbox.outbox import add_invitation_events
from worker.store.tables import CustomerRow, InvitationRow, Job, SessionRow
from worker.store.tables.types import known

SENDER = "sender/"
_KEY = re.compile(r"[0-9a-f]{32}")


class Applied(StrEnum):
    """What became of a delivery update."""

    APPLIED = "applied"
    NOTHING_NEW = "nothing_new"
    UNKNOWN = "unknown"  # the update names a message that is not ours, or a message whose receipt is not stored yet
    LATER = "later"  # the message is being handed over: the result of the hand-over must be stored first


@dataclass(frozen=True)
class Delivered:
    """`invitation_id`: the message, where the update names one of ours. `channel`: a channel on which a message is due
    now. `bounced`: the batch whose message bounced."""

    applied: Applied
    invitation_id: uuid.UUID | None = None
    channel: str | None = None
    bounced: int | None = None


def lock(connection: sa.Connection, references: Iterable[tuple[str, str]]) -> None:
    """Lock the messages that senders report on, by (source, reference), and their jobs, before any of them changes.

    Locks messages by id and then jobs by id, as `record_results` does: processing some hundred updates one by one
    would otherwise deadlock with it again and again.
    """
    texts, keys = set(), set()
    for source, reference in references:
        if not is_mail(source.removeprefix(SENDER)):
            texts.add(reference)
        elif (key := _key(reference)) is not None:
            keys.add(key)
    ids: dict[uuid.UUID, int] = {}
    if texts:
        ids |= {row.id: row.job_id for row in fetch(connection, _TEXTS, {"references": bulk.keys(texts)})}
    if keys:
        ids |= {row.id: row.job_id for row in fetch(connection, _MAILS, {"ids": bulk.keys(keys)})}
    if ids:
        fetch(connection, _LOCK_MESSAGES, {"ids": bulk.keys(ids)})
        fetch(connection, _LOCK_JOBS, {"ids": bulk.keys(set(ids.values()))})


def count(connection: sa.Connection, delivered: Iterable[Delivered], policy: DeliveryPolicy, *, now: datetime) -> None:
    """Add the bounced messages to their batches' counts."""
    bounced = Counter(one.bounced for one in delivered if one.bounced is not None)
    if bounced:
        bounce_counts.count(
            connection, {batch: BounceCounts(0, 0, many) for batch, many in bounced.items()}, policy.pause, now=now
        )


def deliver(
    connection: sa.Connection,
    keyring: Keyring,
    policy: DeliveryPolicy,
    source: str,
    update: DeliveryUpdate,
    *,
    received_at: datetime,
    now: datetime,
) -> Delivered:
    """Apply a sender's update; the same update again changes nothing.

    `source` is `sender/` and the channel. A message to a phone is found by the sender's reference, stored a moment
    after the hand-over or, where the receipt was lost, after reconciliation. So the caller tries an UNKNOWN update
    again for some minutes, and a LATER one after some seconds. The caller repeats a transaction that deadlocks
    (`outlive_deadlocks`), and gives the returned values to `count` at the end of the transaction.
    """
    channel = source.removeprefix(SENDER)
    row = _message(connection, channel, update.reference)
    if row is not None and row.state is InvitationState.WORKING:
        return Delivered(Applied.LATER, row.id)
    state = invitation_state_after(row.state, update) if row is not None else None
    falls_to: set[str] = set()
    if row is not None and state is not None:
        _write_state(connection, row, state, update, at=min(update.happened_at or received_at, received_at), now=now)
    changed = _address(connection, keyring, channel, row, update, source, now=now)
    if row is not None and state is not None:
        if state is InvitationState.BOUNCED:
            falls_to = fall_back(connection, keyring, policy, [row.id], now=now)
        move_jobs(connection, [row.job_id], now=now)
        if row.state in (InvitationState.HELD, InvitationState.WAITING):
            schedule_checks(connection, [row.job_id], now=now)  # the message's outcome was unknown until now
    if row is None and update.reference:
        return Delivered(Applied.UNKNOWN)
    applied = Applied.APPLIED if changed or state is not None else Applied.NOTHING_NEW
    is_bounce = state is InvitationState.BOUNCED and update.status is not DeliveryStatus.ELSEWHERE
    bounced = row.batch_id if row is not None and is_bounce else None
    return Delivered(applied, row.id if row is not None else None, next(iter(falls_to), None), bounced)


_COLUMNS = (
    InvitationRow.id,
    InvitationRow.job_id,
    InvitationRow.session_id,
    InvitationRow.batch_id,
    InvitationRow.kind,
    InvitationRow.state,
    InvitationRow.sent_at,
    CustomerRow.customer_id,
    CustomerRow.encrypted.label("person"),
    CustomerRow.changed_at.label("person_changed_at"),
)
_ANY = (
    sa.select(*_COLUMNS)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    # The message is locked before its job, as a dispatcher locks them.
    .with_for_update(of=InvitationRow, key_share=True)
)
# Spelled exactly as in the partial index.
_TO_A_PHONE = InvitationRow.channel != sa.literal_column("'email'")
_BY_REFERENCE = _ANY.where(
    _TO_A_PHONE,
    InvitationRow.reference != sa.literal_column("''"),
    InvitationRow.reference == sa.bindparam("reference"),
)
_BY_KEY = _ANY.where(InvitationRow.id == sa.bindparam("key"), InvitationRow.channel == "email")
_WHICH = sa.select(InvitationRow.id, InvitationRow.job_id)
_TEXTS = _WHICH.where(
    _TO_A_PHONE, InvitationRow.reference != sa.literal_column("''"), bulk.among(InvitationRow.reference, "references")
)
_MAILS = _WHICH.where(bulk.among(InvitationRow.id, "ids"))
_LOCK_MESSAGES = (
    sa.select(InvitationRow.id)
    .where(bulk.among(InvitationRow.id, "ids"))
    .order_by(InvitationRow.id)
    .with_for_update(key_share=True)
)
_LOCK_JOBS = sa.select(Job.id).where(bulk.among(Job.id, "ids")).order_by(Job.id).with_for_update(key_share=True)


def _message(connection: sa.Connection, channel: str, reference: str) -> sa.Row[Any] | None:
    """The message that the update is about, locked. Raises NotKnown."""
    if not is_mail(channel):
        rows = fetch(connection, _BY_REFERENCE, {"reference": reference}) if reference else []
    else:
        key = _key(reference)
        rows = fetch(connection, _BY_KEY, {"key": key}) if key is not None else []
    return known(rows[0]) if rows else None


def _key(reference: str) -> uuid.UUID | None:
    """The message's id, from the left part of a Message-ID; None where the Message-ID is not ours."""
    return uuid.UUID(reference.lower()) if _KEY.fullmatch(reference.lower()) else None


def _write_state(
    connection: sa.Connection,
    row: sa.Row[Any],
    state: InvitationState,
    update: DeliveryUpdate,
    *,
    at: datetime,
    now: datetime,
) -> None:
    """Write the message's new state."""
    values: dict[str, Any] = {"state": state, "delivery_at": at, "due_at": None, "unknown_attempt": None}
    values |= {"reason": "", "detail": ""}
    if state is InvitationState.BOUNCED:
        code = f" ({update.code})" if update.code else ""
        values |= {"reason": Reason.BOUNCED, "detail": f"the sender reported that the message did not arrive{code}"}
    if row.sent_at is None:
        values["sent_at"] = at
    connection.execute(sa.update(InvitationRow).where(InvitationRow.id == row.id).values(values))
    if row.sent_at is None:
        add_invitation_events(connection, [row.id], now=now)
    if row.state is InvitationState.HELD and row.kind == FIRST:
        # The update answers the question for which the job was held.
        its_own = (Job.id == row.job_id, Job.session_id == row.session_id, *ABOUT_A_MESSAGE)
        held = sa.update(Job).where(*its_own, Job.state == JobState.HELD)
        connection.execute(held.values(state=JobState.ISSUED, reason="", detail="", changed_at=now))


def _address(
    connection: sa.Connection,
    keyring: Keyring,
    channel: str,
    row: sa.Row[Any] | None,
    update: DeliveryUpdate,
    source: str,
    *,
    now: datetime,
) -> bool:
    """Suppress or release the address that the update is about; True if this changed anything."""
    reason = reason_to_suppress(update.stop)
    if reason is None and not update.resume:
        return False
    if row is not None:
        keyring = readable(connection, keyring, [row.person])
    address = _address_meant(keyring, channel, row, update)
    try:
        if reason is not None:
            suppress(connection, keyring, channel, address, reason, source, now=now)
            return True
        return release(connection, keyring, channel, address, only={SuppressionReason.STOP}) is not None
    except ValueError:
        return False  # not an address that a message could be sent to


def _address_meant(keyring: Keyring, channel: str, row: sa.Row[Any] | None, update: DeliveryUpdate) -> str:
    """The address that the update is about; empty where the address is not known.

    The address that we sent to comes first: a mail system may name the address to which the mail was forwarded. If the
    customer's row has changed since then, the row may hold another address, and the update's address is used. The
    row's address is still used where the update names none and the customer wants no messages: a customer who
    complains gets no message at a new address either.
    """
    if row is None:
        return update.address
    try:
        ours = address_of(decrypt_person(keyring, row.customer_id, row.person), channel)
    except (CannotDecrypt, Erased):
        return update.address
    if row.sent_at is not None and row.person_changed_at <= row.sent_at:
        return ours
    return update.address or ("" if update.stop is Stop.BOUNCED else ours)
