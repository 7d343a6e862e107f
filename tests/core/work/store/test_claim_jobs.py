"""Claims: as many due jobs as the budget allows calls, each for one worker."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database.tables import Attempt, Budget, CustomerRow, Job, SessionRow
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import CustomerKind
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import BATCH, EVENT, JobState
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.lists.known_customers import KnownChoices, KnownRule
from onboarding_worker.plans.store.plans import Plan
from tests.core.rules.call_outcomes import call_outcome
from tests.stored.shelf import add_lines, customer, line
from tests.stored.statements import statements
from tests.stored.steps import JobSteps
from tests.suite.some import some
from tests.suite.waiting import ENDS_WITHIN

pytestmark = pytest.mark.both_databases


def ids(jobs):
    return [job.customer.customer_id for job in jobs]


def test_a_claimed_job_is_leased_for_the_length_of_a_lease(shelf):
    shelf.add(customer("Ona"))
    (job,) = shelf.claim()
    row = shelf.job("Ona")
    assert (row.state, row.lease_until, row.lease_owner, row.fence) == (
        JobState.WORKING,
        shelf.clock() + timedelta(seconds=60),
        "here:1",
        1,
    )
    assert (job.lease_until, job.fence) == (row.lease_until, row.fence)
    assert shelf.claim() == []


def test_a_claimed_job_holds_all_values_for_its_call(shelf):
    parameters = {"idenfy-kyc": {"documents": ["PASSPORT"]}, "frankieone-v2": {"other": "x"}}
    known = customer("Ona", external_ref="crm-7", tags=("vip",), parameters=parameters, consent=True, template="gold")
    batch = shelf.add(known, replace(customer("Jonas"), entity_id="e-1"))
    first, second = shelf.claim()
    assert (first.batch_id, first.customer.purpose, first.channel, shelf.slots) == (batch, "onboarding", "email", [])
    assert first.external_ref == "crm-7"
    assert first.parameters == {"documents": ["PASSPORT"]}
    assert replace(first.customer, parameters=parameters) == known
    # without an external_ref the provider gets the job's id
    assert (second.external_ref, second.parameters) == (str(second.id), {})
    assert second.entity_id == "e-1"
    assert "Ona" not in repr(first)


def test_a_claimed_job_has_the_values_of_its_row(shelf):
    moment = shelf.clock()
    values = {
        "row": 70,
        "priority": 0,
        "attempts": 3,
        "reissues": 4,
        "floor_seconds": 5,
        "purpose": "age",
        "entity_id": "e-6",
        "link_requested_at": moment - timedelta(seconds=7),
        "invite_at": moment + timedelta(seconds=8),
        "traceparent": "t-9",
    }
    shelf.add(replace(customer("Ona"), timezone="Europe/Vilnius", kind=CustomerKind.COMPANY, template="gold"))
    with shelf.database.write() as connection:
        connection.execute(sa.update(Job).values(values))
    (job,) = shelf.claim()
    row, known = shelf.job("Ona"), job.customer
    same = ("id", "batch_id", "fence", "attempts", "priority", "channel", "due_at", "lease_until")
    for name in (*same, "link_requested_at", "invite_at", "traceparent", "session_id"):
        assert getattr(job, name) == getattr(row, name), name
    for name in ("customer_id", "purpose", "channel", "entity_id", "template", "consent"):
        assert getattr(known, name) == getattr(row, name), name
    assert (known.kind, known.country, known.locale) == (CustomerKind.COMPANY, "LT", "lt")
    assert (known.timezone, known.person.first_name, known.account) == ("Europe/Vilnius", "Ona", "")
    assert (job.floor, job.serial, job.entity_id) == (timedelta(seconds=5), "-5.4", "e-6")
    assert (job.probe, job.ended, job.asks_about, job.unknown_call) == (False, False, None, None)


@pytest.mark.parametrize(("account", "applicant"), [("kyc", "ap_71f0"), ("another", "")])
def test_a_reissue_knows_the_applicant_of_the_session_that_it_replaces_at_the_same_account(shelf, account, applicant):
    shelf.add(customer("Ona"), customer("Jonas"))
    first, second = shelf.open(shelf.claim())
    assert first.applicant_id == ""
    soon = timedelta(minutes=1)
    vendors = shelf.session(lifetime=soon, references={"applicantId": "ap_71f0"})
    shelf.finish(shelf.got(first, vendors), shelf.got(second, shelf.session(lifetime=soon)))
    shelf.set(SessionRow, account=account)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.clock.advance(minutes=2)
    found = {job.customer.customer_id: job.applicant_id for job in shelf.claim()}
    assert found == {first.customer.customer_id: applicant, second.customer.customer_id: ""}


def test_a_claimed_row_is_read_once(shelf, database):
    """PostgreSQL returns the customer with the lease. SQLite cannot, and reads the rows that it has leased."""
    shelf.add(customer("Ona"), customer("Jonas"))
    with statements(database) as made:
        assert len(shelf.claim()) == 2
    reads = [text for text in made if "customer.timezone" in text]
    assert [text.split()[0] for text in reads] == ["SELECT" if database.is_sqlite else "UPDATE"]


def test_an_event_goes_before_a_batch_and_the_longest_due_job_goes_first(shelf):
    shelf.add(customer("Second"), customer("Third"), priority=BATCH)
    shelf.clock.advance(seconds=1)
    shelf.add(customer("Fourth"), priority=BATCH)
    shelf.add(customer("First"), priority=EVENT)
    assert ids(shelf.claim(most=2)) == ["First", "Second"]
    assert ids(shelf.claim(most=2)) == ["Third", "Fourth"]


def test_a_claim_takes_no_more_jobs_than_requested(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    claimed = shelf.jobs.claim(shelf.policy, most=3, now=shelf.clock())
    assert ids(claimed.jobs) == ["C0", "C1", "C2"]
    assert claimed.again_at == shelf.clock()  # a full chunk: more jobs may be due
    rest = shelf.jobs.claim(shelf.policy, most=3, now=shelf.clock())
    assert (ids(rest.jobs), rest.again_at) == (["C3", "C4"], None)


def test_a_job_that_is_not_due_is_not_claimed(shelf):
    shelf.add(customer("Ona"))
    shelf.set(Job, due_at=shelf.clock() + timedelta(seconds=1))
    assert shelf.claim() == []
    shelf.clock.advance(seconds=1)
    assert ids(shelf.claim()) == ["Ona"]


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.WAITING])
def test_a_job_in_any_other_state_is_not_claimed(shelf, state):
    shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    assert shelf.claim() == []


def test_the_jobs_of_another_account_are_left_alone(shelf):
    shelf.add(customer("Ona"), account="au")
    assert shelf.claim() == []


def test_a_job_that_joins_another_is_not_claimed(shelf):
    shelf.add(customer("Ona"))
    shelf.add(customer("Ona"))
    assert len(shelf.claim()) == 1
    assert shelf.claim() == []


def test_exactly_the_claimed_calls_are_reserved(shelf):
    policy = shelf.ruled(limits=(Limit.parse("10/second"),))
    shelf.jobs.horizon = timedelta(seconds=10)
    shelf.add(*(customer(f"C{number}") for number in range(3)))
    shelf.claim(policy=policy)
    assert shelf.slots == [0, 0.1, 0.2]
    assert shelf.row(Budget, name="kyc").next_at == shelf.clock() + timedelta(milliseconds=300)


def test_without_a_due_job_nothing_is_reserved(shelf):
    shelf.claim(policy=shelf.ruled(limits=(Limit.parse("10/second"),)))
    assert shelf.row(Budget, name="kyc").next_at is None


def test_two_accounts_that_share_a_budget_share_its_slots(shelf):
    limits = (Limit.parse("10/second"),)
    kyc = shelf.ruled(limits=limits)
    shelf.jobs.horizon = timedelta(seconds=10)
    kyb = replace(kyc, account="kyb")
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Firma"), account="kyb")
    shelf.claim(policy=kyb)
    assert shelf.slots == [0]
    shelf.claim(policy=kyc)
    assert shelf.slots == [0.1, 0.2]


def test_with_no_slot_within_the_horizon_nothing_is_claimed_and_the_result_has_the_time_of_the_next_claim(shelf):
    policy = shelf.ruled(limits=(Limit.parse("1/second"),))
    shelf.add(customer("Ona"), customer("Jonas"))
    assert ids(shelf.claim(policy=policy)) == ["Ona"]
    claimed = shelf.jobs.claim(policy, most=10, now=shelf.clock())
    again_at = shelf.clock() + timedelta(seconds=1) - shelf.jobs.horizon / 3
    assert (claimed.jobs, claimed.again_at) == ([], again_at)
    assert shelf.job("Jonas").fence == 0


def test_a_paused_account_claims_nothing_until_the_pause_is_over(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    until = shelf.clock() + timedelta(seconds=30)
    shelf.set(Budget, Budget.name == "kyc", blocked_until=until, pauses=1)
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.again_at) == ([], until)
    shelf.clock.now = until
    assert ids(shelf.claim()) == ["Ona"]  # one call goes first
    assert shelf.claim() == []


def test_a_stopped_account_claims_nothing_and_its_rows_wait(shelf):
    shelf.add(customer("Ona"))
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock(), stop_reason="HTTP 401")
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.again_at) == ([], None)
    assert shelf.job("Ona").state is JobState.WAITING


def test_nothing_is_claimed_while_a_person_has_stopped_everything(shelf):
    shelf.add(customer("Ona"))
    stops = EmergencyStops(shelf.database)
    stops.stop(by="ada", reason="", now=shelf.clock())
    assert shelf.claim() == []
    stops.go_on(now=shelf.clock())
    assert ids(shelf.claim()) == ["Ona"]


def test_an_account_without_a_budget_row_is_not_an_account_without_limits(shelf):
    policy = replace(shelf.policy, rule=replace(shelf.policy.rule, name="never made"))
    shelf.add(customer("Ona"))
    with pytest.raises(LookupError, match="never made"):
        shelf.claim(policy=policy)
    assert shelf.job("Ona").state is JobState.WAITING


def test_a_released_job_is_due_as_before_and_nothing_is_counted(shelf):
    shelf.add(customer("Ona"))
    before = shelf.job("Ona")
    jobs = shelf.claim()
    shelf.clock.advance(seconds=1)
    shelf.jobs.release(shelf.policy, jobs, now=shelf.clock())
    after = shelf.job("Ona")
    assert (after.state, after.due_at, after.lease_until) == (JobState.WAITING, before.due_at, None)
    assert (after.attempts, after.waits) == (0, 0)
    assert ids(shelf.claim()) == ["Ona"]


def test_a_job_that_was_claimed_again_cannot_be_released(shelf):
    shelf.add(customer("Ona"))
    lost = shelf.claim()
    shelf.clock.advance(minutes=2)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())
    (theirs,) = shelf.claim()
    shelf.jobs.release(shelf.policy, lost, now=shelf.clock())
    row = shelf.job("Ona")
    assert (row.state, row.fence) == (JobState.WORKING, theirs.fence)


def together(*works):
    """Run all functions at the same moment, each in a thread of its own. Returns their results."""
    barrier = threading.Barrier(len(works))

    def begin(work):
        barrier.wait(ENDS_WITHIN)
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result(ENDS_WITHIN) for future in [threads.submit(begin, work) for work in works]]


def all_claims(jobs: JobSteps, policy, most, now):
    found = []
    while (claimed := jobs.claim(policy, most=most, now=now)).jobs:
        found.append(claimed)
    return found


def test_workers_that_claim_at_once_never_lease_the_same_job(shelf):
    add_lines(
        shelf.batches,
        shelf.batch(),
        [line(row, customer(f"C{row}")) for row in range(2, 122)],
        priority=BATCH,
        now=shelf.clock(),
    )
    workers = [JobSteps(shelf.database, shelf.keyring) for _ in range(4)]
    found = together(*(lambda jobs=jobs: all_claims(jobs, shelf.policy, 7, shelf.clock()) for jobs in workers))
    everything = [job.id for claims in found for claimed in claims for job in claimed.jobs]
    assert len(everything) == len(set(everything)) == 120
    assert {row.fence for row in shelf.rows(Job)} == {1}


def test_workers_that_reserve_at_once_keep_the_limit_together(shelf):
    policy = shelf.ruled(limits=(Limit.parse("100/second"),))
    shelf.add(*(customer(f"C{number}") for number in range(80)))
    workers = [JobSteps(shelf.database, shelf.keyring) for _ in range(4)]
    for jobs in workers:
        jobs.horizon = timedelta(seconds=0.5)
    found = together(*(lambda jobs=jobs: all_claims(jobs, policy, 3, shelf.clock()) for jobs in workers))
    slots = sorted(slot for claims in found for claimed in claims for slot in claimed.slots)
    assert len(slots) == 51  # the slots of half a second, with its first and its last moment
    assert all(later - earlier == timedelta(milliseconds=10) for earlier, later in some(pairwise(slots)))


def test_only_one_worker_sends_the_call_that_goes_first_after_a_pause(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(20)))
    shelf.set(Budget, Budget.name == "kyc", pauses=3, blocked_until=shelf.clock())
    workers = [JobSteps(shelf.database, shelf.keyring) for _ in range(4)]
    found = together(*(lambda jobs=jobs: jobs.claim(shelf.policy, most=5, now=shelf.clock()).jobs for jobs in workers))
    assert sorted(len(part) for part in found) == [0, 0, 0, 1]


def test_workers_that_apply_lessons_at_once_lose_none(shelf):
    rule = replace(shelf.policy.rule, credits=1000)
    shelf.set(Budget, Budget.name == "kyc", credits_used=100)

    def learn():
        with shelf.database.write() as connection:
            call_outcomes = [call_outcome(shelf.clock(), Kind.BAD_INPUT)] * 5
            budgets.apply_outcomes(connection, rule, call_outcomes, now=shelf.clock())

    together(*[learn] * 4)
    assert shelf.row(Budget, name="kyc").credits_used == 80


def test_workers_that_open_at_once_never_open_more_than_the_credits(shelf):
    capped = shelf.ruled(credits=7)
    shelf.add(*(customer(f"C{number}") for number in range(20)))
    bulk = [shelf.claim(most=5) for _ in range(4)]
    opened = together(*(lambda jobs=jobs: shelf.open(jobs, policy=capped) for jobs in bulk))
    assert sum(len(part) for part in opened) == len(shelf.rows(Attempt)) == 7


def test_workers_that_start_at_once_make_each_budget_once(shelf):
    names = ["kyb", "au", "nz", "sender/voice"]
    together(*(lambda: shelf.budgets.ensure(names) for _ in range(4)))
    assert {row.name for row in shelf.rows(Budget)} == {*names, "kyc", *(f"sender/{channel}" for channel in CHANNELS)}


@pytest.mark.parametrize(
    ("hours", "asked_again_in"), [(1, timedelta(hours=1)), (2, timedelta(seconds=1)), (3, timedelta(seconds=1))]
)
def test_a_row_whose_details_wait_is_looked_at_at_their_time_and_then_each_second(shelf, hours, asked_again_in):
    shelf.add(customer("Ona"))
    shelf.set(Job, state=JobState.LAPSED, due_at=None)
    plan = Plan(start_at=shelf.clock() + timedelta(hours=2))
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=shelf.clock(), plan=plan)
    choices = KnownChoices(rule=KnownRule.REFRESH)
    add_lines(shelf.batches, batch.id, [line(2, customer("Ona"))], priority=BATCH, now=shelf.clock(), choices=choices)
    shelf.clock.advance(hours=hours)
    shelf.set(Job, Job.batch_id == batch.id, due_at=shelf.clock())
    assert shelf.claim() == []
    row = shelf.job("Ona", batch_id=batch.id)
    assert (row.due_at, row.reason) == (shelf.clock() + asked_again_in, "planned")


def test_a_customer_whose_details_were_erased_is_not_called_for(shelf):
    shelf.add(customer("Ona"))
    shelf.set(CustomerRow, encrypted=None)
    assert shelf.claim() == []
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.FAILED, "erased")
