"""A pilot: exactly its rows get sessions before the verdict, which is taken once. Then the rest goes, or waits for a
person."""

from datetime import timedelta
from functools import partial

import pytest

from onboarding_worker.core.database.tables import Audit, Batch, BatchPlan, InvitationRow, Job
from onboarding_worker.core.model.states import BATCH, JobState
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.plans.store.pilots import Pilots
from onboarding_worker.plans.store.plans import Plan, PlanRefused, bring_forward
from tests.stored.shelf import add_lines, customer, line
from tests.stored.statements import statements

CONDITION = "finished >= 50% and failed <= 3% within 4 hours"


@pytest.fixture
def pilots(database) -> Pilots:
    return Pilots(database)


@pytest.fixture
def listed(shelf):
    """Imports a list with a plan: its name, its customers and the plan."""

    def make(count=10, *, name="list.csv", first="2", condition=CONDITION, prefix="C", **plan) -> int:
        wanted = Plan(first=first, condition=condition, **plan)
        batch, _ = shelf.batches.open(name=name, digest=name, again=False, now=shelf.clock(), plan=wanted)
        lines = [line(row, customer(f"{prefix}{row:02}")) for row in range(2, count + 2)]
        add_lines(shelf.batches, batch.id, lines, priority=BATCH, now=shelf.clock())
        all_added(shelf.batches, batch.id, now=shelf.clock())
        return batch.id

    return make


def called(shelf) -> list[str]:
    """The customers for whom sessions are asked for now; each gets one."""
    return [job.customer.customer_id for job in shelf.issue()]


def end(shelf, *customers, state=JobState.COMPLETED) -> None:
    for one in customers:
        shelf.set(Job, Job.customer_id == one, state=state, due_at=None, result="approved")


def audited(shelf) -> list[str]:
    return [row.reason for row in shelf.rows(Audit) if row.action == "pilot"]


def test_only_the_first_rows_get_sessions_before_the_verdict_and_all_others_after_it(shelf, pilots, listed, clock):
    batch = listed(10, first="2", condition="finished >= 50% within 4 hours")
    assert called(shelf) == []
    assert pilots.step(now=clock()) == {}
    assert called(shelf) == ["C02", "C03"]
    shelf.send()
    clock.advance(hours=1)
    assert pilots.step(now=clock()) == {}
    assert called(shelf) == []

    end(shelf, "C02")
    clock.advance(seconds=5)
    verdict = pilots.step(now=clock())[batch]
    assert verdict.met
    assert called(shelf) == [f"C{row:02}" for row in range(4, 12)]
    assert pilots.step(now=clock() + timedelta(hours=5)) == {}
    assert audited(shelf) == ["the pilot has 2 of 10 rows, up to row 3", verdict.why]
    assert shelf.row(BatchPlan).numbers == "of 2: 2 sent, 1 finished, 1 approved"


def test_a_pilot_that_does_not_pass_pauses_its_batch_with_the_numbers_until_a_person_resumes(
    shelf, pilots, listed, clock, decide: Decisions
):
    batch = listed(10, first="20%")
    pilots.step(now=clock())
    called(shelf)
    shelf.send()
    clock.advance(hours=1)
    pilots.step(now=clock())  # it sees that the pilot is out
    clock.advance(hours=4)
    verdict = pilots.step(now=clock())[batch]
    assert not verdict.met
    decide.finish_pauses(now=clock())

    paused = shelf.row(Batch)
    assert paused.pause_cause == "itself"
    assert paused.pause_reason.startswith(
        "the pilot of 2 customers did not pass: finished 0 (0.0 %), wanted finished >= 50%"
    )
    clock.advance(hours=24)
    assert pilots.step(now=clock()) == {}
    assert called(shelf) == []

    assert decide.resume(batch, now=clock()).rows >= 8
    assert len(called(shelf)) == 8
    assert shelf.row(BatchPlan).verdict == "person"


def test_a_customer_whose_invitation_left_counts_as_sent_whatever_becomes_of_the_row(shelf, pilots, listed, clock):
    batch = listed(10, first="2", condition="sent >= 100% and failed <= 50% within 4 hours")
    pilots.step(now=clock())
    called(shelf)
    shelf.send()
    clock.advance(hours=1)
    pilots.step(now=clock())
    end(shelf, "C02", state=JobState.FAILED)
    clock.advance(hours=4)
    assert pilots.step(now=clock())[batch].why == "the pilot of 2 customers passed: sent 2 (100.0 %), failed 1 (50.0 %)"


def test_a_broken_upper_bound_stops_the_pilot_itself_at_once(shelf, pilots, listed, clock, decide):
    batch = listed(10, first="5", condition="failed <= 1 within 4 hours")
    pilots.step(now=clock())
    end(shelf, "C02", "C03", state=JobState.FAILED)
    clock.advance(seconds=5)

    assert not pilots.step(now=clock())[batch].met
    decide.finish_pauses(now=clock())
    assert called(shelf) == []


def test_a_pause_and_a_resume_by_a_person_release_nothing_before_the_verdict(shelf, pilots, listed, clock, decide):
    batch = listed(10, first="2")
    assert decide.pause(batch, by="ada", now=clock()).rows == 10
    pilots.step(now=clock())
    assert called(shelf) == []
    assert decide.resume(batch, now=clock()).rows == 10
    assert called(shelf) == ["C02", "C03"]
    shelf.send()
    decide.pause(batch, by="ada", now=clock())
    clock.advance(hours=9)
    assert pilots.step(now=clock()) == {}  # its customers may have had no chance meanwhile
    decide.resume(batch, now=clock())
    assert called(shelf) == []
    end(shelf, "C02", "C03")
    clock.advance(seconds=5)
    assert pilots.step(now=clock())[batch].met
    assert len(called(shelf)) == 8


@pytest.mark.both_databases
def test_no_verdict_is_waited_for_while_the_batch_is_paused(shelf, pilots, listed, clock, decide):
    batch = listed(10)
    assert pilots.verdict_by(batch, now=clock()) is not None
    decide.pause(batch, by="ada", now=clock())
    assert pilots.verdict_by(batch, now=clock()) is None


def test_a_batch_that_is_paused_when_its_rest_is_released_stays_paused(shelf, pilots, listed, clock, decide):
    batch = listed(10, first="2", condition="finished >= 1 within 4 hours")
    pilots.step(now=clock())
    called(shelf)
    shelf.send()
    end(shelf, "C02")
    clock.advance(seconds=5)
    with_verdict = pilots.step(now=clock())
    assert with_verdict[batch].met
    decide.pause(batch, by="ada", now=clock())
    shelf.set(Job, Job.row > 3, priority=BATCH + 200)  # as if the release had been cut off
    shelf.set(BatchPlan, check_at=clock())
    pilots.step(now=clock())
    assert called(shelf) == []
    decide.resume(batch, now=clock())
    assert len(called(shelf)) == 8


def test_a_release_that_was_cut_off_is_finished_by_the_next_step(shelf, pilots, listed, clock, monkeypatch):
    monkeypatch.setattr("onboarding_worker.plans.store.pilots.CHUNK", 3)
    batch = listed(10, first="5", condition="finished >= 1 within 4 hours")
    steps = iter(range(2))
    original = Pilots._release_chunk

    def dies(self, *args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(Pilots, "_release_chunk", dies)
    with pytest.raises(KeyboardInterrupt):
        pilots.step(now=clock())
    monkeypatch.setattr(Pilots, "_release_chunk", original)
    pilots.step(now=clock())
    assert len(called(shelf)) == 5
    assert shelf.row(BatchPlan).batch_id == batch


def test_rows_that_need_no_session_are_no_customers_of_the_pilot(shelf, pilots, listed, clock):
    """A customer whom another list serves, and one who has finished, are before the pilot's last row and not in it."""
    shelf.add(customer("C02"), customer("C03"), batch=shelf.batch("other.csv"))
    end(shelf, "C03")
    listed(10, first="3")
    pilots.step(now=clock())

    assert called(shelf) == ["C02", "C04", "C05", "C06"]  # the first of them for the other list
    assert shelf.row(BatchPlan).last_row == 6
    clock.advance(hours=9)
    assert pilots.numbers(shelf.batches.plan(shelf.batches.find("latest"))).size == 3


def test_a_customer_of_the_rest_who_comes_in_another_list_is_served_for_that_list(shelf, pilots, listed, clock):
    batch = listed(10, first="2")
    pilots.step(now=clock())
    called(shelf)

    other = shelf.add(customer("C09"))
    assert called(shelf) == ["C09"]
    assert shelf.job("C09", batch_id=other).state == "issued"
    assert shelf.job("C09", batch_id=batch).leader_id == shelf.job("C09", batch_id=other).id


def test_without_a_condition_the_batch_waits_for_a_person_once_the_pilot_is_out(shelf, pilots, listed, clock):
    batch = listed(10, first="2", condition="")
    pilots.step(now=clock())
    called(shelf)
    shelf.send()
    clock.advance(seconds=5)
    verdict = pilots.step(now=clock())[batch]
    assert verdict.why == "the pilot of 2 customers has left; 2 sent"


def test_a_list_keeps_the_plan_that_it_was_imported_with(shelf, listed, clock):
    batch = listed(3, first="2")
    again = {"name": "list.csv", "digest": "list.csv", "again": False, "now": clock()}
    assert shelf.batches.open(**again)[0].id == batch
    assert shelf.batches.open(**again, plan=Plan("2", CONDITION))[0].id == batch
    with pytest.raises(PlanRefused, match="the first 2, the rest if finished"):
        shelf.batches.open(**again, plan=Plan("3", CONDITION))


def test_an_import_that_was_cut_off_calls_for_nobody(shelf, pilots, clock):
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=clock(), plan=Plan("2"))
    add_lines(shelf.batches, batch.id, [line(2, customer("C02"))], priority=BATCH, now=clock())
    pilots.step(now=clock())
    assert called(shelf) == []


def test_no_session_is_asked_for_before_the_planned_start(shelf, pilots, listed, clock):
    listed(2, first="", condition="", start_at=clock() + timedelta(hours=3))
    shelf.set(Job, due_at=clock())  # as after a retry or a resume
    assert shelf.flush().opened == []
    assert {row.reason for row in shelf.rows(Job)} == {"planned"}
    clock.advance(hours=3)
    assert len(called(shelf)) == 2


@pytest.mark.both_databases
def test_a_start_is_brought_forward_with_the_pace_of_its_rows(shelf, listed, clock):
    batch = listed(3, first="", condition="", start_at=clock() + timedelta(hours=3), per_hour=60)
    other = listed(1, name="other.csv", prefix="D", first="", condition="", start_at=clock() + timedelta(hours=3))
    before = [row.due_at for row in shelf.rows(Job, batch_id=batch)]

    sooner = clock() + timedelta(hours=1)

    assert bring_forward(shelf.database, batch, sooner, now=clock()) == sooner

    assert [row.due_at for row in shelf.rows(Job, batch_id=batch)] == [at - timedelta(hours=2) for at in before]
    assert called(shelf) == []
    clock.advance(hours=1)
    assert called(shelf) == ["C02"]
    assert shelf.row(Job, batch_id=other).due_at == clock() + timedelta(hours=2)


def test_a_start_is_not_moved_back_nor_made(shelf, listed, clock):
    start = clock() + timedelta(hours=3)
    soon, none = listed(1, first="", condition="", start_at=start), listed(1, name="none", prefix="D")
    by = listed(1, name="by", prefix="E", first="", condition="", start_at=start, deadline=start + timedelta(hours=3))
    for batch, at, why in (
        (soon, start + timedelta(minutes=1), "give an earlier time"),
        (none, clock(), "without --start-at"),
        (by, clock(), "a time of its own"),
    ):
        with pytest.raises(PlanRefused, match=why):
            bring_forward(shelf.database, batch, at, now=clock())
    assert {row.start_at for row in shelf.rows(BatchPlan)} == {start, None}


def test_the_pace_holds_after_a_pause_when_all_rows_are_due_at_once(shelf, listed, clock):
    listed(100, first="", condition="", per_hour=30)
    times = sorted(row.due_at for row in shelf.rows(Job))
    assert timedelta(minutes=190) < times[-1] - times[0] < timedelta(hours=4)
    clock.advance(hours=24)
    hour = 0
    for _ in range(60):
        hour += len(shelf.flush().opened)
        clock.advance(minutes=1)
    assert 28 <= hour <= 30


def locks_the_budget_first(shelf, flush) -> list:
    """What a claim of one row of a planned batch opens."""
    with statements(shelf.database) as made:
        flushed = flush(most=1)
    locks = [statement for statement in made if "FOR UPDATE" in statement and "SKIP LOCKED" not in statement]
    assert "FROM budget" in locks[0]
    assert any("FROM batch_plan" in statement for statement in locks[1:])
    return list(flushed.opened)


@pytest.mark.postgresql_alone
def test_the_budget_is_locked_before_the_plan_so_that_no_two_workers_wait_for_each_other(shelf, listed, clock):
    """The first claim locks the budget for its permits, and a later one for its slots."""
    listed(3, first="", condition="", per_hour=3000)
    clock.advance(hours=1)
    opened = [*locks_the_budget_first(shelf, shelf.flush), *locks_the_budget_first(shelf, shelf.flush)]
    shelf.finish(*map(shelf.got, opened))
    assert len(locks_the_budget_first(shelf, shelf.flush_messages)) == 1


@pytest.mark.both_databases
def test_messages_keep_the_pace_too_when_their_sessions_are_all_there(shelf, listed, clock):
    """As after an outage of the mail server: the links are there, and all messages are due."""
    listed(100, first="", condition="", per_hour=30)
    shelf.set(BatchPlan, per_hour=None)
    clock.advance(hours=5)
    assert len(called(shelf)) == 100
    shelf.set(BatchPlan, per_hour=30)
    clock.advance(hours=2)

    left = 0
    for _ in range(60):
        left += len(shelf.send())
        clock.advance(minutes=1)
    assert 28 <= left <= 30
    assert {row.reason for row in shelf.rows(InvitationRow, state="waiting")} == {"planned"}


@pytest.mark.both_databases
def test_a_pilot_that_cannot_be_judged_waits_for_a_person_and_holds_up_no_other(shelf, pilots, listed, clock, decide):
    broken = listed(4, name="broken.csv", prefix="B")
    well = listed(4, name="well.csv", first="1", condition="finished >= 50% within 4 hours")
    shelf.set(BatchPlan, BatchPlan.batch_id == broken, condition="what a newer release understands")

    verdicts = pilots.step(now=clock())
    decide.finish_pauses(now=clock())

    assert [(batch, verdict.met) for batch, verdict in verdicts.items()] == [(broken, False)]
    (paused,) = shelf.rows(Batch, id=broken)
    why = "the pilot cannot be judged (BadCondition)"
    assert (paused.pause_cause, paused.pause_reason) == ("itself", why)
    assert called(shelf) == ["C02"]
    shelf.send()
    end(shelf, "C02")
    clock.advance(hours=5)
    assert pilots.step(now=clock())[well].met
    assert called(shelf) == ["C03", "C04", "C05"]
    decide.resume(broken, now=clock())
    assert sorted(called(shelf)) == ["B02", "B03", "B04", "B05"]


def test_a_pilot_that_cannot_be_judged_leaves_a_batch_that_a_person_paused_to_that_person(
    shelf, pilots, listed, clock, decide
):
    batch = listed(4, name="broken.csv", prefix="B")
    shelf.set(BatchPlan, condition="what a newer release understands")
    decide.pause(batch, by="ona", why="wrong list", now=clock())

    assert pilots.step(now=clock()) == {}
    (paused,) = shelf.rows(Batch)
    assert paused.pause_cause == "person"
    assert "ona" in paused.pause_reason
    assert "wrong list" in paused.pause_reason

    decide.resume(batch, now=clock())
    assert called(shelf) == ["B02", "B03"]  # the pilot alone: the person did not know that it cannot be judged
    clock.advance(minutes=1)
    assert [verdict.met for verdict in pilots.step(now=clock()).values()] == [False]
    assert shelf.row(Batch).pause_cause == "itself"


def test_a_pilot_that_cannot_be_judged_does_not_pause_a_batch_that_was_cancelled(shelf, pilots, listed, clock, decide):
    batch = listed(4, name="broken.csv", prefix="B")
    shelf.set(BatchPlan, condition="what a newer release understands")
    decide.cancel(batch, now=clock())

    assert pilots.step(now=clock()) == {}
    assert (shelf.row(Batch).pause_cause, shelf.row(BatchPlan).check_at) == ("", None)


@pytest.mark.postgresql_alone
def test_the_plan_is_locked_before_the_batch_so_that_import_and_verdict_do_not_wait_for_each_other(
    shelf, pilots, listed, clock
):
    batch = listed(4)
    pilots.step(now=clock())
    for step in (pilots.step, partial(all_added, shelf.batches, batch)):
        clock.advance(minutes=1)
        with statements(shelf.database) as made:
            step(now=clock())
        tables = [table for one in made for table in ("batch_plan", "batch") if _locks(one, table)]
        assert tables.index("batch_plan") < tables.index("batch")


def _locks(statement: str, table: str) -> bool:
    words = statement.split()
    return words[:2] == ["UPDATE", table] or ("FOR" in words and f"FROM {table} " in " ".join(words))
