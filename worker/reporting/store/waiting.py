"""What waits, over all batches: for which account or sender, which rows go before those of a batch, which batches have
rows that were not sent, and what needs a person. Read from the kept counts where there are any. Changes nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.fast.tally import CountOf
from onboarding_worker.core.database.tables import (
    Attempt,
    Batch,
    BatchPlan,
    InvitationRow,
    Job,
    RefusedEvent,
    TextCount,
    Webhook,
)
from onboarding_worker.core.database.tables.types import word_of
from onboarding_worker.core.foundation.keyring import KEY_ID_DIGITS, NEEDS_THE_KEY
from onboarding_worker.core.model import states
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import PRIORITIES, InvitationState, JobState
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.text_numbers import HOUR, KEPT, hour_of
from onboarding_worker.core.work.store import call_costs
from onboarding_worker.lists.store.batches import BATCH_FACTS, BatchFacts
from onboarding_worker.plans.store.pilots import NOT_MET
from onboarding_worker.reporting.store.counting import COUNTED, ROWS, bounds, first_due

_LATER = (Reason.QUIET_HOURS, Reason.IN_REVIEW, Reason.ADDRESS_SPENT)
SHARE = 4  # events for each row of a list, where both wait
# A message that waits longer than this is a reminder, or one for a customer who has the link in the app.
SOON = timedelta(days=1)
_PAUSED = [priority + states.PAUSED for priority in PRIORITIES]
# In the words of the index, as IS_LIVE is of its own.
IS_LISTED = Webhook.state.in_([bulk.fixed(state) for state in states.LISTED_WEBHOOKS])
_TO_CHECK = sa.select(sa.func.count(Webhook.id), sa.func.min(Webhook.received_at)).where(
    IS_LISTED, Webhook.state.in_([bulk.fixed(state) for state in states.WEBHOOKS_TO_CHECK])
)
Missing = Mapping[str, Mapping[int, int]]  # by name: how many rows wait for it, by batch
# In the words of the indexes.
_IS_HELD = (Job.state == bulk.fixed(JobState.HELD), Job.leader_id.is_(None))


def waited_for(database: Database, shut: Collection[str]) -> tuple[set[str], set[str]]:
    """The accounts and senders that rows wait for, due or not, but those of paused batches; and the accounts for which
    no session is requested while these senders are shut: all of their rows wait for the senders."""
    paused = sa.select(Batch.id).where(Batch.pause_cause != "")
    alike = (COUNTED.kind, COUNTED.account, COUNTED.channel, COUNTED.reason)
    waits = (COUNTED.kind.in_([CountOf.JOB.value, CountOf.MESSAGE.value]), COUNTED.state == JobState.WAITING.value)
    query = sa.select(*alike).where(*waits, COUNTED.batch_id.not_in(paused)).group_by(*alike).having(ROWS > 0)
    names, for_senders, others = set[str](), set[str](), set[str]()
    for row in database.rows(query):
        if row.kind == CountOf.MESSAGE:
            names.add(row.channel)
        elif row.reason == Reason.WAITS_FOR_SENDER:
            channels = {str(channel) for channel in invitation_channels(word_of(Channel, row.channel))}
            names |= {row.account, *channels}
            theirs = for_senders if channels.intersection(shut) else others
            theirs.add(row.account)
        else:
            names.add(row.account)
            others.add(row.account)
    return names, for_senders - others


class Queue(NamedTuple):
    """The rows of all lists that go in the order in which the lists began. `rows`: by batch, kind, account, channel,
    reason. `later`: when the first of them is due, of those that wait until a later hour."""

    rows: Sequence[Any]
    of_events: frozenset[int]
    later: Mapping[tuple[int, str, str], datetime | None]

    def ahead_of(
        self, batch_id: int | None, left: Mapping[str, int], *, began_at: datetime, until: datetime, on_click: bool
    ) -> Counter[str]:
        """How many calls, by account, and messages, by channel, go before those of this batch, which began then, has
        these left, and goes on at `until`; None: of a list that is not imported yet. A day's events go before each
        list, but for the share of the lists. `on_click`: a row with a message waits for no call."""
        found, of_events = Counter[str](), batch_id in self.of_events
        for row in self.rows:
            due_at = self.later.get((row.batch_id, row.kind, row.reason), until)
            if row.batch_id == batch_id or due_at is None or due_at > until:
                continue
            began = (max(row.created_at, row.start_at or row.created_at), row.batch_id)
            later = batch_id is not None and began > (began_at, batch_id)
            if (row.batch_id in self.of_events) is of_events and (later or of_events):
                continue
            if row.kind == CountOf.MESSAGE:
                found[row.channel] += row.rows
                continue
            channels = invitation_channels(word_of(Channel, row.channel))
            if not channels or not on_click:
                found[row.account] += row.rows
            if left.get(row.account):  # else they come after this batch's, which wait for no call of the account
                found.update(dict.fromkeys(channels, row.rows))
        if of_events:  # chance decides each time whose turn it is: of few, it may be once more
            return Counter({name: min(rows, -(-left.get(name, 0) // SHARE) + 1) for name, rows in found.items()})
        return found


def queue(database: Database, *, now: datetime) -> Queue:
    """What is left of the lists: rows that are due go in the order of their due times. Not of paused lists, and of
    those whose rows have times of their own. Read from the kept counts, once for all batches."""
    stopped = sa.select(Batch.id).where(sa.or_(Batch.pause_cause != "", Batch.cancelled_at.is_not(None)))
    timed = sa.select(BatchPlan.batch_id).where(
        sa.or_(
            BatchPlan.per_hour.is_not(None),
            BatchPlan.deadline.is_not(None),
            BatchPlan.start_at > now,
            sa.and_(BatchPlan.first != "", BatchPlan.verdict.in_(["", NOT_MET])),
        )
    )
    of_row = (COUNTED.batch_id, COUNTED.kind, COUNTED.account, COUNTED.channel)
    alike = (*of_row, COUNTED.reason, Batch.created_at, BatchPlan.start_at)
    left = sa.select(*alike, ROWS.label("rows")).join(Batch, Batch.id == COUNTED.batch_id)
    left = left.join(BatchPlan, BatchPlan.batch_id == Batch.id, isouter=True)
    left = left.where(
        COUNTED.kind.in_([CountOf.JOB.value, CountOf.MESSAGE.value]),
        COUNTED.state.in_([JobState.WAITING.value, JobState.WORKING.value]),
        COUNTED.batch_id.not_in(stopped),
        COUNTED.batch_id.not_in(timed),
    )
    with database.read() as connection:
        of_events = connection.execute(sa.select(Batch.id).where(Batch.last_row.is_not(None))).scalars()
        rows = fetch(connection, left.group_by(*alike).having(ROWS > 0))
        later = {}
        for batch_id, kind, reason in {(row.batch_id, row.kind, row.reason) for row in rows if row.reason in _LATER}:
            model = Job if kind == CountOf.JOB else InvitationRow
            first = connection.execute(bounds(model, Reason(reason)), {"batch": batch_id}).one()[0]
            later[batch_id, kind, reason] = first
    return Queue(rows, frozenset(of_events), later)


class Unsent(NamedTuple):
    """A batch, and how many of its rows wait for a session or its message (`left_of`): 0 where only further
    messages of invited rows wait."""

    batch: BatchFacts
    rows: int


def unsent(database: Database, *, now: datetime) -> list[Unsent]:
    """The batches with rows that were not sent, and the paused ones with any message that waits for the resume, the
    oldest first. The cost follows the messages that wait."""
    jobs = _jobs(COUNTED.state == JobState.WAITING.value)
    waits = (InvitationRow.channel.in_(list(CHANNELS)), InvitationRow.state == bulk.fixed(InvitationState.WAITING))
    of_messages = sa.select(InvitationRow.batch_id).where(*waits)
    first = (InvitationRow.priority.in_(PRIORITIES), InvitationRow.due_at <= now + SOON, InvitationRow.kind == FIRST)
    messages = of_messages.where(*first).union(of_messages.where(InvitationRow.priority.in_(_PAUSED)))
    with database.read() as connection:
        waiting = {batch_id for batch_id, _ in connection.execute(jobs)} | {*connection.execute(messages).scalars()}
        batches = sa.select(*BATCH_FACTS).where(Batch.id.in_(waiting), Batch.cancelled_at.is_(None))
        rows = fetch(connection, batches.order_by(Batch.id))
        left = left_of(connection, [row.id for row in rows])
    return [Unsent(made_of(BatchFacts, row), left.get(row.id, 0)) for row in rows]


def left_of(connection: sa.Connection, batch_ids: Collection[int]) -> dict[int, int]:
    """How many rows of each batch wait for their session or first message: what a pause holds back. Not among them are
    held rows, which wait for a person, and rows that another list's row serves: `BatchCounts.left` counts these too."""
    waits = sa.or_(
        COUNTED.state.in_([JobState.WAITING.value, JobState.WORKING.value]),
        sa.and_(COUNTED.state == JobState.ISSUED.value, COUNTED.channel != Channel.NONE.value),
    )
    return {row.batch_id: row.rows for row in fetch(connection, _jobs(COUNTED.batch_id.in_(batch_ids), waits))}


def unmoved_since(database: Database, names: Collection[str], *, now: datetime) -> datetime | None:
    """Since when no call was written down although rows of these accounts and senders were due; None: nothing was due
    for so long."""
    with database.read() as connection:
        times = [
            first_due(connection, InvitationRow, InvitationRow.channel == name, now=now)
            if name in CHANNELS
            else first_due(connection, Job, Job.account == name, Job.leader_id.is_(None), now=now)
            for name in sorted(names)
        ]
        last = connection.execute(sa.select(Attempt.opened_at).order_by(Attempt.id.desc()).limit(1)).scalar()
    first = min(filter(None, times), default=None)
    return first if first is None or last is None else max(first, last)


def _jobs(*which: sa.ColumnElement[bool]) -> sa.Select[int, int]:
    """How many of these jobs each batch has, without those that joined a job of another list."""
    jobs = sa.select(COUNTED.batch_id, ROWS.label("rows")).where(COUNTED.kind == CountOf.JOB, *which)
    return jobs.group_by(COUNTED.batch_id).having(ROWS > 0)


def cut_off(database: Database) -> list[BatchFacts]:
    """The batches whose import is not complete, and that no person stopped, the oldest first."""
    return _batches(database, Batch.imported_at.is_(None), Batch.pause_cause == "")


def paused_themselves(database: Database) -> list[BatchFacts]:
    """The batches that paused themselves and were not resumed, the oldest first: also those with nothing left to send,
    whose failed rows would wait for the resume."""
    return _batches(database, Batch.pause_cause == states.PauseCause.ITSELF.value)


def _batches(database: Database, *conditions: sa.ColumnElement[bool]) -> list[BatchFacts]:
    query = sa.select(*BATCH_FACTS).where(*conditions, Batch.cancelled_at.is_(None), Batch.purged_at.is_(None))
    return [made_of(BatchFacts, row) for row in database.rows(query.order_by(Batch.id))]


def of_other_accounts(database: Database, accounts: Collection[str]) -> Missing:
    """The accounts of waiting rows that are not among these accounts."""
    waits = (COUNTED.kind == CountOf.JOB, COUNTED.state == JobState.WAITING.value, COUNTED.account.not_in(accounts))
    return _summed(_by_name(database, COUNTED.account, COUNTED.batch_id, ROWS, *waits))


def of_other_channels(database: Database, channels: Collection[str]) -> Missing:
    """The channels of waiting rows and messages, reminders among them, that are not among these."""
    others = [channel for channel in CHANNELS if channel not in channels]
    if not others:
        return {}
    waits = (InvitationRow.channel.in_(others), InvitationRow.state == bulk.fixed(InvitationState.WAITING))
    messages = _by_name(database, InvitationRow.channel, InvitationRow.batch_id, sa.func.count(), *waits)
    rows = (COUNTED.kind == CountOf.JOB, COUNTED.state == JobState.WAITING.value)
    of_rows = [
        (name, batch_id, number)
        for wanted, batch_id, number in _by_name(database, COUNTED.channel, COUNTED.batch_id, ROWS, *rows)
        for name in (invitation_channels(Channel.BOTH) if wanted == Channel.BOTH else (wanted,))
    ]
    return {name: rows for name, rows in _summed([*messages, *of_rows]).items() if name in others}


def of_other_brands(database: Database, brands: Collection[str]) -> Missing:
    """The brands that rows and messages wait for and that are not among these. `ix_job_brand_missing` and
    `ix_invitation_brand_missing` have these rows alone."""
    missing = bulk.fixed(Reason.BRAND_MISSING)
    jobs = (Job.state == bulk.fixed(JobState.WAITING), Job.reason == missing)
    waits = (InvitationRow.state == bulk.fixed(InvitationState.WAITING), InvitationRow.reason == missing)
    messages = (*waits, Job.id == InvitationRow.job_id)
    found = [_by_name(database, Job.brand, Job.batch_id, sa.func.count(), *those) for those in (jobs, messages)]
    return {name: rows for name, rows in _summed(chain(*found)).items() if name not in brands}


def without_right(database: Database) -> Missing:
    """By account, the rows that set what they may not. `ix_job_right_missing` has these rows alone."""
    waits = (Job.state == bulk.fixed(JobState.WAITING), Job.reason == bulk.fixed(Reason.RIGHT_MISSING))
    return _summed(_by_name(database, Job.account, Job.batch_id, sa.func.count(), *waits))


def _summed(found: Iterable[tuple[str, int, int]]) -> Missing:
    sums: dict[str, Counter[int]] = {}
    for name, batch_id, number in found:
        sums.setdefault(name, Counter())[batch_id] += number
    return sums


def _by_name(
    database: Database,
    name: sa.ColumnElement[str] | sa.Column[str],
    batch_id: sa.ColumnElement[int] | sa.Column[int],
    number: sa.ColumnElement[int],
    *conditions: sa.ColumnElement[bool],
) -> list[tuple[str, int, int]]:
    query = sa.select(name, batch_id, number).where(*conditions).group_by(name, batch_id).having(number > 0)
    return database.rows(query)


def held(database: Database) -> list[tuple[BatchFacts, int, datetime | None]]:
    """The batches with held rows, the oldest first: how many, and since when the first of them."""
    held_rows = _jobs(COUNTED.state == JobState.HELD.value).subquery()
    of_batch = sa.select(Job.changed_at).where(Job.batch_id == Batch.id, *_IS_HELD).correlate(Batch)
    since = of_batch.order_by(Job.changed_at).limit(1).scalar_subquery().label("since")  # one look at `ix_job_held`
    query = sa.select(*BATCH_FACTS, held_rows.c.rows, since).join(held_rows, held_rows.c.batch_id == Batch.id)
    return [(made_of(BatchFacts, row), row.rows, row.since) for row in database.rows(query.order_by(Batch.id))]


def credits_spent(database: Database) -> list[tuple[BatchFacts, int]]:
    """The batches with rows for which they have no credit left (--most-credits), the oldest first, and how many."""
    waits = (COUNTED.state == JobState.WAITING.value, COUNTED.reason == Reason.CREDITS_SPENT.value)
    rows = _jobs(*waits).subquery()
    query = sa.select(*BATCH_FACTS, rows.c.rows).join(rows, rows.c.batch_id == Batch.id).order_by(Batch.id)
    found = [(made_of(BatchFacts, row), row.rows) for row in database.rows(query)]
    return [(batch, number) for batch, number in found if has_spent(database, batch.id)]


def has_spent(database: Database, batch_id: int) -> bool:
    """Whether the batch has used up the credits that it may cost. Its rows keep that reason until they are looked at
    again: when more was allowed, or a call was found to have cost nothing."""
    with database.read() as connection:
        most = connection.execute(sa.select(BatchPlan.most_credits).where(BatchPlan.batch_id == batch_id)).scalar()
        return most is not None and not call_costs.left(connection, batch_id, most, 1)


def missing_keys(database: Database, known: Collection[str]) -> dict[str, tuple[int, datetime]]:
    """How many held rows wait for each key that is not among these, and since when the first of them. From the reason
    of the held rows, which names the key: `onboard keys status` reads every row."""
    place = sa.func.instr if database.is_sqlite else sa.func.strpos
    begins = place(Job.detail, NEEDS_THE_KEY)
    key_id = sa.func.substr(Job.detail, begins + len(NEEDS_THE_KEY), KEY_ID_DIGITS)
    waiting = sa.select(key_id, sa.func.count(), sa.func.min(Job.changed_at)).where(
        *_IS_HELD, Job.reason == bulk.fixed(Reason.CANNOT_DECRYPT), begins > 0
    )
    found = database.rows(waiting.group_by(sa.text("1")).order_by(sa.text("1")))
    return {id_: (number, since) for id_, number, since in found if id_ not in known}


def refused_events(database: Database) -> dict[str, tuple[int, datetime]]:
    """How many refused messages each queue has, and since when the first; queues without one are not named."""
    query = sa.select(RefusedEvent.queue, sa.func.count(), sa.func.min(RefusedEvent.refused_at))
    found = database.rows(query.group_by(RefusedEvent.queue).order_by(RefusedEvent.queue))
    return {queue: (number, since) for queue, number, since in found}


def webhooks_to_check(database: Database) -> tuple[int, datetime | None]:
    """How many webhooks a person is to check, and when the first of them came."""
    number, since = database.first(_TO_CHECK)
    return number, since


def to_check(connection: sa.Connection) -> int:
    return connection.execute(_TO_CHECK).one()[0]


def at_their_cap(database: Database, *, now: datetime) -> dict[str, tuple[int, int]]:
    """By country that had to wait in this hour or the one before: the texts of that hour, and how often one waited."""
    query = sa.select(TextCount.country, TextCount.count.label("number"), TextCount.refused)
    query = query.where(TextCount.hour >= hour_of(now) - HOUR, TextCount.refused > 0)
    found = database.rows(query.order_by(TextCount.country, TextCount.hour))
    return {row.country: (row.number, row.refused) for row in found}


def texts_by_country(database: Database, *, now: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """By country, the texts of the hours that are kept, and those of this hour."""
    query = sa.select(TextCount.country, TextCount.hour, TextCount.count.label("number"))
    kept: Counter[str] = Counter()
    this_hour: dict[str, int] = {}
    for row in database.rows(query.where(TextCount.hour >= hour_of(now) - KEPT, TextCount.count > 0)):
        kept[row.country] += row.number
        if row.hour == hour_of(now):
            this_hour[row.country] = row.number
    return dict(kept), this_hour
