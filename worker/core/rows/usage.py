"""How many sessions and messages a customer has had, and how many reissues an account has opened today, for the caps.

The rows are counted each time. A separate counter would have to stay correct through late answers, unknown outcomes,
and messages that bounce.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.job_ids import Key
from onboarding_worker.core.database.tables import InvitationRow, ReissueCount, SessionRow
from onboarding_worker.core.model.states import InvitationState, SessionState
from onboarding_worker.core.rules.contact import COUNTED
from onboarding_worker.core.rules.limits import day_of


class Messages(NamedTuple):
    """A customer's messages. `sent`: handed over, or perhaps handed over. `sending`: in work, or being reconciled."""

    sent: int = 0
    sending: int = 0

    @property
    def all(self) -> int:
        return self.sent + self.sending


_SESSIONS = (
    sa.select(SessionRow.customer_id, SessionRow.purpose, sa.func.count().label("number"))
    .where(bulk.among(SessionRow.customer_id, "customers"), SessionRow.state != bulk.fixed(SessionState.DEFERRED))
    .where(SessionRow.past.is_(False))
    .group_by(SessionRow.customer_id, SessionRow.purpose)
)
_SESSIONS_OF = sa.select(SessionRow.id).where(
    bulk.among(SessionRow.customer_id, "customers"), SessionRow.past.is_(False)
)
# A hand-over with an unknown outcome may have been carried out. Until it is reconciled, it counts as being sent.
_RECONCILING = sa.and_(
    InvitationRow.state == bulk.fixed(InvitationState.WAITING), InvitationRow.unknown_attempt.is_not(None)
)
_SENDING = sa.case((sa.or_(InvitationRow.state == bulk.fixed(InvitationState.WORKING), _RECONCILING), 1), else_=0)
# With a message that was given up or cancelled before its outcome was known: it may have arrived.
_COUNTS = sa.or_(
    InvitationRow.state.in_([bulk.fixed(state) for state in sorted(COUNTED)]),
    InvitationRow.unknown_attempt.is_not(None),
)
_REPEATED = InvitationRow.unknown_handovers + InvitationRow.lost_handovers
# Session by session, through the index. With a join, and statistics from before a list, PostgreSQL would read all
# invitations. This query runs at each claim of messages.
_MESSAGES = (
    sa.select(
        sa.select(SessionRow.customer_id)
        .where(SessionRow.id == InvitationRow.session_id)
        .scalar_subquery()
        .label("customer_id"),
        sa.func.sum(_REPEATED + sa.case((_COUNTS, 1), else_=0)).label("number"),
        sa.func.sum(_SENDING).label("sending"),
    )
    .where(
        bulk.within(InvitationRow.session_id, _SESSIONS_OF),
        # A hand-over that was repeated, or lost, counts whatever became of the message.
        sa.or_(_COUNTS, _REPEATED > 0),
    )
    .group_by(InvitationRow.session_id)
)


def sessions_of(connection: sa.Connection, customer_ids: Iterable[str]) -> Counter[Key]:
    """How many sessions these customers have had, by customer and purpose, over all lists."""
    rows = fetch(connection, _SESSIONS, {"customers": bulk.keys(set(customer_ids))})
    return Counter({(row.customer_id, row.purpose): row.number for row in rows})


def messages_of(connection: sa.Connection, customer_ids: Iterable[str]) -> dict[str, Messages]:
    """The messages that count against each customer's cap: of all purposes, with reminders (`contact.COUNTED`)."""
    found = dict.fromkeys(customer_ids, Messages())
    for row in fetch(connection, _MESSAGES, {"customers": bulk.keys(found)}):
        before = found[row.customer_id]
        found[row.customer_id] = Messages(before.sent + row.number - row.sending, before.sending + row.sending)
    return found


_LOCKED = (
    sa.select(ReissueCount.account, ReissueCount.count.label("number"))
    .where(bulk.among(ReissueCount.account, "accounts"), ReissueCount.day == sa.bindparam("day"))
    .order_by(ReissueCount.account)
    .with_for_update()
)
_COUNT = (
    sa.update(ReissueCount)
    .where(ReissueCount.account == sa.bindparam("of_account"), ReissueCount.day == sa.bindparam("on_day"))
    .values(count=ReissueCount.count + sa.bindparam("more"))
)


def reissues_today(connection: sa.Connection, account: str, *, lock: bool, now: datetime) -> int:
    """The account's count since 0:00 UTC. Without `lock`, others may count meanwhile; see `reissues_so_far`."""
    day = day_of(now)
    if lock:
        return reissues_so_far(connection, [account], day).get(account, 0)
    query = sa.select(ReissueCount.count).where(ReissueCount.account == account, ReissueCount.day == day)
    return connection.execute(query).scalar() or 0


def reissues_so_far(connection: sa.Connection, accounts: Iterable[str], day: date) -> dict[str, int]:
    """The counts of these accounts on a day, locked: no other transaction counts for them until this one ends."""
    names = sorted(set(accounts))
    if not names:
        return {}
    rows = [{"account": name, "day": day, "count": 0} for name in names]
    connection.execute(bulk.insert(ReissueCount, connection.dialect.name).on_conflict_do_nothing(), rows)
    return {row.account: row.number for row in fetch(connection, _LOCKED, {"accounts": bulk.keys(names), "day": day})}


def count_reissues(connection: sa.Connection, more: Mapping[str, int], day: date) -> None:
    """Add these numbers to the accounts' counts; `reissues_so_far` must have locked the rows."""
    rows = [{"of_account": name, "on_day": day, "more": number} for name, number in sorted(more.items()) if number]
    if rows:
        connection.execute(_COUNT, rows)
