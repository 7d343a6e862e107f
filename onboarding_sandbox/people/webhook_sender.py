"""Sends the providers' webhooks: signed POSTs, repeated if they are not accepted, and all in the log; and runs tasks
later, in the customers' time, which may run faster than real time.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from onboarding_sandbox.options import Clock, Trouble
from onboarding_sandbox.wire import WEBHOOKS, Log


class DelayedTasks:
    """`scale`: how many seconds of the customers' time pass in one real second. With 86,400 a day takes a second."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def later(self, after: timedelta, begin_task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin a task after that much of the customers' time. Each task has a timer: a million tasks may wait."""
        self._idle.clear()

        def begin() -> None:
            self._timers.discard(timer)
            task = loop.create_task(begin_task())
            self._tasks.add(task)
            task.add_done_callback(self._over)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds(after), begin)
        self._timers.add(timer)

    async def wait(self, time: timedelta) -> None:
        """Wait for that much of the customers' time."""
        await asyncio.sleep(self._seconds(time))

    async def idle(self) -> None:
        """Return when no task waits or runs."""
        await self._idle.wait()

    def forget(self) -> None:
        """Cancel all waiting and running tasks."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            self._idle.set()

    async def stop(self) -> None:
        """Cancel all tasks, and wait for their end."""
        self.forget()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not self._tasks and not self._timers:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = task.get_loop()
            loop.call_exception_handler({"message": "the sandbox failed", "exception": error, "task": task})

    def _seconds(self, time: timedelta) -> float:
        return max(0.0, time.total_seconds()) / self._scale


WRONG_KEY = "not the key"  # of a forged webhook
TIMEOUT = 10.0  # real seconds, as iDenfy documents; other providers hardly wait longer
AT_ONCE = 50  # POSTs at a time
MINUTE = timedelta(minutes=1)


# How long after each POST that was not accepted it is repeated. iDenfy documents that it repeats, but not when.
# FrankieOne repeats every quarter of an hour, fifty times. Twilio repeats only if it could not connect. Mail services
# differ.
WAITS = {
    "idenfy": (timedelta(seconds=10), MINUTE, 10 * MINUTE, 60 * MINUTE),
    "frankieone": (15 * MINUTE,) * 50,
    "twilio": (),
    "mail": (MINUTE, 10 * MINUTE),
}
FINAL = {"frankieone": 400}  # the refusal after which it is not repeated


@dataclass(frozen=True, repr=False)
class Webhook:
    """One webhook. `headers()` returns the headers of one attempt, newly signed: some signatures last minutes only.
    `forged_url` and `forged_headers` are those of a sender that knows neither key nor secret."""

    family: str  # of WAITS
    event: str
    url: str
    body: bytes
    headers: Callable[[], Mapping[str, str]]
    client: str | None = None
    reference: str | None = None
    forged_url: str = ""
    forged_headers: Mapping[str, str] = field(default_factory=dict)


# Takes a webhook with these headers in place of its address, and returns the status of its answer.
Taker = Callable[[Webhook, Mapping[str, str]], int]


class WebhookSender:
    def __init__(self, log: Log, clock: Clock, delayed: DelayedTasks, taker: Taker | None = None) -> None:
        """`taker`: gets the webhooks in this process; None: they are posted to their addresses."""
        self._log, self._clock, self._delayed, self._taker = log, clock, delayed, taker
        self._session: aiohttp.ClientSession | None = None
        self._permits = asyncio.Semaphore(AT_ONCE)

    async def send(self, webhook: Webhook, trouble: Trouble) -> None:
        """Send a webhook, and plan its repetitions if needed. Returns after the first attempt of each copy."""
        troubles = trouble.word
        if trouble.forged:
            forged = {**webhook.headers(), **webhook.forged_headers}
            await self._post(webhook, webhook.forged_url or webhook.url, forged, troubles, 1)
        for _ in range(2 if trouble.twice else 1):
            await self._attempt(webhook, troubles, 1)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, webhook: Webhook, troubles: str | None, attempt: int) -> None:
        status = await self._post(webhook, webhook.url, webhook.headers(), troubles, attempt)
        waits = WAITS[webhook.family]
        accepted = isinstance(status, int) and (200 <= status < 300 or status == FINAL.get(webhook.family))
        if not accepted and attempt <= len(waits):
            self._delayed.later(waits[attempt - 1], functools.partial(self._attempt, webhook, troubles, attempt + 1))

    async def _post(
        self, webhook: Webhook, url: str, headers: Mapping[str, str], troubles: str | None, attempt: int
    ) -> int | str:
        facts: dict[str, Any] = {"client": webhook.client, "reference": webhook.reference, "event": webhook.event}
        entry = self._log.open(WEBHOOKS, self._clock(), fault=troubles, **facts, url=url, attempt=attempt)
        status = self._taker(webhook, headers) if self._taker else await self._posted(webhook, url, headers)
        self._log.done(entry, status=status, processed=isinstance(status, int) and 200 <= status < 300)
        return status

    async def _posted(self, webhook: Webhook, url: str, headers: Mapping[str, str]) -> int | str:
        if self._session is None:
            # No proxy of the environment: webhooks go to the configured addresses, and nowhere else.
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False)
        try:
            async with (
                self._permits,
                self._session.post(url, data=webhook.body, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError):
            return "unreachable"
