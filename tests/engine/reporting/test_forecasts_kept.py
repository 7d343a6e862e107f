"""What the forecast says, and what the batch then takes, in virtual time: within a quarter."""

import asyncio
from datetime import datetime, timedelta

import pytest

from worker.domain.model.reasons import Reason
from worker.engine.container import Parts
from worker.senders.fake import FakeSender
from worker.store.tables import Job


class Relay(FakeSender):
    """Takes so long for a message."""

    seconds = 0.05

    async def send(self, message):
        await asyncio.sleep(self.seconds)
        return await super().send(message)


def finishes_at(parts: Parts, batch: int) -> tuple[datetime, str]:
    found = parts.reporting.status(parts.batches.find(str(batch)))["forecast"]
    assert found["assumed"] is False
    return datetime.fromisoformat(found["finishes_at"]), found["limited_by"]


CASES = {  # rows, settings, seconds of a call, what limits the pace
    "the account's limit": (300, {"limits": ["20/second"]}, 0.1, "kyc: its limit of 20/second"),
    "the sender's limit": (
        150,
        {"limits": ["20/second"], "sender": 'limits = ["10/second"]'},
        0.1,
        "email: its limit of 10/second",
    ),
    "slow calls": (100, {"limits": ["20/second"], "concurrency": 2}, 0.5, "kyc: the pace of its last minutes, "),
    "a slow relay": (300, {"limits": ["200/second"]}, 0.4, "email: the pace of its last minutes, "),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_forecast_is_within_a_quarter_of_the_time_that_it_takes(make, case):
    rows, settings, seconds, limited_by = CASES[case]

    async def answer(_request):
        await asyncio.sleep(0.1 if case == "a slow relay" else seconds)
        return world.session()

    relay = Relay()
    relay.seconds = seconds if case == "a slow relay" else 0.05
    world = make(answer, senders={"email": relay, "sms": FakeSender()}, **settings)
    batch = world.add_many(rows)
    known_before = "pace" not in limited_by
    began_at = world.clock()
    first = finishes_at(world.parts, batch)
    await world.live(lambda: len(relay.messages) >= rows / 2)
    left_at, then = world.clock(), finishes_at(world.parts, batch)
    await world.live(lambda: len(relay.messages) == rows)
    ended_at = world.clock()
    assert then[1].startswith(limited_by)
    assert abs(then[0] - ended_at) <= (ended_at - left_at) / 4
    if known_before:
        assert first[1] == limited_by
        assert abs(first[0] - ended_at) <= (ended_at - began_at) / 4


@pytest.mark.parametrize("reason", [Reason.ORPHAN, Reason.SESSION_ENDS_FIRST, Reason.STALE_LINK])
async def test_a_batch_is_not_done_before_the_sessions_that_its_rows_wait_for_have_ended(make, reason):
    world = make(limits=["20/second"])
    batch = world.add_many(3)
    ends = world.clock() + timedelta(days=6)
    world.set(Job, Job.customer_id == "C001", reason=reason, due_at=ends)
    at, why = finishes_at(world.parts, batch)
    assert abs(at - ends) < timedelta(seconds=1)
    assert why.startswith("rows that wait for a session's end, the last until ")
