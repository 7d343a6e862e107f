"""A worker inside a command says once that its database is away, and once that it is back."""

import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from types import SimpleNamespace

import sqlalchemy as sa

from onboarding_worker.runtime.batch_run import UNUSABLE, OneBatch, Stand
from onboarding_worker.runtime.embedded import Embedded
from onboarding_worker.wiring.runner import Runner
from tests.simulated.world import customer

READ_ONLY = sa.exc.OperationalError("UPDATE", None, Exception("cannot execute UPDATE in a read-only transaction"))


def embedded_in(world):
    async def open_runner(parts, *, wake_invite):
        return Runner(parts, world.http, AsyncExitStack(), wake_invite=wake_invite, longest=world.longest)

    return Embedded(world.parts, open_runner=open_runner)


def run_of(world, embedded, batch, **how):
    """A `run` of the batch, which is done when its three rows are out."""
    usual = {"is_done": lambda counts: counts.out == 3, "show": lambda _counts, _waits_for: None}
    return OneBatch(embedded, batch, patience=timedelta(minutes=10), alone=True, **usual | how)


async def test_while_rows_can_be_found_and_not_claimed_it_says_so_once(make, caplog):
    caplog.set_level(logging.INFO, logger="onboarding_worker.runtime.embedded")
    world = make()
    world.add(customer("Ona"))
    flush, away = world.parts.jobs.flush, True

    def flush_or_fail(*arguments, **how):
        if away:
            raise READ_ONLY
        return flush(*arguments, **how)

    world.parts.jobs.flush = flush_or_fail

    async with embedded_in(world) as embedded:
        for number in range(40):
            away = number < 20
            if await embedded.tick():
                embedded.log_back()
            await embedded.rest()
    assert len(caplog.messages) == 2
    assert world.states() == {"invited": 1}


async def test_a_run_forecasts_nothing_while_results_cannot_be_written(make):
    world = make()
    batch = world.add_many(3)
    flush, shown = world.parts.jobs.flush, []

    def flush_or_fail(*arguments, **how):
        if len(shown) < 12:
            raise READ_ONLY
        return flush(*arguments, **how)

    world.parts.jobs.flush = flush_or_fail
    run = run_of(world, embedded_in(world), batch, show=lambda _counts, waits_for: shown.append(waits_for))
    assert await run.work() is Stand.DONE
    assert shown[6:12] == [UNUSABLE] * 6
    assert shown[-1] == ""


async def test_a_run_whose_rows_go_on_says_no_more_that_the_database_cannot_be_used(make):
    world, shown = make(), []
    batch, embedded = world.add_many(3), embedded_in(world)
    for _ in range(2):
        embedded.log_unreachable(READ_ONLY, "a step whose next try has not ended")

    run = run_of(world, embedded, batch, show=lambda _counts, waits_for: shown.append(waits_for))
    assert await run.work() is Stand.DONE
    assert UNUSABLE not in shown


async def test_a_run_that_ends_with_the_first_look_after_an_outage_says_that_it_is_over(make, caplog, monkeypatch):
    world = make()
    batch = world.add(customer("Ona"))
    answers, stored = iter([READ_ONLY]), world.parts.facts

    def counts(batch_id):
        for error in answers:
            raise error
        return stored.counts(batch_id)

    facts = SimpleNamespace(counts=counts)
    monkeypatch.setattr(world.parts, "facts", facts)
    run = run_of(world, embedded_in(world), batch, is_done=lambda _counts: True)
    assert await run.work() is Stand.DONE
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
