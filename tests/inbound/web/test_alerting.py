"""`web` alerts people, and a server of theirs that hangs does not keep it from ending."""

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

from tests.conftest import NOON
from tests.suite.waiting import ENDS_WITHIN
from worker.inbound.web import alerting
from worker.inbound.web.alerting import Watch


async def test_an_end_alerts_nobody_more_while_the_first_server_hangs(monkeypatch):
    monkeypatch.setattr(alerting, "LOOK_EVERY", timedelta(0))
    ending, hangs, answers = threading.Event(), threading.Event(), threading.Event()
    published = []

    def publish(name, *, longest):
        published.append(name)
        hangs.set()
        assert answers.wait(ENDS_WITHIN)

    watch = Watch(
        SimpleNamespace(look=lambda now: None),  # type: ignore[arg-type]
        SimpleNamespace(due=lambda: ["chat", "mail"]),  # type: ignore[arg-type]
        SimpleNamespace(names=["chat", "mail"], publish=publish),  # type: ignore[arg-type]
        lambda: True,
        lambda: NOON,
        ending,
    )
    looking = []

    async def in_thread(function):
        looking.append(asyncio.get_running_loop().run_in_executor(None, function))
        await looking[-1]

    watching = asyncio.create_task(watch.keep_watching(in_thread))
    assert await asyncio.to_thread(hangs.wait, ENDS_WITHIN)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert ending.is_set()  # what the publisher stops by
    answers.set()
    await asyncio.wait(looking)
    assert published == ["chat"]
