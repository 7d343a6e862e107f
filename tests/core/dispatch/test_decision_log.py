"""At DEBUG a dispatcher logs why it does not claim, open or call: once for each reason."""

import asyncio
import logging
from datetime import timedelta

from onboarding_worker.core.dispatch.state import DecisionLog
from onboarding_worker.core.rules.limits import Limit
from tests.simulated.bench import UNREACHABLE

DISPATCHER = "onboarding_worker.core.dispatch.dispatcher"


def reasons(caplog, what):
    start = f"rows: no {what}: "
    return [message.removeprefix(start) for message in caplog.messages if message.startswith(start)]


async def test_a_reason_is_logged_again_only_after_the_thing_was_done_or_the_reason_changed(caplog):
    caplog.set_level(logging.DEBUG)
    decisions = DecisionLog(logging.getLogger(DISPATCHER), "rows")
    for _ in range(3):
        decisions.note("claim", why_not="nothing is due")
    decisions.note("call", why_not="nothing is due")
    decisions.note("claim")
    decisions.note("claim", why_not="nothing is due")
    decisions.note("claim", why_not="the database cannot be used")
    assert reasons(caplog, "claim") == ["nothing is due", "nothing is due", "the database cannot be used"]
    assert reasons(caplog, "call") == ["nothing is due"]


async def test_above_debug_nothing_is_logged(caplog, bench):
    caplog.set_level(logging.INFO)
    await bench.run(bench.rows(30, limit=Limit.parse("20/second")))
    assert not reasons(caplog, "claim")
    assert not reasons(caplog, "call")


async def test_a_dispatcher_that_waits_for_a_slow_call_logs_one_line_and_not_one_in_each_loop(caplog, bench):
    caplog.set_level(logging.DEBUG, logger=DISPATCHER)
    await bench.run(bench.rows(1, latency={0: 8}))
    assert len(reasons(caplog, "claim")) < 4
    assert reasons(caplog, "claim")[-1] == "nothing more is known to be due"


async def test_the_next_slots_and_full_permits_are_reasons_not_to_claim(caplog, bench):
    caplog.set_level(logging.DEBUG, logger=DISPATCHER)
    await bench.run(bench.rows(6, limit=Limit.parse("5/second")))
    assert any(reason.startswith("the next claim is planned in 0.") for reason in reasons(caplog, "claim"))
    await bench.run(bench.rows(6, permits=2, latency=dict.fromkeys(range(6), 0.5)))
    assert "enough rows are opened" in reasons(caplog, "claim")


async def test_a_halt_and_an_unreachable_database_are_reasons_not_to_claim_or_call(caplog, bench):
    caplog.set_level(logging.DEBUG, logger=DISPATCHER)
    await bench.run(bench.rows(10, limit=Limit.parse("20/second"), answers={0: "halt"}, latency={0: 0.01}))
    assert any("halted" in reason for reason in reasons(caplog, "call"))
    caplog.clear()
    rows = bench.rows(300, latency={number: 0.02 + number % 5 / 100 for number in range(300)})
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.3)
    rows.finish_errors += [UNREACHABLE, UNREACHABLE]
    await going
    assert "the database cannot be used" in reasons(caplog, "claim")


async def test_without_permits_a_dispatcher_logs_that_other_workers_hold_them(caplog, bench):
    caplog.set_level(logging.DEBUG, logger=DISPATCHER)
    latency = {number: 0.1 + number % 7 / 20 for number in range(300)}
    rows = bench.rows(300, permits=20, latency=latency, shares=[(0, 20), (1, 0)])
    bench.database_seconds = 0.05
    going = asyncio.create_task(bench.run(rows, longest=timedelta(seconds=5)))
    await asyncio.sleep(1.3)
    bench.stopping.set()
    await going
    assert "other workers hold all permits" in reasons(caplog, "call")
    assert "the worker is stopping" in reasons(caplog, "claim")
