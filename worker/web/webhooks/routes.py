"""POST /webhooks/ACCOUNT and /callbacks/SENDER: webhooks of providers and senders.

A webhook is verified, stored once and answered; it is processed right afterwards.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.wakeups import Wake, WakeUp
from onboarding_worker.providers.webhooks.contract import Delivery, Unreadable
from onboarding_worker.web.events.request_body import (
    TWICE,
    Room,
    Unacceptable,
    bounded_body,
    check_not_compressed,
    has_credentials_twice,
)
from onboarding_worker.web.problems import REFUSED, problem
from onboarding_worker.web.readiness import Readiness
from onboarding_worker.web.strangers import Door
from onboarding_worker.web.turns import Batcher, InThread, TooMany
from onboarding_worker.web.webhooks.sources import Asking, Source
from onboarding_worker.web.webhooks.store.webhooks import Arrived

log = logging.getLogger(__name__)

BUSY = "too many webhooks at the same time"
RETRY_SECONDS = 5  # the answer's Retry-After while the database cannot be used; providers use times of their own
AT_ONCE = 64 * 1024  # bytes that are checked and read on the loop; more would delay other requests
LOOK_SECONDS = 5.0  # how often due webhooks are looked for while no new one arrives


@dataclass(eq=False)
class WebhookRoutes:
    """Takes webhooks in. Belongs to one loop.

    `accounts` by name and `senders` by channel; `room`: how many bytes of large bodies are held at a time.
    `count(source, outcome)` counts a webhook of a configured source. `door`: where strangers make us ask others.
    """

    accounts: Mapping[str, Source]
    senders: Mapping[str, Source]
    chunks: Batcher[Arrived, bool]
    readiness: Readiness
    in_thread: InThread
    processed: "Processing"
    count: Callable[[str, str], None]
    door: Door
    _: KW_ONLY
    body_seconds: float
    room: int

    def __post_init__(self) -> None:
        self._room = Room(self.room, retry_after=RETRY_SECONDS)
        # Large ones are checked and read one after another: all threads at it would leave none to events.
        self._one_large = asyncio.Lock()
        self._outage = Outage(log)

    async def provider(self, request: web.Request) -> web.Response:
        source = self.accounts.get(request.match_info["account"])
        path = tuple(request.match_info.get("rest", "").split("/"))
        return await self._take(request, source, path)

    async def sender(self, request: web.Request) -> web.Response:
        channel = request.match_info["sender"]
        answer = await self._take(request, self.senders.get(channel), ())
        if answer.status == 200 and channel in channels_of("phone"):
            # Twilio would send a body as an answer to the customer.
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        return answer

    async def _take(self, request: web.Request, source: Source | None, path: tuple[str, ...]) -> web.Response:
        if source is None:
            request[REFUSED] = "no configured source: no such address"
            raise Unacceptable(404, "no account or sender of this name is configured here")
        if has_credentials_twice(request):
            raise Unacceptable(400, TWICE)
        headers = {header.lower(): value for header, value in request.headers.items()}
        if why := source.refuses_unread(Delivery(b"", headers, path)):
            raise self._refused(request, source, why)
        check_not_compressed(request)
        if request.content_length is not None and request.content_length > source.largest:
            raise Unacceptable(413, f"it has more than {source.largest:,} bytes")
        if self.readiness.why_not is not None:
            raise Unacceptable(503, self.readiness.why_not, retry_after=RETRY_SECONDS)
        body = await bounded_body(request, self._room, largest=source.largest, seconds=self.body_seconds)
        delivery = Delivery(body, headers, path)
        if isinstance(source, Asking) and source.must_ask(delivery):
            await self._asked(request, source, delivery)
        query = request.raw_path.partition("?")[2]  # as it was sent: it is signed
        if len(body) <= AT_ONCE:
            read = _read(source, delivery, query)
        else:
            async with self._one_large:
                read = await self.in_thread(_read, source, delivery, query)
        if isinstance(read, str):
            raise self._refused(request, source, read)
        if isinstance(read, Unreadable):
            self.count(source.name, "unreadable")
            return problem(read.status, read.reason)
        return await self._kept([read] if isinstance(read, Arrived) else read)

    async def _asked(self, request: web.Request, source: Asking, delivery: Delivery) -> None:
        """Raises Unacceptable where a genuine webhook could not be taken now."""
        try:
            async with self.door.place(request, target="a service"):
                if why := await source.ask(delivery):
                    request[REFUSED] = f"{source.name}: {why}"
                    raise Unacceptable(503, why, retry_after=RETRY_SECONDS)
        except TooMany:
            raise Unacceptable(503, BUSY, retry_after=RETRY_SECONDS) from None

    def _refused(self, request: web.Request, source: Source, why: str) -> Unacceptable:
        request[REFUSED] = f"{source.name}: {why}"
        self.count(source.name, "refused")
        return Unacceptable(401, "its signature is missing or wrong")

    async def _kept(self, arrived: Sequence[Arrived]) -> web.Response:
        try:
            new = [await self.chunks.take_in(one, one.source) for one in arrived[:1]]
            new += await asyncio.gather(*[self.chunks.take_in(one, one.source) for one in arrived[1:]])
        except TooMany:
            raise Unacceptable(503, BUSY, retry_after=RETRY_SECONDS) from None
        except sa.exc.OperationalError as error:
            what = "the database cannot be used, webhooks are refused"
            self._outage.lasts(what, monotonic(), why=reason(error))
            # The webhook may be stored where the commit's answer was lost; sending it again does no harm.
            why = "the database cannot be used; send the same webhook again"
            raise Unacceptable(503, why, retry_after=RETRY_SECONDS) from None
        self._outage.over("the database is back: taking webhooks")
        for one, is_new in zip(arrived, new, strict=True):
            self.count(one.source, "taken" if is_new else "duplicate")
        if any(is_new and one.update is not None for is_new, one in zip(new, arrived, strict=True)):
            self.processed.wake()
        state = "taken" if any(new) or not new else "duplicate"
        return web.json_response({"state": state}, headers={"Cache-Control": "no-store"})


def _read(source: Source, delivery: Delivery, query: str) -> Arrived | Sequence[Arrived] | Unreadable | str:
    """The webhook to store; or Unreadable, to refuse it for good; or the reason why it is not from this source."""
    return source.refuses(delivery, query) or source.read(delivery)


class Processing:
    """Processes stored webhooks, one look after another, in a thread. Belongs to one loop."""

    def __init__(
        self, work: Callable[[], set[WakeUp]], wake: Wake, in_thread: InThread, is_ready: Callable[[], bool]
    ) -> None:
        """`work` processes due webhooks and returns the wake-ups for what became due; blocking."""
        self._work, self._wake, self._in_thread, self._is_ready = work, wake, in_thread, is_ready
        self._woken = asyncio.Event()
        self._outage = Outage(log)

    def wake(self) -> None:
        """Say that something is due. Returns at once."""
        self._woken.set()

    async def keep_working(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            await self._look()

    async def _look(self) -> None:
        if not self._is_ready():
            return  # not asked: so neither an outage nor its end
        try:
            due: Any = await self._in_thread(self._work)
        except sa.exc.OperationalError as error:
            what = "the database cannot be used, webhooks are processed later"
            self._outage.lasts(what, monotonic(), why=reason(error))
        except Exception:
            log.exception("processing webhooks ended with a bug of ours; it is tried again")
        else:
            self._outage.over("the database is back: processing webhooks")
            for wake_up in due:
                self._wake(wake_up)
