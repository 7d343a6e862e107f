"""Calls whose answers were lost: reconciled when nothing can arrive any more, repeated only if nothing is found."""

import itertools
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeHttp, FakeSender
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.states import DONE, InvitationState, JobState
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.providers.contract import Broken, HttpAnswer
from onboarding_worker.senders.contract import Receipt
from onboarding_worker.wiring.work import invite_work, issue_work
from tests.simulated.world import FAILED, LIMITED, REFUSED, customer

DROPPED = Broken(sent=True, detail="connection closed without an answer")
# The lease, the call's own time-out, and the margin.
WAIT = timedelta(seconds=60 + 10 + 5)
CONFLICT = HttpAnswer(409, {})
HOLD = 'on_orphan = "hold"'  # what else becomes of a session whose token is lost: test_orphans.py


@pytest.fixture
def played(make):
    """Makes a worker with these answers to its calls (then sessions) and to its look-ups (then empty lists)."""

    def prepare(calls=(), listings=(), **settings):
        answers, found = iter(calls), iter(listings)

        def answer(request):
            if request.method == "GET":
                return next(found, None) or world.http.listing()
            return next(answers, None) or world.session()

        world = make(answer, **settings)
        world.provider.lists = True
        return world

    return prepare


async def wait_and_work(world, **step):
    world.clock.advance(**(step or {"seconds": WAIT.total_seconds()}))
    await world.work()


async def test_a_lost_answer_is_not_reconciled_before_a_call_that_leaves_late_must_have_ended(played):
    world = played([DROPPED])
    world.add(customer("Ona"))
    began_at = world.clock()
    await world.work()
    row = world.job("Ona")
    assert (row.state, row.reason, row.attempts) == (JobState.WAITING, "unknown", 1)
    assert row.due_at == began_at + WAIT  # the lease begins with the claim
    assert row.unknown_attempt == world.row(Attempt).id

    world.clock.advance(seconds=(row.due_at - world.clock()).total_seconds() - 0.5)
    await world.tick()
    assert (world.asked, world.reconciled) == (["Ona"], [])
    await wait_and_work(world, seconds=1)
    assert world.reconciled == ["customer_id=Ona&page=1"]


async def test_if_nothing_is_found_the_call_is_repeated_and_there_is_one_session(played):
    world = played([DROPPED])
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    row = world.job("Ona")
    assert (row.state, row.unknown_attempt, row.attempts) == (JobState.INVITED, None, 2)
    assert world.asked == ["Ona", "Ona"]
    assert len(world.rows(SessionRow)) == 1


async def test_a_look_up_too_is_not_made_if_its_turn_is_over_when_its_connection_is_there(played):
    world = played([DROPPED])
    world.add(customer("Ona"))
    await world.work()
    world.clock.advance(seconds=WAIT.total_seconds())
    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    (opened,) = work.flush([], Room(1, 1)).opened
    await work.call(opened, world.clock(), lambda _waited: False)
    assert world.reconciled == []
    await work.call(opened, world.clock(), lambda _waited: True)
    assert len(world.reconciled) == 1


async def test_a_session_whose_token_is_lost_holds_the_row_and_is_named(played):
    world = played([DROPPED], [FakeHttp.listing(("scan-lost", "ACTIVE"))], more=HOLD)
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    row = world.job("Ona")
    assert (row.state, row.reason, row.due_at) == (JobState.HELD, "unknown", None)
    assert "scan-lost (ACTIVE)" in row.detail
    assert world.asked == ["Ona"]
    call, look_up = sorted(world.rows(Attempt), key=lambda attempt: attempt.opened_at)
    assert (look_up.reconciles, look_up.outcome, look_up.found) == (call.id, DONE, "scan-lost")
    await wait_and_work(world, days=1)
    assert len(world.http.requests) == 2


async def test_a_session_of_another_job_of_the_customer_proves_nothing_about_the_call(played):
    calls = [None, DROPPED]
    world = played(calls, [FakeHttp.listing(("session-1", "EXPIRED"))])
    world.add(customer("Ona"))
    await world.work()
    world.set(Job, state=JobState.COMPLETED)
    await wait_and_work(world, days=8)
    world.add(customer("Ona", purpose="renewal"))
    await world.work()
    await wait_and_work(world)
    assert world.states() == {"completed": 1, "invited": 1}
    assert world.asked == ["Ona", "Ona", "Ona"]


async def test_a_look_up_keeps_to_the_budget_and_costs_no_credit(played):
    world = played([DROPPED, *[None] * 9, DROPPED], limits=["2/second"], more="credits = 11")
    world.add_many(10)
    await world.work()
    while world.states().get("waiting"):
        await wait_and_work(world, seconds=30)
    assert world.states() == {"invited": 10}
    assert world.budget().credits_used == 10  # the credit of the call that was not made is refunded
    assert len(world.reconciled) == 2
    times = [row.opened_at for row in world.attempts()]
    assert len(times) == 14


async def test_a_credit_that_was_not_spent_comes_back_to_an_account_that_is_stopped_at_its_cap(played):
    world = played([DROPPED], more="credits = 1")
    world.add_many(2)
    await world.work()
    stopped = "the cap of 1 credit is used up"
    assert (world.states(), world.asked, world.budget().stop_reason) == ({"waiting": 2}, ["C000"], stopped)
    await wait_and_work(world)
    assert (world.states(), len(world.asked), len(world.reconciled)) == ({"invited": 1, "waiting": 1}, 2, 1)
    assert (world.budget().credits_used, world.budget().stop_reason) == (1, stopped)


async def test_a_call_that_is_lost_repeatedly_is_not_tried_for_ever(played):
    world = played(itertools.repeat(DROPPED))
    world.add(customer("Ona"))
    await world.work()
    for _ in range(10):
        await wait_and_work(world)
    row = world.job("Ona")
    assert (row.state, row.reason, row.attempts, row.unknown_attempt) == (JobState.FAILED, "attempts_spent", 8, None)
    assert len(world.asked) == 8


async def test_a_look_up_that_fails_is_repeated_and_the_call_is_not(played):
    world = played([DROPPED], [FAILED, DROPPED, LIMITED])
    world.add(customer("Ona"))
    await world.work()
    for _ in range(5):
        await wait_and_work(world)
    assert world.states() == {"invited": 1}
    assert (len(world.asked), len(world.reconciled)) == (2, 4)
    assert (world.job("Ona").attempts, world.job("Ona").waits) == (2, 1)


async def test_a_look_up_that_never_works_leaves_the_row_to_a_person(played):
    world = played([DROPPED], itertools.repeat(FAILED))
    world.add(customer("Ona"))
    await world.work()
    for _ in range(12):
        await wait_and_work(world, minutes=15)
    row = world.job("Ona")
    assert (row.state, row.reason, row.unknown_attempt is None) == (JobState.HELD, "unknown", False)
    assert "cannot be reconciled" in row.detail
    assert (len(world.asked), len(world.reconciled)) == (1, 8)


async def test_refused_credentials_stop_the_account_and_the_outcome_stays_unknown(played):
    world = played([DROPPED], [REFUSED])
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    assert world.budget().stopped_at is not None
    assert (world.job("Ona").state, world.job("Ona").unknown_attempt is None) == (JobState.WAITING, False)
    world.parts.resume()
    await wait_and_work(world)
    assert world.states() == {"invited": 1}
    assert world.reconciled == ["customer_id=Ona&page=1"] * 2


async def test_more_pages_are_read_one_call_of_the_budget_each(played):
    first, second = FakeHttp.listing(more=True), FakeHttp.listing(("scan-lost", "ACTIVE"))
    world = played([DROPPED], [first, second], more=HOLD)
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    assert world.reconciled == ["customer_id=Ona&page=1", "customer_id=Ona&page=2"]
    assert world.job("Ona").state is JobState.HELD
    assert sorted(row.outcome for row in world.attempts()) == ["done", "more", "unknown"]


async def test_a_conflict_is_reconciled_at_once_and_retried_while_only_known_sessions_are_found(played):
    world = played([CONFLICT, CONFLICT])
    world.add(customer("Ona"))
    await world.work()
    for _ in range(3):
        await wait_and_work(world, seconds=5)
    assert world.states() == {"invited": 1}
    assert (len(world.asked), len(world.reconciled)) == (3, 2)


async def test_a_conflict_with_an_unmatched_session_is_held_and_names_it(played):
    world = played([CONFLICT], [FakeHttp.listing(("scan-theirs", "ACTIVE"))], more=HOLD)
    world.add(customer("Ona"))
    await world.work()
    row = world.job("Ona")
    assert (row.state, row.reason) == (JobState.HELD, "conflict")
    assert "scan-theirs (ACTIVE)" in row.detail


@pytest.mark.parametrize("on_unknown", ["hold", "reconcile"])
async def test_a_call_that_may_not_or_cannot_be_reconciled_is_held(played, on_unknown):
    world = played([DROPPED], on_unknown=on_unknown, more=HOLD)
    world.provider.lists = on_unknown == "hold"
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    assert world.states() == {"held": 1}
    assert world.reconciled == []


@pytest.mark.both_databases
async def test_rows_without_an_unknown_outcome_are_called_in_parallel_to_a_reconciliation(played):
    world = played([DROPPED], [FakeHttp.listing(("scan-lost", "ACTIVE"))], more=HOLD)
    world.add(customer("Ona"))
    await world.work()
    world.clock.advance(seconds=WAIT.total_seconds())
    world.add_many(30)
    await world.work()
    assert world.states() == {"held": 1, "invited": 30}
    facts = world.parts.facts.counts(world.job("Ona").batch_id).accounts["kyc"]
    assert (facts.requests, facts.issued, facts.errors) == (2, 0, 1)


async def test_a_worker_that_died_while_reconciling_leaves_the_row_to_be_reconciled_again(played):
    world = played([DROPPED])
    world.add(customer("Ona"))
    await world.work()
    world.clock.advance(seconds=WAIT.total_seconds())
    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    assert work.flush([], Room(10, 10)).opened  # and then it died
    await wait_and_work(world, seconds=61)
    await wait_and_work(world, seconds=2)
    assert world.states() == {"invited": 1}
    assert (world.job("Ona").attempts, len(world.reconciled)) == (2, 1)


# Texts.


def texting(*answers, found):
    return {"email": FakeSender(), "sms": FakeSender(answers, hold_unknown=True, found=found)}


LOST_TEXT = Problem(Kind.UNKNOWN, "Twilio: connection closed without an answer")
SMS = '[sms]\naccount = "AC1"\ntoken = { env = "SECRET" }\nfrom = "+15005550006"'


@pytest.mark.parametrize(
    ("found", "state", "handed_over"),
    [
        (Receipt("SM1"), InvitationState.SENT, 1),
        (Nothing(), InvitationState.SENT, 2),
        (Unmatched(("SM2",), "a text without its words: SM2"), InvitationState.HELD, 1),
        (Problem(Kind.BAD_INPUT, "not allowed"), InvitationState.HELD, 1),
    ],
)
async def test_a_text_whose_answer_was_lost_is_reconciled(make, found, state, handed_over):
    senders = texting(LOST_TEXT, found=[found])
    world = make(senders=senders, templates=SMS)
    world.add(customer("Ona", channel=Channel.SMS))
    await world.work()
    message = world.message()
    attempt = world.row(Attempt, invitation_id=message.id)
    assert (message.state, message.due_at, message.unknown_attempt) == (
        InvitationState.WAITING,
        attempt.reconcile_at,
        attempt.id,
    )
    assert timedelta(seconds=70) < message.due_at - world.clock() <= WAIT
    assert world.job("Ona").state is JobState.ISSUED
    await wait_and_work(world)
    assert world.message().state is state
    sms = senders["sms"]
    assert len(sms.messages) + len(sms.refused) == handed_over
    assert sms.asked == ["https://verify.test/token-00000001"]
    assert world.job("Ona").state is (JobState.INVITED if state is InvitationState.SENT else JobState.HELD)


async def test_the_look_up_of_a_text_is_counted_under_its_limit(make):
    """The calls behind it keep their distance from the moment at which it asks."""
    senders, asked = texting(LOST_TEXT, found=[Nothing()]), []
    world = make(senders=senders, templates=SMS)
    world.add(customer("Ona", channel=Channel.SMS))
    await world.work()
    world.clock.advance(seconds=WAIT.total_seconds())
    work = invite_work(world.parts, "sms")
    (opened,) = work.flush([], Room(1, 1)).opened
    await work.call(opened, world.clock(), lambda _waited: not asked.append(len(senders["sms"].asked)))
    assert (asked, len(senders["sms"].asked)) == ([0], 1)


async def test_a_text_with_an_unknown_outcome_is_reconciled_though_its_link_has_become_too_old(make):
    senders = texting(LOST_TEXT, found=[Receipt("SM1")])
    world = make(senders=senders, templates=SMS)
    world.add(customer("Ona", channel=Channel.SMS))
    await world.work()
    world.set(InvitationRow, due_at=world.clock() + timedelta(days=6, hours=18))
    await wait_and_work(world, days=6, hours=18)
    assert world.message().state is InvitationState.SENT
    assert len(world.rows(SessionRow)) == 1


@pytest.mark.both_databases
@pytest.mark.parametrize("comes", ["before", "after"])
async def test_another_lists_row_waits_for_the_look_up_of_a_cancelled_lists_call_and_goes_on_by_itself(played, comes):
    world = played([DROPPED])
    first = world.add(customer("Ona"))
    await world.work()
    second = world.add(customer("Ona")) if comes == "before" else None
    Decisions(world.parts.database).cancel(first, now=world.clock())
    second = second or world.add(customer("Ona"))
    row = world.row(Job, batch_id=second)
    assert (row.state, row.reason) == (JobState.HELD, "unknown")
    await wait_and_work(world)
    await world.work()
    assert (len(world.reconciled), len(world.asked)) == (1, 2)
    assert world.row(Job, batch_id=second).state is JobState.INVITED


async def test_it_stays_held_if_the_look_up_finds_a_session_whose_token_is_lost(played):
    world = played([DROPPED], [FakeHttp.listing(("scan-lost", "ACTIVE"))])
    first = world.add(customer("Ona"))
    await world.work()
    Decisions(world.parts.database).cancel(first, now=world.clock())
    second = world.add(customer("Ona"))
    await wait_and_work(world)
    await world.work()
    assert (len(world.reconciled), len(world.asked)) == (1, 1)
    assert world.row(Job, batch_id=second).state is JobState.HELD
