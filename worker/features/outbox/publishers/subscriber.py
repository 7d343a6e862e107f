"""Publishes events by HTTP: a signed POST for each event, to one URL. Only the status of the answer is read."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from onboarding_worker.adapters.bodies import retry_after
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.events.cloudevents import CONTENT_TYPE, OutgoingEvent, cloud_event
from onboarding_worker.features.outbox.publishers.contract import ANSWERS_SECONDS, GoesOn, Reply, until_answered
from onboarding_worker.http import event_loop
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.http.trust import trust_of
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.web.webhooks.standard_webhooks import ID, SIGNATURE, TIMESTAMP, signature

# POSTs in parallel, each for a different customer.
IN_FLIGHT = 8
# Failures in a row after which the rest of a chunk is not sent: a failing subscriber gets no call for each customer.
MOST_FAILURES = 3
# No POST of a chunk begins later than this after the chunk began.
TIMEOUT = timedelta(seconds=10)
CHUNK_TIME = timedelta(seconds=20)
# The longest pause that a subscriber may ask for.
LONGEST_WAIT = timedelta(hours=1)
CHECK_SECONDS = 0.25


def read(answer: HttpAnswer | Broken, *, clock: Clock) -> Problem | None:
    """The problem that an answer means; None: the event was accepted."""
    if isinstance(answer, Broken):
        return Problem(Kind.TRANSIENT, answer.detail, unreachable=not answer.sent)
    status, wait = answer.status, retry_after(answer.headers, clock(), longest=LONGEST_WAIT)
    if 200 <= status < 300:
        return None
    detail = f"HTTP {status}"
    if status == 410:
        return Problem(Kind.BAD_INPUT, f"{detail}: the subscriber wants no events", status=status)
    if status == 429 or (status == 503 and wait is not None):
        return Problem(Kind.RATE_LIMITED, detail, status=status, retry_after=wait)
    if 300 <= status < 400:
        detail = f"{detail}, a redirect: redirects are not followed"
    return Problem(Kind.TRANSIENT, detail, status=status)


class HttpSubscriber:
    """One subscriber. Not safe for threads."""

    def __init__(
        self, url: str, keys: Sequence[Secret], *, timeout: timedelta = TIMEOUT, tls: Tls | None = None
    ) -> None:
        self._url = url
        self._trust = trust_of({url: tls})
        self._keys = keys
        self._timeout = timeout
        self.longest = CHUNK_TIME + timeout + timedelta(seconds=ANSWERS_SECONDS)

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        return event_loop.run(self._publish(events, clock, goes_on))

    async def _publish(self, events: Sequence[OutgoingEvent], clock: Clock, goes_on: GoesOn) -> list[Reply]:
        async with open_http_session() as session:
            chunk, http = _Chunk(iter(events)), Http(session, self._trust)
            posting = {asyncio.ensure_future(self._post_all(chunk, http, clock)) for _ in range(IN_FLIGHT)}
            until, waits = monotonic() + CHUNK_TIME.total_seconds(), until_answered(goes_on)
            while posting:
                done, posting = await asyncio.wait(posting, timeout=CHECK_SECONDS)
                for task in done:
                    task.result()
                chunk.over = chunk.over or monotonic() >= until or not goes_on()
                if not waits() and posting:
                    # It is unknown whether these events were accepted: they are published again.
                    for task in posting:
                        task.cancel()
                    await asyncio.wait(posting)
                    break
        return chunk.replies

    async def _post_all(self, chunk: "_Chunk", http: Http, clock: Clock) -> None:
        for event in chunk.events:  # shared by all tasks that post: each takes the next event
            began_at, body = clock(), cloud_event(event)
            sent, stamp = str(event.event_id), int(began_at.timestamp())
            headers = {
                "content-type": CONTENT_TYPE,
                ID: sent,
                TIMESTAMP: str(stamp),
                SIGNATURE: " ".join(signature(key.reveal(), sent, stamp, body) for key in self._keys),
            }
            request = HttpRequest("POST", self._url, headers, body)
            problem = read(await http.call(request, timeout=self._timeout, reads_body=False), clock=clock)
            if problem is not None and problem.status in (401, 403):
                for key in self._keys:  # the key may have been rotated; the next try signs with the present key
                    key.reload()
            chunk.add(Reply(event.number, began_at, problem))
            if chunk.over:
                return

    def close(self) -> None:
        """Do nothing: no connection is kept between chunks."""


@dataclass
class _Chunk:
    """The events that are left of a chunk, and the replies for the other events."""

    events: Iterator[OutgoingEvent]
    replies: list[Reply] = field(default_factory=list)
    failures: int = 0  # in a row
    over: bool = False  # no more POST of it may begin

    def add(self, reply: Reply) -> None:
        self.replies.append(reply)
        problem = reply.problem
        if problem is None or problem.kind is Kind.BAD_INPUT:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= MOST_FAILURES or problem.unreachable or problem.kind is Kind.RATE_LIMITED:
            self.over = True
