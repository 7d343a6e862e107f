"""A link that is born too old to be sent stops its account after one call; only a link that aged is replaced."""

import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import Flushed
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.budgets import PROBE_PATIENCE
from onboarding_worker.wiring.work import issue_work
from tests.simulated.world import customer

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_an_answer_with_less_life_than_the_floor_costs_one_call_whatever_was_asked_for(make):
    world = make(first_links=True)
    batch = world.add_many(30)
    world.provider.gives = timedelta(minutes=5)
    await world.work()
    assert len(world.asked) == 1
    held = world.row(Job, state=JobState.HELD)
    assert (held.reason, held.session_id) == ("short_lived", world.row(SessionRow).id)
    assert world.budget().stop_reason == "the links live 5 minutes, and must leave with 12 hours or more"
    assert world.rows(InvitationRow) == []
    facts = world.parts.reporting.status(world.parts.batches.find(str(batch)))
    assert (facts["accounts"]["kyc"]["issued"], facts["accounts"]["kyc"]["errors"]) == (1, 0)

    world.parts.resume()  # as the next run does
    await world.work()
    assert len(world.asked) == 1

    world.provider.gives = None
    world.parts.budgets.resume("kyc", by_person_at=world.clock())
    await world.work()
    assert world.states() == {"held": 1, "invited": 29}


async def test_until_a_link_has_lived_long_enough_calls_go_one_by_one_and_then_side_by_side(make):
    in_flight = []

    def answer(_request):
        in_flight.append(world.http.in_flight)
        return world.session()

    world = make(answer, first_links=True, concurrency=5)
    world.add_many(20)
    await world.issue()
    assert world.states() == {"issued": 20}
    assert (in_flight[0], max(in_flight)) == (1, 5)


def flushes_at_once(work, flush):
    """The rooms with which two flushes of the dispatcher reach the store, both before one of them ends."""
    rooms, both = [], threading.Barrier(2)

    def meets(_policy, _results, room, **_how):
        rooms.append(room)
        both.wait(timeout=10)
        return flush()

    work = replace(work, rows=SimpleNamespace(flush=meets, database_time=None))
    flush_tasks = [threading.Thread(target=work.flush, args=([], room)) for room in (Room(0, 20), Room(50, 50))]
    for task in flush_tasks:
        task.start()
    for task in flush_tasks:
        task.join()
    return rooms


async def test_two_flushes_at_once_try_one_link(make):
    world = make(first_links=True)
    work = issue_work(world.parts, "kyc", None, wake_invite=lambda *_: None)
    for _ in range(2):  # the first two found nothing
        one, other = flushes_at_once(work, Flushed)
        assert (one is None) != (other is None)
        tries = one or other
        assert (tries.rows, tries.events) == (0 if one else 1, 1)
        assert (one or other).events == 1


async def test_only_a_flush_that_has_to_wait_for_the_first_link_says_when_it_asks_again(make):
    world = make(first_links=True)
    world.add_many(2)
    work = issue_work(world.parts, "kyc", None, wake_invite=lambda *_: None)
    flushed = [work.flush([], room) for room in (Room(50, 50), Room(50, 50), None)]
    assert [len(one.opened) for one in flushed] == [1, 0, 0]
    soon = world.clock() + PROBE_PATIENCE
    assert [one.again_at == soon for one in flushed] == [False, True, False]


async def test_a_claim_that_failed_leaves_the_try_to_the_next_one(make):
    rooms = []

    def fails(_policy, _results, room, **_how):
        rooms.append(room)
        raise ArithmeticError

    work = issue_work(make(first_links=True).parts, "kyc", None, wake_invite=lambda *_: None)
    work = replace(work, rows=SimpleNamespace(flush=fails, database_time=None))
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            work.flush([], Room(50, 50))
    assert None not in rooms


async def test_a_row_whose_release_failed_leaves_the_try_to_the_next_one(make):
    def fails(*_, **_how):
        raise ArithmeticError

    world = make(first_links=True)
    world.add_many(2)
    work = issue_work(world.parts, "kyc", None, wake_invite=lambda *_: None)
    (first,) = work.flush([], Room(50, 50)).opened
    assert work.flush([], Room(50, 50)).opened == ()
    with pytest.raises(ArithmeticError):
        replace(work, rows=SimpleNamespace(release=fails, database_time=None)).release([first])
    (second,) = work.flush([], Room(50, 50)).opened
    assert second.id != first.id


async def test_a_token_that_may_be_an_earlier_one_is_waited_for_and_shows_nothing_of_the_account(make):
    world = make()
    world.provider.may_return_earlier = True
    world.add(customer("Ona"))
    world.provider.gives = timedelta(minutes=10)
    await world.work()
    job = world.job("Ona")
    assert (job.state, job.reason) == (JobState.WAITING, "session_ends_first")
    assert job.due_at == world.row(SessionRow).expires_at
    world.provider.gives = None
    world.clock.advance(minutes=10)
    await world.work()
    assert world.states() == {"invited": 1}


@pytest.mark.parametrize(("one_has_lived", "asked"), [(False, 3), (True, 4)])
async def test_three_tokens_in_a_row_that_may_be_earlier_ones_are_the_accounts_unless_one_has_lived(
    make, one_has_lived, asked
):
    world = make(first_links=not one_has_lived)
    world.provider.may_return_earlier = True
    world.provider.gives = timedelta(minutes=10)
    world.add_many(4)
    await world.work()
    assert (len(world.asked), world.budget().stopped_at is not None) == (asked, not one_has_lived)


async def test_a_token_asked_for_after_the_earlier_ones_end_shows_that_the_account_gives_no_longer_life(make):
    world = make()
    world.provider.may_return_earlier = True
    world.provider.gives = timedelta(minutes=10)
    world.add(customer("Ona"))
    await world.work()
    world.clock.advance(minutes=10)
    await world.work()
    assert (world.job("Ona").state, len(world.asked)) == (JobState.HELD, 2)
    assert world.budget().stopped_at is not None


async def test_a_link_that_aged_in_the_queue_is_replaced_a_spacing_after_it_was_opened(make):
    world = make()
    world.provider.lifetime = 20 * HOUR
    world.provider.reissue_at = lambda _expires_at: world.clock() - DAY
    world.add(customer("Ona"), floor=10 * HOUR)
    await world.issue()
    opened = world.row(SessionRow).issued_at
    world.clock.advance(hours=11)
    await world.invite()
    job = world.job("Ona")
    assert (job.state, job.reason, job.due_at) == (JobState.WAITING, "stale_link", opened + DAY)


@pytest.mark.both_databases
async def test_a_row_that_lapsed_without_a_message_needs_a_person(make):
    world = make()
    world.provider.lifetime = 20 * HOUR
    batch = world.add(customer("Ona"), customer("Rasa"), floor=10 * HOUR)
    await world.issue()
    world.set(Job, state=JobState.LAPSED, reason="reissues_spent")
    world.set(InvitationRow, InvitationRow.job_id == world.job("Ona").id, sent_at=world.clock())
    facts = world.parts.reporting.status(world.parts.batches.find(str(batch)))
    assert facts["lapsed_unsent"] == 1
    assert world.parts.reporting.facts.counts(batch).out == 1
