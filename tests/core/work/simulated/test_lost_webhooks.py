"""The provider is asked what became of a session: before it is replaced or its job lapses, and in a review each day."""

from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeHttp
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Attempt, Budget, Job, SessionRow
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import JobState
from onboarding_worker.providers.contract import HttpAnswer
from onboarding_worker.wiring.work import issue_work
from tests.simulated.world import FAILED, LIMITED, customer
from tests.stored.erased import erased

OVER = timedelta(days=7, minutes=16)


@pytest.fixture
async def invited(make):
    """Makes a worker whose ten customers were invited, and whose look-ups are answered so: then with this status."""

    async def prepare(status="EXPIRED", listings=(), **settings):
        found = iter(listings)

        def answer(request):
            if request.method != "GET":
                return world.session()
            name = request.url.partition("customer_id=")[2].partition("&")[0]
            first = request.url.endswith("&page=1")  # the others are empty
            references = [row.reference for row in world.rows(SessionRow, customer_id=name) if first]
            return next(found, None) or FakeHttp.listing(*((reference, world.status) for reference in references))

        world = make(answer, **settings)
        world.provider.lists, world.status = True, status
        world.add_many(10)
        await world.work()
        assert world.states() == {"invited": 10}
        return world

    return prepare


async def let_end(world):
    world.clock.advance(seconds=OVER.total_seconds())
    await let_settle(world)


async def let_settle(world):
    for _ in range(4):
        await world.work()
        world.clock.advance(seconds=2)


@pytest.mark.parametrize("most", [2, 0])
async def test_customers_who_finished_and_whose_webhooks_were_lost_are_neither_asked_again_nor_lapsed(invited, most):
    world = await invited("APPROVED")
    world.parts.settings = world.parts.settings.model_copy(
        update={"follow_up": world.parts.settings.follow_up.model_copy(update={"most": most})}
    )
    await let_end(world)
    assert (len(world.asked), len(world.reconciled)) == (10, 10)
    assert world.states() == {"completed": 10}
    assert {row.result for row in world.rows(Job)} == {"approved"}


async def test_a_customer_in_review_is_waited_for(invited):
    world = await invited("REVIEWING")
    await let_end(world)
    assert world.states() == {"invited": 10}
    await let_settle(world)
    assert (len(world.asked), len(world.reconciled)) == (10, 10)


async def test_during_a_review_the_provider_is_asked_each_day_until_it_has_decided(invited):
    world = await invited("REVIEWING")
    await let_end(world)
    asked_at = max(row.asked_at for row in world.rows(SessionRow))  # of the last flush that wrote answers
    assert {row.check_at for row in world.rows(SessionRow)} == {asked_at + timedelta(days=1)}
    for questions in (20, 30):
        world.clock.advance(days=1)
        await let_settle(world)
        assert (world.states(), len(world.reconciled)) == ({"invited": 10}, questions)
    world.status = "APPROVED"
    world.clock.advance(days=1)
    await let_settle(world)
    assert (world.states(), len(world.asked), len(world.reconciled)) == ({"completed": 10}, 10, 40)
    assert world.budget().credits_used == 10


async def test_a_customer_who_was_erased_in_review_and_came_back_is_asked_about(invited):
    world = await invited("REVIEWING")
    world.set(SessionRow, result="review", check_at=world.clock() + timedelta(days=1))
    for number in range(10):
        erased(world.parts.database, world.parts.keyring, f"C{number:03}", now=world.clock())
    world.clock.advance(days=2)
    await let_settle(world)
    assert {row.check_at for row in world.rows(SessionRow)} == {None}
    world.add_many(10, allow_erased=True)
    await let_settle(world)
    assert (world.states(), len(world.asked)) == ({"cancelled": 10, "invited": 10}, 10)
    await let_end(world)
    assert (len(world.asked), len(world.reconciled)) == (10, 10)


async def test_a_stopped_account_is_asked_about_its_reviews_when_it_works_again(invited):
    world = await invited("REVIEWING")
    await let_end(world)
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    world.clock.advance(days=2)
    await let_settle(world)
    assert (world.states(), len(world.reconciled)) == ({"invited": 10}, 10)
    world.set(Budget, Budget.name == "kyc", stopped_at=None, stop_reason="")
    world.clock.advance(hours=1)
    await let_settle(world)
    assert len(world.reconciled) == 20


@pytest.mark.both_databases
async def test_customers_who_did_not_finish_get_a_new_session_after_one_question_each(invited):
    world = await invited("EXPIRED")
    await let_end(world)
    assert (len(world.asked), len(world.reconciled)) == (20, 10)
    assert world.states() == {"invited": 10}
    assert not any(row.needs_status_check for row in world.rows(Job))
    questions = [row for row in world.attempts() if row.reconciles is not None]
    assert {row.reconciles == row.id for row in questions} == {True}
    facts = world.parts.facts.counts(world.job("C000").batch_id).accounts["kyc"]
    assert (facts.requests, facts.issued, facts.errors) == (30, 20, 0)


async def test_a_question_costs_no_credit_and_waits_for_a_rate_limited_account(invited):
    world = await invited("APPROVED", [LIMITED], more="credits = 11")
    await let_end(world)
    assert world.budget().credits_used == 10
    world.clock.advance(minutes=5)
    await world.work()
    assert world.states() == {"completed": 10}


async def test_an_account_that_is_stopped_at_its_cap_is_asked(invited):
    world = await invited("APPROVED", more="credits = 10")
    world.add_many(1, "D")
    await world.work()
    assert world.budget().stop_reason == "the cap of 10 credits is used up"
    await let_end(world)
    assert (world.states(), len(world.reconciled)) == ({"completed": 10, "waiting": 1}, 10)
    assert (len(world.asked), world.budget().stop_reason) == (10, "the cap of 10 credits is used up")


@pytest.mark.parametrize("answer", [FAILED, HttpAnswer(404, {})])
async def test_without_an_answer_the_customers_are_asked_again_as_where_no_list_is_documented(invited, answer):
    world = await invited("APPROVED", [answer] * 30)
    for _ in range(3):
        await let_end(world)
    assert len(world.asked) >= 20
    assert set(world.states()) <= {"invited", "completed", "lapsed"}


async def test_a_stopped_account_is_not_asked(invited):
    world = await invited("APPROVED")
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    world.clock.advance(seconds=OVER.total_seconds())
    await world.work()
    assert world.reconciled == []
    assert {row.reason for row in world.rows(Job)} == {"session_expired"}


@pytest.mark.both_databases
async def test_a_session_that_lives_longer_than_a_guessed_end_is_replaced_only_when_the_provider_calls_it_over(invited):
    world = await invited("ACTIVE")
    world.set(SessionRow, expiry_source=ExpirySource.FALLBACK)
    await let_end(world)
    for _ in range(4):
        world.clock.advance(hours=7)
        await let_settle(world)
    assert (len(world.asked), world.states()) == (10, {"invited": 10})
    world.status = "EXPIRED"
    world.clock.advance(hours=7)
    await let_settle(world)
    assert (len(world.asked), world.states()) == (20, {"invited": 10})


async def test_a_guessed_end_is_put_off_for_as_long_as_any_session_lives_and_no_longer(invited):
    world = await invited("ACTIVE")
    world.set(SessionRow, expiry_source=ExpirySource.FALLBACK)
    await let_end(world)
    world.clock.advance(days=30)
    await let_settle(world)
    assert len(world.asked) == 20


async def test_while_the_provider_cannot_be_asked_a_session_with_a_guessed_end_is_not_replaced(invited):
    world = await invited("EXPIRED")
    world.set(SessionRow, expiry_source=ExpirySource.FALLBACK)
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    world.clock.advance(seconds=OVER.total_seconds())
    await let_settle(world)
    assert world.states() == {"invited": 10}
    world.set(Budget, Budget.name == "kyc", stopped_at=None, stop_reason="")
    world.clock.advance(hours=1)
    await let_settle(world)
    assert (len(world.asked), len(world.reconciled)) == (20, 10)


async def test_a_worker_that_died_while_asking_leaves_the_question_to_the_next(make):
    world = make(
        lambda request: FakeHttp.listing(("session-1", "APPROVED")) if request.method == "GET" else world.session()
    )
    world.provider.lists = True
    world.add(customer("Ona"))
    await world.work()
    world.clock.advance(seconds=OVER.total_seconds())
    world.look_after()
    job = world.job("Ona")
    assert (job.state, job.reason, job.needs_status_check) == (JobState.WAITING, "status_check", True)
    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    assert work.flush([], Room(10, 10)).opened  # and then it died
    world.clock.advance(seconds=61)
    for _ in range(3):
        await world.work()
        world.clock.advance(seconds=2)
    assert world.states() == {"completed": 1}
    assert len(world.asked) == 1
    assert [row.outcome for row in world.rows(Attempt) if row.reconciles] == ["unanswered", "done"]
