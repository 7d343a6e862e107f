"""`web` sends what needs a person: the workers, which do so too, may all be gone."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import count

from onboarding_worker.features.alerts.alerting import tell_news
from onboarding_worker.runtime import web_application
from tests.conftest import NOON
from tests.suite.waiting import ENDS_WITHIN


async def test_web_sends_that_everything_is_stopped(start, sqlite_url, monkeypatch):
    monkeypatch.setattr(web_application, "TELL_SECONDS", 0.01)
    site = await start(sqlite_url)
    loop, minutes, sent = asyncio.get_running_loop(), count(), asyncio.Queue[str]()

    async def send(lines: Sequence[str]) -> str:
        loop.call_soon_threadsafe(sent.put_nowait, lines[0])
        return ""

    site.parts.emergency_stops.stop(by="ops", reason="", now=NOON)
    tell = partial(
        tell_news,
        {"webhook": send},
        site.parts.database,
        lambda: site.parts.operation.report().attention,
        lambda: NOON + timedelta(minutes=next(minutes)),
    )
    site.parts.tellers = [tell]

    async with asyncio.timeout(ENDS_WITHIN):
        assert await sent.get() == "stop needs a person: onboard status"
