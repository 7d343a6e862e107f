"""Workers on machines whose clocks are minutes apart: leases and slots agree, because all use the database's time."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.foundation.clock import ProcessClock, system_clock
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import customer
from tests.stored.steps import JobSteps
from tests.suite.some import some

pytestmark = pytest.mark.both_databases


def machine(shelf, off):
    """The clock of a machine that is off by this much, once the clock was measured against the database's clock."""
    clock = ProcessClock(lambda: system_clock() + off)
    shelf.database.set_clock(clock)
    return clock


@pytest.mark.postgresql_alone
def test_two_machines_that_are_minutes_apart_agree_on_leases_and_slots(shelf):
    ahead, behind = machine(shelf, timedelta(minutes=5)), machine(shelf, timedelta(minutes=-7))
    shelf.clock.now = ahead()
    shelf.add(*(customer(f"C{number}") for number in range(6)))
    policy = shelf.ruled(limits=(Limit.parse("10/second"),))
    workers = [(JobSteps(shelf.database, shelf.keyring), clock) for clock in (ahead, behind, ahead)]
    for jobs, _ in workers:
        jobs.horizon = timedelta(seconds=20)
    slots = [slot for jobs, clock in workers for slot in jobs.claim(policy, most=2, now=clock()).slots]
    assert all(later - earlier >= timedelta(milliseconds=100) for earlier, later in some(pairwise(slots)))
    assert slots[-1] - slots[0] < timedelta(seconds=15)  # not the minutes that the clocks are apart
    # the machine that is ahead does not end the leases of the other machine
    ended = shelf.expired_leases.end(shelf.policy.rule.retry, now=ahead())
    assert ended.released == 0
    assert {row.state for row in shelf.rows(Job)} == {"working"}


@pytest.mark.parametrize("what", ["jobs", "messages"])
def test_calls_that_a_worker_with_a_wrong_clock_reserved_are_cut_back_by_the_next_worker(shelf, what):
    limits = (Limit.parse("10/second"),)
    shelf.add(*(customer(f"C{number}") for number in range(6)))
    if what == "messages":
        shelf.issue()
        rule = replace(shelf.message_policy.rule, limits=limits)
        policy, table = replace(shelf.message_policy, rule=rule), shelf.invitations
    else:
        policy, table = shelf.ruled(limits=limits), shelf.jobs
    right = shelf.clock()
    table.claim(policy, most=1, now=right + timedelta(hours=1))

    assert list(table.claim(policy, most=10, now=right).slots) == []
    assert shelf.budgets.all()[policy.rule.name].next_at < right + timedelta(seconds=2)
    assert len(table.claim(policy, most=10, now=right + timedelta(seconds=2)).slots) > 0
