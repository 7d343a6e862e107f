"""The rows of messages, and what follows from their states: the state of a job, and when a batch pauses itself.

A new message waits, without a lease; one that another job gets takes its attempts along.

A list of wrong addresses, sent to its end, ruins the sender's reputation with every mail provider: the next list does
not arrive either. So the results of its messages are counted, in their transaction. It only marks the batch; the timer
pauses the batch's rows afterwards (`Decisions.finish_pauses`), because a batch may have a million rows. An operator who
resumes it begins the counts again.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.facts import STOPPED, JobsStopped, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.job_ids import batch_of, new_id
from onboarding_worker.core.database.tables import Attempt, Batch, BounceCount, CustomerRow, InvitationRow, Job
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.reasons import ABOUT_ANOTHER, Reason
from onboarding_worker.core.model.states import InvitationState, JobState, PauseCause, job_state_from_invitations
from onboarding_worker.core.rules.contact import FIRST, PauseRule

# A job's state follows the first messages of its current session. Reminders and superseded links do not count.
OF_ITS_SESSION = sa.and_(
    InvitationRow.job_id == Job.id, InvitationRow.session_id == Job.session_id, InvitationRow.kind == FIRST
)
# A held job is held because of its messages, unless its own call has an unknown outcome or a look-up found a session.
ABOUT_A_MESSAGE = (Job.unknown_attempt.is_(None), Job.reason.not_in(ABOUT_ANOTHER))
# The held first messages that a person must decide about: never a reminder or a message of an earlier session.
HELD_FIRST = sa.and_(OF_ITS_SESSION, InvitationRow.state == InvitationState.HELD, *ABOUT_A_MESSAGE)
NONE_SENT: Mapping[int, uuid.UUID] = MappingProxyType({})
# The second message of an invited job may still get an unknown outcome. `IN` does not work with a chunk of rows.
FROM = (JobState.ISSUED, JobState.INVITED)
MOVED = sa.or_(*(Job.state == state for state in FROM))
_FIRST_MESSAGES = sa.select(sa.func.count()).select_from(InvitationRow).where(OF_ITS_SESSION).scalar_subquery()
# `key_share`, here and wherever results are written: the lock that the UPDATE takes itself, and no stronger.
_LOCKED = (
    sa.select(
        *(Job.id, Job.state, Job.session_id, Job.batch_id, Job.account, Job.channel, Job.result),
        _FIRST_MESSAGES.label("first_messages"),
    )
    .where(bulk.among(Job.id, "ids"))
    .order_by(Job.id)
    .with_for_update(key_share=True)
)
_MESSAGES = (
    sa.select(InvitationRow.job_id, InvitationRow.state, InvitationRow.reason, InvitationRow.detail)
    .join(Job, OF_ITS_SESSION)
    .where(bulk.among(InvitationRow.job_id, "ids"))
    .order_by(InvitationRow.created_at)
)
_MOVE = bulk.Change(
    Job.id,
    bulk.new("state", "reason", "detail")
    | {"changed_at": sa.bindparam("at"), "counted": Job.counted + sa.bindparam("counts")},
    MOVED,
    by="job_id",
)


# What `customer_of` reads.
CUSTOMER = (
    CustomerRow.customer_id,
    CustomerRow.kind.label("customer_kind"),
    CustomerRow.encrypted.label("person"),
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    Job.purpose,
    Job.channel.label("job_channel"),
    Job.template,
    Job.brand,
)


def customer_of(keyring: Keyring, row: Any) -> Customer:
    """The customer of a message's row. Raises keyring.CannotDecrypt, encrypted_values.Erased."""
    return Customer(
        customer_id=row.customer_id,
        kind=row.customer_kind,
        purpose=row.purpose,
        person=decrypt_person(keyring, row.customer_id, row.person),
        country=row.country,
        locale=row.locale,
        timezone=row.timezone,
        channel=row.job_channel,
        template=row.template,
        brand=row.brand,
    )


def waiting_message(
    session_id: uuid.UUID,
    job_id: int,
    channel: str,
    kind: str,
    *,
    id_: uuid.UUID | None = None,
    due_at: datetime,
    wanted: datetime | None = None,
    priority: int,
    now: datetime,
) -> dict[str, Any]:
    """The values of a new invitation, due at `due_at` (aware UTC). The id is always the left part of its Message-ID.

    `wanted`: when it should leave. Only quiet hours put it off; None: they are asked for as it leaves.
    """
    return {
        "id": id_ or new_id(now),
        "session_id": session_id,
        "job_id": job_id,
        "batch_id": batch_of(job_id),
        "channel": channel,
        "kind": kind,
        "state": InvitationState.WAITING,
        "due_at": due_at,
        "priority": priority,
        "lease_until": None,
        "lease_owner": "",
        "fence": 0,
        "attempts": 0,
        "waits": 0,
        "unknown_handovers": 0,
        "lost_handovers": 0,
        "reason": Reason.QUIET_HOURS if wanted is not None and due_at > wanted else "",
        "detail": "",
        "reference": "",
        "created_at": now,
        "sent_at": None,
    }


def move_messages(
    connection: sa.Connection, which: sa.ColumnElement[bool], job_id: int, *, batch_id: int | None, **values: Any
) -> None:
    """Let another job own these messages, with `values` for their other columns. `batch_id` None: they stay, and are
    counted, in their own batch.

    Their attempts go with them. All that asks for the attempts of a message asks by its job: an attempt that stayed
    behind would not be found when its worker dies, and the message would be handed over again.
    """
    locked = sa.select(InvitationRow.id, InvitationRow.job_id).where(which).order_by(InvitationRow.id).with_for_update()
    rows = fetch(connection, locked)
    if not rows:
        return
    ids = [row.id for row in rows]
    owner = {"job_id": job_id} | ({"batch_id": batch_id} if batch_id is not None else {})
    connection.execute(sa.update(InvitationRow).where(InvitationRow.id.in_(ids)).values(owner | values))
    theirs = (Attempt.job_id.in_({row.job_id for row in rows}), Attempt.invitation_id.in_(ids))
    connection.execute(sa.update(Attempt).where(*theirs).values(owner))


def set_job_states(
    connection: sa.Connection, job_ids: Iterable[int], *, sent: Mapping[int, uuid.UUID] = NONE_SENT, now: datetime
) -> None:
    """Set the jobs' states from their invitations. The last invitation that explains the state gives the reason.

    `sent`: by job, the session whose first message this transaction has written down as sent.
    """
    ids = sorted(set(job_ids))
    # Without the lock, two transactions that write a job's email and its text at the same time would each see the other
    # message still unfinished, and neither would change the job. The lock needs a statement of its own: a statement
    # that waits for a lock reads the rows as they were before the wait.
    before = {row.id: row for row in fetch(connection, _LOCKED, {"ids": bulk.keys(ids)})}
    # Most jobs have one message. If it was sent, it alone decides; one that was added meanwhile is still to be sent.
    alone = {id_ for id_ in sent if before[id_].session_id == sent[id_] and before[id_].first_messages == 1}
    sent_to: dict[str, Any] = {"new_state": JobState.INVITED, "new_reason": "", "new_detail": ""}
    moves = [sent_to | {"job_id": id_} for id_ in alone]
    if others := [id_ for id_ in ids if id_ not in alone]:
        moves += _moves_from_messages(connection, others)
    moved = [move for move in moves if before[move["job_id"]].state in FROM]
    counts = tally.counts_in_bulk(len(moved))
    if counts:
        _count(connection, before, moved)
    _MOVE.run(connection, moved, at=now, counts=counts)
    if stopped := [move["job_id"] for move in moved if move["new_state"] in STOPPED]:
        happened(connection, JobsStopped(stopped), now=now)


def _moves_from_messages(connection: sa.Connection, job_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The moves of these locked jobs, by all first messages of their sessions."""
    by_job: dict[int, list[sa.Row[Any]]] = {}
    for row in fetch(connection, _MESSAGES, {"ids": bulk.keys(job_ids)}):
        by_job.setdefault(row.job_id, []).append(row)
    for job_id, rows in by_job.items():
        state = job_state_from_invitations([row.state for row in rows])
        if state is None:
            continue
        # Message states and job states have the same names: a held job has the reason of its held message.
        why = [row for row in rows if row.reason and row.state.value == state.value]
        if state is JobState.FAILED and not why:
            why = [row for row in rows if row.reason]
        if state is JobState.FAILED and (spent := [row for row in rows if row.reason == Reason.MESSAGES_SPENT]):
            state, why = JobState.LAPSED, spent  # a retry would end in the same way
        reason, detail = (why[-1].reason, why[-1].detail) if why else ("", "")
        yield {"job_id": job_id, "new_state": state, "new_reason": reason, "new_detail": detail}


def _count(connection: sa.Connection, before: Mapping[int, Any], moves: Iterable[Mapping[str, Any]]) -> None:
    """Count the jobs, which have a session before and after."""
    counts = tally.of(connection)
    alike = Counter((*_COUNTED(before[move["job_id"]]), move["new_state"], move["new_reason"]) for move in moves)
    for (state, *values, new_state, new_reason), number in alike.items():
        batch_id, account, channel, result = values
        counts.add(tally.job(batch_id, state, channel, account, result), -number, sessions=-number)
        counts.add(tally.job(batch_id, new_state, channel, account, result, new_reason), number, sessions=number)


_COUNTED = attrgetter("state", "batch_id", "account", "channel", "result")


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


HOUR = timedelta(hours=1)
NOTHING = BounceCounts(0, 0, 0)
ACT = Act("schedule", "batch.paused")


def count_bounces(
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
        connection.execute(_add_counts(connection.dialect.name), row, execution_options=UNANSWERED)
    if failing := [batch_id for batch_id, one in counted.items() if one.refused or one.bounced]:
        _pause(connection, failing, rule, now=now)


@cache
def _add_counts(dialect: str) -> sa.Insert:
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
