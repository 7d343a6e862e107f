"""A worker that was suspended for longer than its lease, and continues while another worker has the same row."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from onboarding_worker.core.database.tables import InvitationRow, SessionRow
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.wiring.runner import Runner
from onboarding_worker.wiring.sweep import Sweep
from tests.simulated.world import customer


@contextlib.contextmanager
def suspended(runner: Runner) -> Iterator[None]:
    """No transaction of this process begins meanwhile: else its dispatcher could renew its permit first."""
    goes_on = threading.Event()
    for _ in range(runner._threads._max_workers):
        runner._threads.submit(goes_on.wait)
    try:
        yield
    finally:
        goes_on.set()


async def test_the_late_answer_of_a_woken_worker_does_not_overwrite_its_successors(make):
    answered = [asyncio.Event(), asyncio.Event()]

    async def answer(_request):
        await answered[len(world.http.requests) - 1].wait()
        return world.session()

    world = make(answer)
    world.add(customer("Ona"), account="au")  # its call may be repeated
    woken, successor = world.start(), world.start()
    first = asyncio.create_task(woken.serve(WakeUp.issue("au")))
    await world.http.received(1)
    world.clock.advance(seconds=61)
    assert Sweep(world.parts).end_leases().repeated == 1
    world.clock.advance(seconds=2)
    second = asyncio.create_task(successor.serve(WakeUp.issue("au")))
    await world.http.received(2)
    claimed = world.job("Ona")

    answered[0].set()
    await first
    assert world.job("Ona") == claimed
    assert (world.rows(SessionRow), world.rows(InvitationRow)) == ([], [])

    answered[1].set()
    await second
    assert world.job("Ona").state is JobState.ISSUED
    assert world.row(SessionRow).reference == "session-2"
    assert [attempt.outcome for attempt in world.attempts()] == ["late", "done"]
    assert "session-1" in world.attempts()[0].detail  # the only trace of what the first call opened
    for runner in (woken, successor):
        await runner.close()
