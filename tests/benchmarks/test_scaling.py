"""The model of many workers: its parts, its short way through a long list, and what was measured."""

import argparse
import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from benchmarks import scale
from benchmarks.processes import Failed
from benchmarks.scaling.cell import Cell, World, enough, simulate
from benchmarks.scaling.costs import US, Costs
from benchmarks.scaling.machines import Cores, LockedRow, Log, OneCore
from benchmarks.scaling.verdict import first_bottleneck
from tests.simulated.virtual_time import VirtualLoop
from worker.domain.limits.rate_limits import Limit


def in_virtual_time(story):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story(loop))
    finally:
        loop.close()


# Its parts.


def test_two_jobs_on_one_core_take_twice_as_long_and_on_two_cores_do_not():
    async def story(loop):
        ends = []
        for count in (1, 2):
            cores, began = Cores(count), loop.time()
            await asyncio.gather(cores.work(1), cores.work(1))
            ends.append(loop.time() - began)
            assert cores.busy == pytest.approx(2)
        return ends

    assert in_virtual_time(story) == pytest.approx([2, 1])


def test_a_short_job_leaves_its_core_to_the_long_one():
    async def story(loop):
        cores, ends = Cores(1), []

        async def job(seconds):
            await cores.work(seconds)
            ends.append(loop.time())

        await asyncio.gather(job(1), job(3))
        return ends

    assert in_virtual_time(story) == pytest.approx([2, 4])


def test_the_work_of_one_process_is_done_in_turn():
    async def story(loop):
        core = OneCore()
        first, second = core.work(1), core.work(1)
        await asyncio.sleep(1)
        return first, second, core.work(1), core.busy

    assert in_virtual_time(story) == pytest.approx((1, 2, 2, 3))


def test_transactions_that_commit_during_an_fsync_share_the_next_one():
    async def story(loop):
        log = Log(1)
        await asyncio.gather(log.commit(), log.commit(), log.commit())
        return loop.time(), log.busy

    assert in_virtual_time(story) == pytest.approx((2, 2))


def test_a_row_is_locked_in_turn_and_each_wait_is_kept():
    async def story(loop):
        row = LockedRow()

        async def transaction():
            await row.lock()
            await asyncio.sleep(1)
            row.release()

        await asyncio.gather(transaction(), transaction(), transaction())
        return row.waits, row.held

    waits, held = in_virtual_time(story)
    assert waits == pytest.approx([0, 1, 2])
    assert held == pytest.approx(3)


# The short way through a long list.


# Each customer and each worker that looks for a slot costs processor time: few of them are enough, where a database
# far away holds the budget's row as long as many would, and where few calls in flight keep the pace down.
FAR = replace(Costs(), round_trip=1_000 * US, fsync=2_500 * US)


@pytest.mark.parametrize(
    "cell",
    [
        Cell(1, Limit.parse("200/second"), rows=5_000),
        Cell(6, Limit.parse("100/second"), rows=1_900, costs=FAR),  # the budget's row is in use most of the time
        Cell(1, rows=40_000, concurrency=20, latency=0.01),
    ],
    ids=lambda cell: f"{cell.workers} workers, {cell.limit or 'no limit'}",
)
def test_a_list_that_is_cut_short_has_the_figures_of_the_whole_list(cell):
    cut, whole = simulate(cell), simulate(cell, whole=True)

    assert cut["played"] < whole["played"] - 1  # the test shows something
    assert cut["seconds"] == pytest.approx(whole["seconds"], rel=0.015)
    assert cut["rate"] == pytest.approx(whole["rate"], rel=0.015)
    assert cut["rows_written"] == pytest.approx(whole["rows_written"], rel=0.03)
    assert cut["transactions"] == pytest.approx(whole["transactions"], rel=0.1)
    assert cut["worker_cores"] == pytest.approx(whole["worker_cores"], rel=0.1)
    assert cut["database_cores"] == pytest.approx(whole["database_cores"], rel=0.1)
    assert cut["held"] == pytest.approx(whole["held"], rel=0.1)


def test_a_seed_always_gives_the_same_figures_and_another_seed_others():
    cell = Cell(4, Limit.parse("200/second"), rows=1_600)
    figures = simulate(cell)

    assert simulate(cell) == figures
    assert simulate(replace(cell, seed=8)) != figures


def test_a_list_that_is_over_before_it_can_be_measured_is_no_figure():
    with pytest.raises(Failed, match="too short"):
        simulate(Cell(1, rows=100))


# What it shows.


def test_calls_in_flight_bound_the_pace_where_the_limit_does_not():
    figures = simulate(Cell(4, Limit.parse("1000/second"), rows=100_000, concurrency=50, latency=0.1))

    assert figures["rate"] == pytest.approx(500, rel=0.02)
    assert first_bottleneck(figures, cores=16) == "concurrency"


def test_a_worker_without_a_limit_uses_up_its_core():
    figures = simulate(Cell(1, rows=60_000), whole=True)  # one stretch: until several are the same takes longer

    assert first_bottleneck(figures, cores=16) == "worker cores"


def test_workers_that_find_no_slot_lock_the_budgets_row_all_the_same():
    few, many = (simulate(Cell(count, Limit.parse("20/second"), rows=2_000)) for count in (2, 20))

    assert few["rate"] == pytest.approx(many["rate"], rel=0.03)
    assert many["transactions"] > 4 * few["transactions"]
    assert many["held"] > 3 * few["held"]


def test_accounts_with_a_budget_each_share_the_rows_and_the_limit():
    cell = Cell(4, Limit.parse("200/second"), rows=4_001, budgets=2)

    figures = simulate(cell)

    assert figures["seconds"] == pytest.approx(20, rel=0.06)
    assert figures["rate"] == pytest.approx(200, rel=0.03)


@pytest.mark.parametrize(
    ("workers", "measured", "off"),
    [(1, 1_020, 0.05), (2, 1_064, 0.06), (4, 1_205, 0.17)],  # PostgreSQL's own counters, see docs/inside/benchmarks.md
)
def test_the_model_writes_nearly_as_many_rows_as_were_measured_at_200_a_second(workers, measured, off):
    here = replace(Costs(), round_trip=40 * US, fsync=190 * US)
    cell = Cell(workers, Limit.parse("200/second"), rows=20_000, concurrency=50, latency=0.08, cores=1, costs=here)

    figures = simulate(cell)

    assert figures["rows_written"] == pytest.approx(measured, rel=off)
    assert figures["used"] > 0.98


def test_enough_calls_in_flight_are_twice_those_of_the_limit_and_a_thousand_a_worker_at_most():
    assert enough(4, 1000.0, 0.1) == 200
    assert enough(4, 10.0, 0.1) == 50
    assert enough(4, 100_000.0, 0.1) == 4_000
    assert enough(4, None, 0.1) == 4_000


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"used": 0.99, "held": 1.0}, "the limit"),
        ({"held": 0.95}, "budget row"),
        ({"worker_cores": 3.9}, "worker cores"),
        ({"database_cores": 15.0}, "database cores"),
        ({"log": 0.9}, "fsync"),
        ({"in_flight": 0.97}, "concurrency"),
        ({"held": 0.5}, "budget row?"),
    ],
)
def test_the_first_bottleneck_is_what_is_used_up(changed, first):
    idle = {"used": 0.5, "held": 0.1, "workers": 4, "worker_cores": 0.1, "database_cores": 0.1}
    assert first_bottleneck(idle | {"log": 0.1, "in_flight": 0.1} | changed, cores=16) == first


# The command.


def test_a_cost_is_changed_by_its_name_and_another_name_is_refused():
    costs = scale.with_costs(Costs(), ["fsync=190", "claim.worker_row=11.5"])

    assert (costs.fsync, costs.claim.worker_row) == (pytest.approx(190 * US), pytest.approx(11.5 * US))
    assert costs.claim.worker == Costs().claim.worker
    for wrong in ("disk=1", "claim=1", "claim.trips=1", "fsync.worker=1"):
        with pytest.raises(ValueError, match="there is no cost"):
            scale.with_costs(Costs(), [wrong])


def test_the_tables_hold_each_cell_and_what_is_turned():
    parser = argparse.ArgumentParser()
    scale.options(parser)
    given = ["--rows", "4000", "--workers", "1,2", "--limits", "200/second", "--no-turns", "--processes", "1"]

    facts = scale.run(parser.parse_args(given))
    facts["turned"] = [facts["cells"][0] | {"title": "nothing"}]
    text = scale.table(facts)

    assert "| 200/second | 2 | 20 s | 200 | 100% |" in text or "| 200/second | 2 | 21 s | 200 | 100% |" in text
    assert "| 200/second | nothing |" in text
    assert timedelta(seconds=facts["cells"][0]["seconds"]) > timedelta(seconds=19)


def test_rows_whose_call_was_not_made_are_due_again():
    async def story(loop):
        account = World(Cell(1, rows=10), loop).accounts[0]
        account.due = 0
        account.release(3)
        account.stored(7)
        return account.due, account.left

    assert in_virtual_time(story) == (3, 3)
