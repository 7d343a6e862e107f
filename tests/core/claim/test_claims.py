"""What keeps a claim from leasing rows, and what becomes of slots whose rows are not opened."""

import re
from copy import copy
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import UnknownFlush
from onboarding_worker.core.database.tables import Batch, BatchPlan, Budget, EmergencyStop, Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.limits import CreditCap, Limit
from tests.stored.shelf import customer
from tests.stored.statements import statements

pytestmark = pytest.mark.both_databases

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def test_while_everything_is_stopped_no_row_is_leased(shelf):
    shelf.add(customer("Ona"))
    assert not shelf.budgets.everything_is_stopped()
    with shelf.database.write() as connection:
        connection.execute(sa.insert(EmergencyStop).values(id=1, at=shelf.clock(), by="ada", reason=""))
    assert shelf.budgets.everything_is_stopped()
    flushed = shelf.flush()
    assert (flushed.opened, flushed.again_at, shelf.job("Ona").state) == ([], None, JobState.WAITING)


@pytest.mark.parametrize(
    ("rule", "names", "stops", "again_in"),
    [
        ({"credits": 5}, [], False, None),
        ({"credits": 5}, ["Look"], False, None),
        ({"credits": 5}, ["Ona"], True, None),
        ({"credits": 5}, ["Ona", "Look"], False, None),
        ({"credits_by": (CreditCap(5, "day"),)}, ["Ona"], False, DAY / 2),
        ({"credits_by": (CreditCap(5, "day"),)}, ["Ona", "Look"], False, None),
        ({"credits": 7, "credits_by": (CreditCap(7, "day"),)}, ["Ona", "Look"], None, None),
    ],
)
def test_at_a_cap_calls_are_made_that_cost_nothing_and_only_the_cap_on_all_stops_the_account(
    shelf, rule, names, stops, again_in
):
    if names:
        shelf.add(*map(customer, names))
    shelf.set(Job, Job.customer_id == "Look", needs_status_check=True)
    day = {f"credits_{name}": 5 for name in ("used", "today", "week", "month")}
    shelf.set(Budget, Budget.name == "kyc", **day, credits_day=shelf.clock().date())
    claimed = shelf.jobs.claim(shelf.ruled(**rule), most=9, now=shelf.clock())
    found = [job.customer.customer_id for job in claimed.jobs]
    assert sorted(found) == (sorted(names) if stops is None else [name for name in names if name == "Look"])
    assert (shelf.budgets.all()["kyc"].stopped_at is not None) is bool(stops)
    if not found:
        assert claimed.again_at == (None if again_in is None else shelf.clock() + again_in)


def test_slots_of_rows_that_could_not_be_opened_are_free_again(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(4)))
    policy = shelf.ruled(limits=(Limit.parse("10/second"),))
    jobs = copy(shelf.jobs)
    jobs.open = lambda flush, items: shelf.jobs.__class__.open(shelf.jobs, flush, items[:1])
    flushed = jobs.flush(policy, [], Room(4, 0, horizon=SECOND), clock=shelf.clock)
    assert (len(flushed.opened), list(flushed.slots)) == (1, [shelf.clock()])
    assert shelf.budgets.all()["kyc"].next_at == shelf.clock() + SECOND / 10


@pytest.mark.parametrize(("waits", "most", "more"), [(2, 9, False), (2, 2, True), (5, 2, True)])
def test_a_claim_is_made_again_at_once_where_more_rows_may_wait_and_no_limit_spaces_them(shelf, waits, most, more):
    shelf.add(*(customer(f"C{number}") for number in range(waits)))
    claimed = shelf.jobs.claim(shelf.policy, most=most, now=shelf.clock())
    assert (len(claimed.jobs), claimed.slots) == (min(waits, most), ())
    assert claimed.again_at == (shelf.clock() if more else None)


@pytest.mark.parametrize(("names", "raised"), [(["Ona"], UnknownFlush), ([], sa.exc.OperationalError)])
def test_the_outcome_of_a_flush_whose_commit_was_lost_is_unknown_only_if_it_opened_rows(shelf, names, raised):
    shelf.add(*map(customer, names))

    def break_off(_connection):
        raise sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))

    sa.event.listen(shelf.database.engine, "commit", break_off)
    try:
        with pytest.raises(raised) as found:
            shelf.flush()
    finally:
        sa.event.remove(shelf.database.engine, "commit", break_off)
    if names:
        assert [job.customer.customer_id for job in found.value.opened] == names


@pytest.mark.postgresql_alone
@pytest.mark.parametrize(
    ("planned", "names", "locked"),
    [(True, ["Ona", "Jonas"], ["budget", "batch_plan"]), (False, ["Ona", "Jonas"], ["budget"]), (True, [], [])],
)
def test_the_budget_is_locked_before_the_plan_of_a_batch(shelf, planned, names, locked):
    """Else two workers could wait for each other."""
    batch = shelf.add(customer("Last"), *map(customer, names))
    words = dict.fromkeys(("first", "condition", "verdict", "numbers"), "")
    shelf.set(Batch, planned=planned)
    with shelf.database.write() as connection:
        connection.execute(sa.insert(BatchPlan).values(batch_id=batch, per_hour=60, **words))
    policy = shelf.ruled(limits=(Limit.parse("10/second"),))
    shelf.claim(0, policy)  # the permits, which a first claim asks for under the budget's lock
    shelf.set(Job, Job.customer_id == "Last", due_at=shelf.clock() + DAY)
    with statements(shelf.database) as made:
        opened = shelf.jobs.flush(policy, [], Room(4, 0, horizon=SECOND), clock=shelf.clock).opened
    assert len(opened) == min(len(names), 1 if planned else 2)
    selects = [text for text in made if text.startswith("SELECT") and " FOR UPDATE" in text]
    assert list(dict.fromkeys(re.findall(r"FROM (\w+)", text)[-1] for text in selects)) == locked
