"""Sessions whose tokens were lost with their answers: waited for until they have ended, then asked for anew, once."""

from datetime import datetime, timedelta

import pytest

from onboarding_testing.fakes import FakeHttp
from onboarding_worker.core.database.tables import SessionRow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.providers.contract import HttpAnswer
from onboarding_worker.reporting.report_lines import line_values
from onboarding_worker.reporting.steps import step_for
from tests.core.work.simulated.test_reconciling import CONFLICT, DROPPED, WAIT, played, wait_and_work
from tests.simulated.world import customer

__all__ = ["played"]
HOURS = timedelta(hours=6)


def listed(status: str) -> object:
    return FakeHttp.listing(("scan-lost", status))


@pytest.mark.parametrize(("call", "ends"), [(DROPPED, "EXPIRED"), (CONFLICT, "EXPIRED"), (DROPPED, "DELETED")])
async def test_an_orphan_is_looked_at_now_and_then_and_its_customer_asked_anew_after_its_end(played, call, ends):
    world = played([call], [listed("ACTIVE"), listed("ACTIVE"), listed(ends)])
    batch = world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    row = world.job("Ona")
    assert (row.state, row.reason) == (JobState.WAITING, "orphan")
    assert "scan-lost (ACTIVE)" in row.detail
    assert timedelta(0) < row.due_at - world.clock() <= HOURS
    assert len(world.asked) == 1
    for _ in range(2):
        assert world.states() == {"waiting": 1}
        await wait_and_work(world, hours=6)
    assert world.states() == {"invited": 1}
    assert (len(world.asked), len(world.reconciled)) == (2, 3)
    assert len(world.rows(SessionRow)) == 1
    assert world.job("Ona").batch_id == batch


async def test_the_credit_of_an_orphan_that_is_over_is_spent_whatever_page_lists_it(played):
    pages = [FakeHttp.listing(("scan-lost", "EXPIRED"), more=True), FakeHttp.listing()]
    world = played([DROPPED], pages, more="credits = 2")
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    assert (world.states(), len(world.asked), len(world.reconciled)) == ({"invited": 1}, 2, 2)
    assert world.budget().credits_used == 2


async def test_a_status_and_a_report_name_the_next_look_up_of_orphans_and_their_end_at_the_latest(played):
    """Before the look-up the rows wait for it, and not for a session's end."""
    world = played([DROPPED, DROPPED], [listed("ACTIVE"), listed("ACTIVE")])
    batch = world.parts.batches.find(str(world.add(customer("Ona"), customer("Jonas"))))
    called_at = world.clock()
    await world.work()
    status = world.parts.reporting.status(batch)
    assert status["accounts"]["kyc"]["in_doubt"] == 2
    assert "orphans" not in status["accounts"]["kyc"]
    assert status["forecast"]["limited_by"].startswith("2 rows wait for the look-ups of calls whose answers were lost")

    await wait_and_work(world)
    status = world.parts.reporting.status(batch)
    orphans = status["accounts"]["kyc"]["orphans"]
    end = datetime.fromisoformat(status["forecast"]["finishes_at"])
    assert (status["accounts"]["kyc"]["in_doubt"], orphans["rows"]) == (0, 2)
    assert timedelta(days=7) <= end - called_at <= timedelta(days=7, minutes=1)
    assert status["forecast"]["limited_by"] == (
        f"2 sessions whose token was lost: the last has ended by {orphans['ends_by']} at the latest"
    )
    assert orphans["ends_by"] == status["forecast"]["finishes_at"]
    assert datetime.fromisoformat(orphans["look_at"]) - world.clock() <= HOURS
    lines = [line_values(line, world.parts.reporting.columns(batch)) for line in world.parts.facts.lines(batch.id)]
    assert {line["action"] for line in lines} == {step_for(JobState.WAITING, Reason.ORPHAN)}


async def test_a_lost_session_does_not_put_off_the_time_of_the_rest(played):
    world = played([DROPPED, *[HttpAnswer(500, {})] * 9], [listed("ACTIVE")])
    batch = world.add(customer("Ona"), customer("Jonas"))
    await world.work()
    await wait_and_work(world)
    assert (world.job("Ona").reason, world.job("Jonas").state) == ("orphan", JobState.WAITING)
    status = world.parts.reporting.status(world.parts.batches.find(str(batch)))
    ends_by = status["accounts"]["kyc"]["orphans"]["ends_by"]
    assert datetime.fromisoformat(status["forecast"]["finishes_at"]) - world.clock() < HOURS
    assert status["forecast"]["apart"] == [f"1 session whose token was lost: it has ended by {ends_by} at the latest"]


async def test_an_orphan_that_its_list_never_calls_over_is_over_after_the_longest_life(played):
    world = played([DROPPED], [listed("ACTIVE")] * 200)
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world, days=29)
    assert world.states() == {"waiting": 1}
    await wait_and_work(world, days=2)
    assert (world.states(), len(world.asked)) == ({"invited": 1}, 2)


async def test_a_verdict_on_an_orphan_counts(played):
    world = played([DROPPED], [listed("ACTIVE"), listed("APPROVED")])
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    await wait_and_work(world, hours=6)
    row = world.job("Ona")
    assert (row.state, row.result, row.unknown_attempt) == (JobState.COMPLETED, "approved", None)
    assert len(world.asked) == 1


async def test_a_session_with_a_verdict_at_the_first_look_is_not_the_calls(played):
    """Nobody had its token, so nobody can have finished it."""
    world = played([DROPPED], [FakeHttp.listing(("scan-of-last-year", "APPROVED"))])
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)
    assert (world.states(), len(world.asked)) == ({"invited": 1}, 2)


async def test_without_a_list_the_longest_life_of_the_session_is_waited_for(played):
    world = played([DROPPED])
    world.provider.lists = False
    world.add(customer("Ona"))
    began_at = world.clock()
    await world.work()
    row = world.job("Ona")
    assert (row.state, row.due_at) == (JobState.WAITING, began_at + WAIT + timedelta(days=7))
    await wait_and_work(world, days=7)
    assert len(world.asked) == 1
    await wait_and_work(world)
    assert (world.states(), len(world.asked), world.reconciled) == ({"invited": 1}, 2, [])


@pytest.mark.parametrize(("lifetime", "call"), [(None, DROPPED), (timedelta(days=7), CONFLICT)])
async def test_where_its_end_is_not_known_a_person_decides(played, lifetime, call):
    world = played([call])
    world.provider.lists = False
    world.provider.lifetime = lifetime
    world.add(customer("Ona"))
    await world.work()
    assert world.states() == {"held": 1}


async def test_each_call_for_a_customer_has_a_serial_of_its_own(played):
    world = played([DROPPED])
    seen = []
    build = world.provider.build
    world.provider.build = lambda request: (seen.append(request.serial), build(request))[1]
    world.add(customer("Ona"))
    await world.work()
    await wait_and_work(world)  # nothing is found: called again
    await wait_and_work(world, days=7, minutes=16)  # the provider is asked what became of the session
    await wait_and_work(world, seconds=2)  # a new session
    assert list(dict.fromkeys(seen)) == ["", ".2", "-2"]
