"""Applies the stored webhooks of senders: what they report about messages after the hand-over.

The messages and their jobs are locked, in the order in which a dispatcher locks them. Plain deliveries are written
together. All other updates are applied one by one: the message delivered or bounced; its address suppressed or
released; another channel; a message that was lost because of us sent again, once. What the sender's budget learns
from them, codes that are not known, and bounces are counted last.
"""

import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.budgets.reports import apply_reports, count_unread
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch, known
from onboarding_worker.core.database.encrypted_values import Erased, read_person
from onboarding_worker.core.database.facts import MessagesSent, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH, REFERENCE_LENGTH
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.messages.unreached import fall_back
from onboarding_worker.core.model.channels import SuppressionReason, address_of, is_mail
from onboarding_worker.core.model.endings import Backoff
from onboarding_worker.core.model.incoming import SENDER
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, WebhookState
from onboarding_worker.core.model.stops import About
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows import message_rows
from onboarding_worker.core.rows.message_rows import ABOUT_A_MESSAGE, OF_ITS_SESSION, BounceCounts, set_job_states
from onboarding_worker.core.rows.sessions import schedule_checks
from onboarding_worker.core.rows.suppressions import has_address, release, suppress
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.call_outcomes import Report
from onboarding_worker.core.rules.contact import FIRST, ContactPolicy
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, Stop
from onboarding_worker.web.webhooks.store.webhooks import KeptWebhook, WebhookResult, read_given

_KEY = re.compile(r"[0-9a-f]{32}")
# The reference of a text message is known moments after the hand-over, or minutes after it where the answer was lost
# and reconciled. A mail has an id of ours before it leaves: an update with an unknown id is not about our mail.
UNMATCHED_BACKOFF = Backoff.steps(3, 15, 60, 5 * 60, 20 * 60)
# While the message is being handed over: the result of the hand-over is written first.
HAND_OVER_BACKOFF = Backoff(first=timedelta(seconds=3), most=timedelta(seconds=3 * 2**6))
# A mail server that takes a mail and returns it later does so within some days (RFC 5321, 4.5.4.1).
LATELY = timedelta(days=5)
# Not at once: five such losses stop the sender meanwhile. And longer than Twilio's clock may differ from ours, since a
# look-up must not take the lost text for this one.
AGAIN_AFTER = timedelta(minutes=10)
MOST_NAMED = 50  # customers: an address may be shared by many


class Reported(NamedTuple):
    """A stored webhook, whose `source` is `sender/` and the channel, with the update in it."""

    webhook: KeptWebhook
    update: DeliveryUpdate

    @property
    def channel(self) -> str:
        return self.webhook.source.removeprefix(SENDER)

    @property
    def happened_at(self) -> datetime:
        received_at = self.webhook.received_at
        return min(self.update.happened_at or received_at, received_at)


# The states of messages that have left, or may have: a sender may report on these messages.
_OUT = (InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD, InvitationState.FAILED)


def invitation_state_by_report(present: InvitationState, update: DeliveryUpdate) -> InvitationState | None:
    """The invitation's state after the update; None where it does not change.

    A bounce outweighs a delivery, in whatever order they come: mail servers accept messages that they refuse later. A
    delivered message with an unknown outcome was sent. LATER changes nothing: the schedule decides about the message.
    A loss that neither the customer nor the address explains is no bounce: the message has failed.
    """
    if present not in _OUT:
        return None
    if update.is_apart:
        return None if present is InvitationState.FAILED else InvitationState.FAILED
    match update.status:
        case DeliveryStatus.BOUNCED | DeliveryStatus.BLOCKED | DeliveryStatus.ELSEWHERE:
            return InvitationState.BOUNCED
        case DeliveryStatus.DELIVERED if present is not InvitationState.DELIVERED:
            return InvitationState.DELIVERED
        case _:
            return None


def apply_delivery_updates(
    keyring: Keyring,
    policy_of: Callable[[], ContactPolicy],
    connection: sa.Connection,
    webhooks: Sequence[KeptWebhook],
    due: set[WakeUp],
    now: datetime,
) -> dict[uuid.UUID, WebhookResult]:
    """Apply senders' delivery updates in the order in which they came; the same update again changes nothing."""
    applying = Applying(keyring, policy_of(), connection, due, now)
    results: dict[uuid.UUID, WebhookResult] = {}
    reported = [
        _with_message(connection, keyring, Reported(one, delivery_update(one.update)))
        for one in sorted(webhooks, key=lambda one: (one.received_at, one.id))
    ]
    messages = _lock_messages(connection, reported)
    named = Counter(map(_named, reported))
    plain = []
    others = []
    for one in reported:
        message = messages.get(_named(one))
        if message is not None and named[_named(one)] == 1 and _is_plain(message, one.update):
            plain.append((message, one.happened_at))
            applying.learn(one, message)
            said = DeliveryStatus.DELIVERED.value
            results[one.webhook.id] = WebhookResult(WebhookState.APPLIED, invitation_id=message.id, changed=said)
        else:
            others.append((one, message))
    if jobs := {message.job_id for _, message in others if message is not None}:
        fetch(connection, _LOCK_JOBS, {"ids": bulk.keys(jobs)})
    _write_plain(connection, plain)
    results |= {one.webhook.id: applying.deliver(one, message) for one, message in others}
    for channel, learnt in applying.learnt.items():
        rule = applying.policy.budgets.get(channel) or BudgetRule(f"{SENDER}{channel}", names=(channel,))
        apply_reports(connection, rule, learnt, by_mail=is_mail(channel), now=now)
        count_unread(connection, rule.name, applying.unread[channel], now=now)
    if applying.bounced:
        counts = {batch: BounceCounts(0, 0, many) for batch, many in applying.bounced.items()}
        message_rows.count_bounces(connection, counts, applying.policy.pause, now=now)
    return results


def delivery_update(kept: Mapping[str, Any]) -> DeliveryUpdate:
    """The update from the output of `given_of`. Raises ValueError for anything else. What is about us, or of no known
    meaning, ends no address, whatever the reader of the callback says."""
    update = DeliveryUpdate(**read_given(kept, status=DeliveryStatus, stop=Stop, about=About))
    return replace(update, stop=None) if update.is_apart else update


def _with_message(connection: sa.Connection, keyring: Keyring, one: Reported) -> Reported:
    """The report of a bounced mail that names only the address, with the one mail that went there lately: mail services
    report so what comes back after the recipient's server had taken it. Of several, none is named."""
    update = one.update
    if update.reference or not update.address or update.stop is not Stop.BOUNCED or not is_mail(one.channel):
        return one
    lately = InvitationRow.sent_at.between(one.happened_at - LATELY, one.happened_at)
    query = sa.select(InvitationRow.id).join(SessionRow, SessionRow.id == InvitationRow.session_id)
    query = query.join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    query = query.where(has_address(keyring, one.channel, update.address), InvitationRow.channel == one.channel, lately)
    rows = fetch(connection, query.limit(2))
    return one._replace(update=replace(update, reference=rows[0].id.hex)) if len(rows) == 1 else one


def _named(one: Reported) -> tuple[bool, str]:
    """What an update names its message by: its id, of a mail, from the left part of its Message-ID; else the sender's
    reference as its invitation has it: services of other packages may have longer ones. "" where it is not ours."""
    if not is_mail(one.channel):
        return False, one.update.reference[:REFERENCE_LENGTH]
    key = one.update.reference.lower()
    return True, key if _KEY.fullmatch(key) else ""


def _lock_messages(connection: sa.Connection, reported: Sequence[Reported]) -> dict[tuple[bool, str], sa.Row[Any]]:
    """Lock the messages of the updates by id, before any of them changes, and return them as `_named` names them.

    A dispatcher that writes results locks messages by id, and then jobs by id. Processing some hundred updates one by
    one would deadlock with it again and again.
    """
    names = {name for name in map(_named, reported) if name[1]}
    ids: set[uuid.UUID] = {uuid.UUID(key) for is_key, key in names if is_key}
    if texts := [reference for is_key, reference in names if not is_key]:
        ids |= {row.id for row in fetch(connection, _TEXTS, {"references": bulk.keys(texts)})}
    if not ids:
        return {}
    rows = fetch(connection, _LOCK_MESSAGES, {"ids": bulk.keys(ids)})
    return {(True, row.id.hex) if is_mail(row.channel) else (False, row.reference): row for row in rows}


@dataclass
class Applying:
    """The updates of one transaction. `due` gets what is due now; `bounced`: by batch, counted last."""

    keyring: Keyring
    policy: ContactPolicy
    connection: sa.Connection
    due: set[WakeUp]
    now: datetime
    bounced: Counter[int] = field(default_factory=Counter)
    learnt: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))  # by channel
    unread: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # codes, by channel

    def learn(self, one: Reported, row: sa.Row[Any]) -> None:
        """Keep what this report, the first of its kind about this message, shows of the sender."""
        update = one.update
        if update.about is About.UNKNOWN:
            self.unread[one.channel].append(update.code or update.event)
        if update.about is not None or update.status is DeliveryStatus.DELIVERED:
            self.learnt[one.channel].append(Report(update.about, row.sent_at or self.now, update.why))

    def deliver(self, one: Reported, locked: sa.Row[Any] | None) -> WebhookResult:
        """Apply an update about this locked message, alone. Raises NotKnown."""
        connection, keyring, now = self.connection, self.keyring, self.now
        update, tries = one.update, one.webhook.attempts + 1
        # Another update of the same lot may have changed the message.
        rows = fetch(connection, _MESSAGE, {"id": locked.id}) if locked is not None else []
        row = known(rows[0]) if rows else None
        if row is not None and row.state is InvitationState.WORKING:
            wait = HAND_OVER_BACKOFF.after(tries)
            return WebhookResult(WebhookState.WAITING, "the message is being sent", again_after=wait)
        state = invitation_state_by_report(row.state, update) if row is not None else None
        again = False
        if row is not None and state is not None:
            self.learn(one, row)
            again = update.about is About.US and row.state is InvitationState.SENT and not row.lost_handovers
            if again:
                self._send_again(row, update)
            else:
                self._write_state(row, state, update, at=one.happened_at)
        # Once: meanwhile the customer may have asked for messages again.
        had_it = tries > 1 and bool(update.address)
        changed = not had_it and self._address(one, row)
        if row is not None and state is not None and not again:
            if state in (InvitationState.BOUNCED, InvitationState.FAILED):
                self.due.update(map(WakeUp.invite, fall_back(connection, keyring, self.policy, [row.id], now=now)))
            if state is InvitationState.BOUNCED and update.status is not DeliveryStatus.ELSEWHERE:
                self.bounced[row.batch_id] += 1
            set_job_states(connection, [row.job_id], now=now)
            if row.state in (InvitationState.HELD, InvitationState.WAITING):
                schedule_checks(connection, [row.job_id], now=now)  # the message's outcome was unknown until now
        customers: tuple[str, ...] = ()
        if row is None and changed:  # who has the address
            owners = sa.select(CustomerRow.customer_id).where(has_address(keyring, one.channel, update.address))
            customers = tuple(connection.execute(owners.order_by(CustomerRow.customer_id).limit(MOST_NAMED)).scalars())
        said = ""
        if changed:
            said = update.stop.value if update.stop is not None else "may get messages again"
        if row is None and update.reference:
            wait = UNMATCHED_BACKOFF.after(tries) if not is_mail(one.channel) else None
            after = WebhookState.IGNORED if wait is None else WebhookState.WAITING
            no_message = "no message here matches it"
            return WebhookResult(after, no_message, again_after=wait, changed=said, customers=customers)
        found = row.id if row is not None else None
        if not changed and state is None:
            return WebhookResult(WebhookState.IGNORED, invitation_id=found)
        words = ", ".join(filter(None, [update.status and update.status.value, said]))
        return WebhookResult(WebhookState.APPLIED, invitation_id=found, changed=words, customers=customers)

    def _write_state(self, row: sa.Row[Any], state: InvitationState, update: DeliveryUpdate, *, at: datetime) -> None:
        connection, now = self.connection, self.now
        values: dict[str, Any] = {"state": state, "delivery_at": at, "due_at": None, "unknown_attempt": None}
        values |= {"reason": "", "detail": ""}
        if state is InvitationState.BOUNCED:
            code = f" ({update.code})" if update.code else ""
            values |= {"reason": Reason.BOUNCED, "detail": f"the sender reported that the message did not arrive{code}"}
        elif state is InvitationState.FAILED:
            values |= {"reason": Reason.MESSAGE_REFUSED, "detail": _lost(update)}
            values |= {"lost_handovers": InvitationRow.lost_handovers + 1}
        if row.sent_at is None:
            values["sent_at"] = at
        connection.execute(sa.update(InvitationRow).where(InvitationRow.id == row.id).values(values))
        if row.sent_at is None:
            happened(connection, MessagesSent([row.id]), now=now)
        if row.state is InvitationState.HELD and row.kind == FIRST:
            # The update answers the question for which the job was held.
            its_own = (Job.id == row.job_id, Job.session_id == row.session_id, *ABOUT_A_MESSAGE)
            held = sa.update(Job).where(*its_own, Job.state == JobState.HELD)
            connection.execute(held.values(state=JobState.ISSUED, reason="", detail="", changed_at=now))

    def _send_again(self, row: sa.Row[Any], update: DeliveryUpdate) -> None:
        """Let a message wait that was lost because of us, and its job, if none of its other messages has left."""
        now = self.now
        again = {"state": InvitationState.WAITING, "due_at": now + AGAIN_AFTER, "reason": Reason.AUTH}
        again |= {"detail": _lost(update), "attempts": 0, "reference": "", "sent_at": None, "lost_handovers": 1}
        self.connection.execute(sa.update(InvitationRow).where(InvitationRow.id == row.id).values(again))
        left = InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED])
        others = sa.exists().where(OF_ITS_SESSION, left)
        unsent = sa.update(Job).where(Job.id == row.job_id, Job.session_id == row.session_id, ~others)
        unsent = unsent.where(Job.state == JobState.INVITED)
        self.connection.execute(unsent.values(state=JobState.ISSUED, reason="", detail="", changed_at=now))

    def _address(self, one: Reported, row: sa.Row[Any] | None) -> bool:
        """Suppress or release the address that the update is about; True if this changed anything."""
        update, channel = one.update, one.channel
        reason = _TO_SUPPRESS.get(update.stop) if update.stop is not None else None
        if reason is None and not update.resume:
            return False
        address = _address_meant(self.keyring, channel, row, update)
        try:
            if reason is not None:
                suppress(self.connection, self.keyring, channel, address, reason, one.webhook.source, now=self.now)
                return True
            return release(self.connection, self.keyring, channel, address, only={SuppressionReason.STOP}) is not None
        except ValueError:
            return False  # not an address that a message could be sent to


def _lost(update: DeliveryUpdate) -> str:
    detail = f"the sender reported that the message did not arrive, by the code {update.why}"
    return detail[:DETAIL_LENGTH]


_MESSAGE = (
    sa.select(
        InvitationRow.id,
        InvitationRow.job_id,
        InvitationRow.session_id,
        InvitationRow.batch_id,
        InvitationRow.kind,
        InvitationRow.state,
        InvitationRow.sent_at,
        InvitationRow.lost_handovers,
        CustomerRow.customer_id,
        CustomerRow.encrypted.label("person"),
        CustomerRow.changed_at.label("person_changed_at"),
    )
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    .where(InvitationRow.id == sa.bindparam("id"))
    .with_for_update(of=InvitationRow, key_share=True)
)
_TEXTS = sa.select(InvitationRow.id).where(
    # Spelled exactly as in the partial index.
    InvitationRow.channel != sa.literal_column("'email'"),
    InvitationRow.reference != sa.literal_column("''"),
    bulk.among(InvitationRow.reference, "references"),
)
_LOCK_MESSAGES = (
    sa.select(
        *(InvitationRow.id, InvitationRow.job_id, InvitationRow.batch_id, InvitationRow.channel, InvitationRow.kind),
        *(InvitationRow.state, InvitationRow.reference, InvitationRow.sent_at),
    )
    .where(bulk.among(InvitationRow.id, "ids"))
    .order_by(InvitationRow.id)
    .with_for_update(key_share=True)
)
_LOCK_JOBS = sa.select(Job.id).where(bulk.among(Job.id, "ids")).order_by(Job.id).with_for_update(key_share=True)


_TO_SUPPRESS = {
    Stop.BOUNCED: SuppressionReason.BOUNCE,
    Stop.COMPLAINED: SuppressionReason.COMPLAINT,
    Stop.STOPPED: SuppressionReason.STOP,
}


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
        ours = address_of(read_person(keyring, row.customer_id, row.person), channel)
    except (CannotDecrypt, Erased):
        return update.address
    if row.sent_at is not None and row.person_changed_at <= row.sent_at:
        return ours
    return update.address or ("" if update.stop is Stop.BOUNCED else ours)


_DELIVERED = bulk.Change(
    InvitationRow.id,
    {
        "state": InvitationState.DELIVERED,
        "delivery_at": sa.bindparam("at"),
        "due_at": None,
        "unknown_attempt": None,
        "reason": "",
        "detail": "",
        "counted": InvitationRow.counted + sa.bindparam("counts"),
    },
    by="invitation_id",
)


def _is_plain(message: sa.Row[Any], update: DeliveryUpdate) -> bool:
    """True for a delivery of this locked message, and nothing else."""
    return (
        update.status is DeliveryStatus.DELIVERED
        and update.stop is None
        and not update.resume
        and message.state is InvitationState.SENT
    )


def _write_plain(connection: sa.Connection, delivered: Sequence[tuple[sa.Row[Any], datetime]]) -> None:
    """Write the deliveries of `_is_plain`, each with its time, one for each message: by one statement. The message
    alone changes: its job was invited when it left, no address is stopped, no other channel follows."""
    counts = tally.counts_in_bulk(len(delivered))
    if counts:
        counted = tally.of(connection)
        first = Counter((message.batch_id, message.channel) for message, _ in delivered if message.kind == FIRST)
        for (batch_id, channel), number in first.items():
            counted.add(tally.message(batch_id, InvitationState.SENT, channel), -number)
            counted.add(tally.message(batch_id, InvitationState.DELIVERED, channel), number)
    rows = [{"invitation_id": message.id, "at": at} for message, at in delivered]
    _DELIVERED.run(connection, rows, counts=counts)
