"""A call whose job a verdict ended, and whose worker died: looked up once, recorded, and nothing is sent for it."""

from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeHttp
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Attempt, Budget, CustomerRow, Job, SessionRow
from onboarding_worker.core.model.states import LATE, JobState
from onboarding_worker.core.rows.verdicts import Verdict
from onboarding_worker.reporting.report_lines import Columns, line_values
from onboarding_worker.wiring.sweep import Sweep
from onboarding_worker.wiring.work import issue_work
from tests.simulated.world import FAILED, LIMITED, customer

WAIT = timedelta(seconds=60 + 10 + 5)  # the lease, the call's own time-out, and the margin
ONE = Room(1, 1)
ORPHAN = FakeHttp.listing(("session-1", "EXPIRED"), ("scan-paid", "ACTIVE"))
OLD_ONE = FakeHttp.listing(("session-1", "EXPIRED"))


@pytest.fixture
def bereft(make):
    """Makes a world in which Ona's first session ran out, her second was asked for, the verdict about the first came,
    and the worker died: with these answers to look-ups."""

    async def prepare(*listings, lists=True, state=JobState.COMPLETED, **settings):
        found = iter(listings)

        def answer(request):
            return next(found) if request.method == "GET" else world.session()

        world = make(answer, **settings)
        batch = world.add(customer("Ona"))
        await world.work()
        world.set(SessionRow, state="expired", check_at=None)
        world.set(Job, state=JobState.WAITING, due_at=world.clock(), unknown_attempt=None)
        world.provider.lists = lists
        work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
        assert work.flush([], ONE).opened  # the call is made, and then the worker died
        world.set(Job, state=state, due_at=None, result="approved")
        world.batch = batch
        return world

    return prepare


def call_of(world):
    return [row for row in world.attempts() if row.reconciles is None][-1]


def line_of(world):
    (line,) = world.parts.facts.lines(world.batch)
    return line_values(line, Columns(world.clock()))


async def days(world, *, times=20):
    for _ in range(times):
        world.clock.advance(hours=6)
        await world.work()


async def test_a_session_that_the_call_opened_is_found_once_and_named_and_nothing_is_sent(bereft):
    world = await bereft(ORPHAN)
    used, sent = world.budget().credits_used, world.message()
    world.clock.advance(seconds=61)
    await world.work()
    assert world.reconciled == []  # the call may still be on its way
    world.clock.advance(seconds=(WAIT - timedelta(seconds=60)).total_seconds())
    await world.work()
    await days(world)
    assert world.reconciled == ["customer_id=Ona&page=1"]
    call, row = call_of(world), world.job("Ona")
    assert (call.outcome, call.found) == (LATE, "scan-paid")
    assert (row.state, row.result, row.lease_until) == (JobState.COMPLETED, "approved", None)
    assert line_of(world)["error"].endswith(f"the provider has also opened scan-paid; {Verdict.NOT_SIGNED.doubt}")
    status = world.parts.reporting.status(world.parts.batches.find(str(world.batch)))
    assert (status["accounts"]["kyc"]["late"], status["accounts"]["kyc"]["requests"]) == (1, 3)
    assert (world.budget().credits_used, world.message()) == (used, sent)
    assert len(world.rows(SessionRow)) == 1
    assert len(world.asked) == 1


async def test_a_call_that_opened_nothing_refunds_its_credit_and_leaves_nothing_unknown(bereft):
    world = await bereft(OLD_ONE)
    used = world.budget().credits_used
    world.clock.advance(seconds=90)
    await world.work()
    await days(world)
    assert len(world.reconciled) == 1
    assert world.budget().credits_used == used - 1
    row = world.job("Ona")
    assert (row.state, row.unknown_attempt, row.lease_until) == (JobState.COMPLETED, None, None)
    assert line_of(world)["error"] == Verdict.NOT_SIGNED.doubt  # `bereft` brought the result without a webhook


@pytest.mark.both_databases
async def test_a_failed_job_is_looked_up_too_and_stays_failed(bereft):
    world = await bereft(ORPHAN, state=JobState.FAILED)
    await days(world, times=2)
    assert (world.job("Ona").state, call_of(world).found) == (JobState.FAILED, "scan-paid")


async def test_where_the_provider_has_no_list_it_stays_unknown_and_nothing_is_asked(bereft):
    world = await bereft(lists=False)
    await days(world, times=3)
    row = world.job("Ona")
    assert world.reconciled == []
    assert (row.unknown_attempt, row.lease_until) == (call_of(world).id, None)
    assert call_of(world).outcome == "unknown"


async def test_every_page_of_the_list_is_read(bereft):
    world = await bereft(
        FakeHttp.listing(("session-1", "EXPIRED"), more=True), FakeHttp.listing(("scan-paid", "ACTIVE"))
    )
    await days(world, times=2)
    assert world.reconciled == ["customer_id=Ona&page=1", "customer_id=Ona&page=2"]
    assert call_of(world).found == "scan-paid"


async def test_being_told_to_wait_is_no_answer(bereft):
    world = await bereft(LIMITED, ORPHAN)
    await days(world, times=2)
    assert (len(world.reconciled), call_of(world).found) == (2, "scan-paid")


async def test_a_look_up_that_fails_is_not_made_again(bereft):
    world = await bereft(FAILED)
    await days(world)
    assert len(world.reconciled) == 1
    assert (world.job("Ona").lease_until, call_of(world).outcome) == (None, "unknown")


async def test_it_keeps_to_the_budget(bereft):
    world = await bereft(ORPHAN)
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 402")
    await days(world, times=3)
    assert world.reconciled == []
    world.parts.budgets.resume("kyc")
    await days(world, times=1)
    assert call_of(world).found == "scan-paid"


async def test_a_look_up_whose_worker_dies_is_made_again(bereft):
    world = await bereft(ORPHAN)
    world.clock.advance(seconds=61)
    Sweep(world.parts).end_leases()
    world.clock.advance(seconds=30)
    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    assert work.flush([], ONE).opened  # and then it died
    await days(world, times=2)
    assert (len(world.reconciled), world.job("Ona").lease_until) == (1, None)
    assert call_of(world).found == "scan-paid"


async def test_a_customer_who_was_erased_is_not_asked_about(bereft):
    world = await bereft()
    world.set(CustomerRow, encrypted=None)
    await days(world, times=2)
    assert (world.reconciled, world.job("Ona").lease_until) == ([], None)


async def test_the_answer_that_comes_before_the_look_up_counts(bereft):
    world = await bereft(OLD_ONE)
    used = world.budget().credits_used
    world.clock.advance(seconds=61)
    Sweep(world.parts).end_leases()
    world.set(Attempt, Attempt.id == call_of(world).id, outcome=LATE, found="scan-own")
    await days(world, times=2)
    assert (call_of(world).found, world.budget().credits_used) == ("scan-own", used)
