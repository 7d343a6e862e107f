"""What services say that no answer to a call says: the reports of a sender about messages that it had taken, and codes
that our tables do not have (docs/reference/refusals.md)."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import read, save_turn
from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.tables import Budget, UnreadCode
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.call_outcomes import Report, after_reports

# So long a code is named after it came last.
NAMED_FOR = timedelta(days=1)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,48}", re.ASCII)
_IS_THERE = sa.select(Budget.name).where(Budget.name == sa.bindparam("budget"))


class Unread(NamedTuple):
    """A code of an account's provider, or of a sender, that our tables do not have: how often it came, and since when
    and until when (aware UTC). `budget`: of the account or sender."""

    budget: str
    code: str
    number: int
    first_at: datetime
    last_at: datetime


def apply_reports(
    connection: sa.Connection, rule: BudgetRule, reports: Sequence[Report], *, by_mail: bool, now: datetime
) -> None:
    """Apply a sender's reports to its budget, at the end of the transaction: claims wait for the row."""
    if reports:
        after = partial(after_reports, reports=reports, by_mail=by_mail, now=now)
        tally.of(connection).last.append(partial(_apply, rule=rule, after=after))


def _apply(connection: sa.Connection, *, rule: BudgetRule, after: Callable[[BudgetState], BudgetState]) -> None:
    if connection.execute(_IS_THERE, {"budget": rule.name}).first() is None:
        return  # the channel was taken out of the configuration before anything left by it
    before = read(connection, rule.name)
    if after(before) != before:  # mostly not: deliveries of a sender that is well
        before = read(connection, rule.name, lock=True)
        save_turn(connection, rule, before, after(before))


def count_unread(connection: sa.Connection, name: str, codes: Iterable[str], *, now: datetime) -> None:
    """Count codes that our tables do not have, of answers or reports, at the end of the transaction."""
    counted = Counter(code for code in codes if _CODE.fullmatch(code))
    if counted:
        tally.of(connection).last.append(partial(_count, name=name, counted=counted, now=now))


def _count(connection: sa.Connection, *, name: str, counted: Counter[str], now: datetime) -> None:
    statement = insert(UnreadCode, connection.dialect.name)
    new = statement.excluded
    more = {"count": UnreadCode.count + new.count, "last_at": new.last_at}
    statement = statement.on_conflict_do_update(index_elements=["budget", "code"], set_=more)
    for code, number in sorted(counted.items()):  # always in the same order: two transactions must not deadlock
        row = {"budget": name, "code": code, "count": number, "first_at": now, "last_at": now}
        connection.execute(statement, row, execution_options=UNANSWERED)


def unread_codes(database: Database, *, now: datetime) -> list[Unread]:
    """The codes that came lately."""
    lately = sa.select(UnreadCode.__table__).where(UnreadCode.last_at > now - NAMED_FOR)
    rows = database.rows(lately.order_by(UnreadCode.budget, UnreadCode.code))
    return [Unread(row.budget, row.code, row[2], row.first_at, row.last_at) for row in rows]
