"""Sends what providers send: signed POSTs, again where they are not taken, and all of it in the log."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp

from worker.sandbox.behaviour import Trouble
from worker.sandbox.clock import Clock
from worker.sandbox.log import Log
from worker.sandbox.people.errands import Errands
from worker.sandbox.wire import WEBHOOKS

TIMEOUT = 10.0  # seconds, of ours: iDenfy documents it, and nobody waits much longer
AT_ONCE = 50  # POSTs at a time
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Retries:
    """When a POST is sent again that was not taken. `final` are answers that end it although they are refusals."""

    waits: tuple[timedelta, ...] = ()
    final: frozenset[int] = frozenset()


# iDenfy documents that it repeats, not when; FrankieOne every quarter of an hour, fifty times, but not after a 400.
# Twilio repeats only where it could not connect, and a mail service is what somebody sets up.
RETRIES = {
    "idenfy": Retries((timedelta(seconds=10), MINUTE, 10 * MINUTE, 60 * MINUTE)),
    "frankieone": Retries((15 * MINUTE,) * 50, frozenset({400})),
    "twilio": Retries((), frozenset()),
    "mail": Retries((MINUTE, 10 * MINUTE)),
}


@dataclass(frozen=True, repr=False)
class Letter:
    """One webhook. `headers` makes those of one attempt, signed anew: some signatures are good for minutes only.

    The two `forged` are what somebody would have to make do with who has neither key nor secret.
    """

    family: str  # of RETRIES
    event: str
    url: str
    body: bytes
    headers: Callable[[], Mapping[str, str]]
    client: str | None = None
    reference: str | None = None
    forged_url: str = ""
    forged_headers: Mapping[str, str] = field(default_factory=dict)


class Postman:
    def __init__(self, log: Log, clock: Clock, errands: Errands) -> None:
        self._log = log
        self._clock = clock
        self._errands = errands
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, letter: Letter, trouble: Trouble) -> None:
        """Send it, and begin to repeat what was not taken. Returns after the first attempt of each copy."""
        word = trouble.word
        if trouble.forged:
            forged = {**letter.headers(), **letter.forged_headers}
            await self._post(letter, letter.forged_url or letter.url, forged, word, 1)
        for _ in range(2 if trouble.twice else 1):
            await self._attempt(letter, word, 1)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, letter: Letter, word: str | None, attempt: int) -> None:
        status = await self._post(letter, letter.url, letter.headers(), word, attempt)
        policy = RETRIES[letter.family]
        taken = isinstance(status, int) and (200 <= status < 300 or status in policy.final)
        if not taken and attempt <= len(policy.waits):
            again = functools.partial(self._attempt, letter, word, attempt + 1)
            self._errands.later(policy.waits[attempt - 1], again)

    async def _post(
        self, letter: Letter, url: str, headers: Mapping[str, str], word: str | None, attempt: int
    ) -> int | str:
        entry = self._log.open(WEBHOOKS, self._clock())
        entry |= {"fault": word, "client": letter.client, "reference": letter.reference}
        entry |= {"event": letter.event, "url": url, "attempt": attempt}
        if self._session is None:
            # No proxy of the environment: what is played here goes where it was told, and nowhere else.
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False)
        status: int | str
        try:
            async with (
                self._places,
                self._session.post(url, data=letter.body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except TimeoutError:
            status = "timeout"
        except (aiohttp.ClientError, OSError):
            status = "unreachable"
        entry["status"] = status
        entry["processed"] = isinstance(status, int) and 200 <= status < 300
        self._log.done(entry)
        return status
