"""A list with a deadline: rows whose hours end first go first, and `check` names those that cannot be sent in time."""

from datetime import timedelta

import pytest

from onboarding_worker.cli.lists.found_rows import InTime
from onboarding_worker.core.database.tables import BatchPlan, Job
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.importing.judging import judge_all
from onboarding_worker.lists.importing.list_import import ImportChoices, import_list
from onboarding_worker.lists.listing import open_list
from onboarding_worker.plans.store.plans import Plan, PlanRefused
from tests.lists.importing.test_list_import import GOOD, HEADER, OPTIONS

QUIET = 'quiet_hours = { email = "21:00-08:00" }'
LONDON = [f"L-{number},l{number}@example.org,Europe/London\n" for number in range(4)]
DHAKA = [f"D-{number},d{number}@example.org,Asia/Dhaka\n" for number in range(4)]


def listed(tmp_path, rows):
    file = tmp_path / "list.csv"
    file.write_text("customer_id,email,timezone\n" + "".join(rows))
    return file


def bring_in(world, file, deadline, **how):
    parts, choices = world.parts, ImportChoices(plan=Plan(deadline=deadline, **how))
    return import_list(parts.intake, parts.batches, file, OPTIONS, name=file.name, choices=choices)


async def test_rows_go_first_whose_hours_end_first_and_all_are_sent_in_time(make, tmp_path):
    world = make(templates=QUIET, limits=["2/hour"])
    begins = world.clock()  # noon in London, six in the evening in Dhaka, where the night begins after three hours
    deadline = begins + timedelta(hours=5)
    bring_in(world, listed(tmp_path, LONDON + DHAKA), deadline)
    times = {row.customer_id: row.due_at - begins for row in world.rows(Job)}
    assert max(times[f"D-{number}"] for number in range(4)) < min(times[f"L-{number}"] for number in range(4))
    assert max(times.values()) < timedelta(hours=4)

    for _ in range(5 * 4):
        await world.work()
        world.clock.advance(minutes=15)
    assert sorted(world.asked[:4]) == ["D-0", "D-1", "D-2", "D-3"]
    assert len(world.senders["email"].messages) == 8


@pytest.mark.both_databases
async def test_the_forecast_knows_when_the_last_row_of_the_plan_goes(make, tmp_path):
    world = make(templates=QUIET, limits=["2/hour"])
    world.clock.advance(hours=5)  # the night has begun in Dhaka
    begins = world.clock()
    bring_in(world, listed(tmp_path, LONDON[:2] + DHAKA), begins + timedelta(hours=30))
    (batch,) = world.parts.batches.all()
    last = max(row.due_at for row in world.rows(Job))
    assert last > begins + timedelta(hours=10)
    forecast = world.parts.reporting.status(batch)["forecast"]
    assert forecast == {"finishes_at": written(last), "limited_by": "its plan for the deadline", "assumed": False}

    while world.clock() < last:
        await world.work()
        assert len(world.asked) < 6
        world.clock.advance(seconds=900)
    await world.work()
    assert len(world.asked) == 6


async def test_accounts_that_no_row_of_the_list_goes_to_take_no_part_of_its_pace(make, tmp_path):
    world = make(limits=["2/second"])  # of two accounts, and all rows go to the first
    begins = world.clock()
    bring_in(world, listed(tmp_path, LONDON), begins + timedelta(hours=1), per_hour=4)
    assert [(row.due_at - begins) / timedelta(minutes=15) for row in world.rows(Job)] == [0, 1, 2, 3]


async def test_the_forecast_is_the_pace_where_that_has_fallen_behind_the_plan_for_the_deadline(make, tmp_path):
    world = make(limits=["2/second"])
    begins = world.clock()
    bring_in(world, listed(tmp_path, LONDON), begins + timedelta(hours=5), per_hour=2)
    (batch,) = world.parts.batches.all()
    last = max(row.due_at for row in world.rows(Job))
    assert last > begins
    world.clock.advance(seconds=(last - begins).total_seconds() - 60)  # nobody has worked meanwhile
    forecast = world.parts.reporting.status(batch)["forecast"]
    assert forecast["limited_by"] == "its pace of 2 first invitations an hour"
    assert forecast["finishes_at"] >= written(world.clock() + timedelta(minutes=90))


async def test_a_list_whose_import_was_cut_off_keeps_its_plan_and_the_plan_is_named(make, tmp_path):
    world = make(templates=QUIET, limits=["2/hour"])
    file, deadline = listed(tmp_path, LONDON + DHAKA), world.clock() + timedelta(hours=5)
    plan = Plan(deadline=deadline)
    batch, _ = world.parts.batches.open(
        name="list.csv", digest=content_digest(file), again=False, now=world.clock(), plan=plan
    )
    import_list(world.parts.intake, world.parts.batches, file, OPTIONS, name=file.name)
    assert world.rows(BatchPlan)[0].deadline == deadline
    assert len({row.due_at for row in world.rows(Job)}) == 8
    assert world.parts.batches.plan(batch).plan.in_words.startswith("by 2026-11-20T")


async def test_the_rows_that_cannot_be_sent_in_time_are_named_before_the_start(make, tmp_path):
    world = make(templates=QUIET, limits=["2/hour"])

    def late(hours, rows=LONDON + DHAKA):
        found = InTime(world.parts.intake, world.clock() + timedelta(hours=hours))
        reading = open_list(listed(tmp_path, rows), OPTIONS)
        for line in judge_all(world.parts.intake, world.parts.batches, reading):
            found.add(line)
        return [row for row, _ in found.late()]

    assert late(5) == []
    assert late(3) == [4, 5]  # six calls fit: the rows that are left out are the last ones of their hours
    assert late(12, DHAKA * 0 + [f"D-{number},d{number}@example.org,Asia/Dhaka\n" for number in range(8)]) == [8, 9]
    assert late(-1) == list(range(2, 10))


async def test_a_deadline_that_is_over_makes_no_batch_and_does_not_stop_a_list_that_has_begun(make, tmp_path):
    world = make()
    file, deadline = listed(tmp_path, LONDON), world.clock() + timedelta(hours=5)
    bring_in(world, file, deadline)
    world.clock.advance(hours=6)
    assert not bring_in(world, file, deadline).new

    with pytest.raises(PlanRefused, match=r"--deadline 2026-11-20T.* is over"):
        bring_in(world, listed(tmp_path, DHAKA), deadline)
    assert len(world.parts.batches.all()) == 1


async def test_a_list_without_a_deadline_is_in_its_own_order(make, tmp_path):
    world = make()
    file = tmp_path / "list.csv"
    file.write_text(HEADER + GOOD)
    import_list(world.parts.intake, world.parts.batches, file, OPTIONS, name=file.name)
    assert {row.due_at for row in world.rows(Job)} == {world.clock()}
