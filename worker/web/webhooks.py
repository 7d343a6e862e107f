"""POST /webhooks/ACCOUNT: what providers tell us. Verified, kept once, answered; worked off right afterwards."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from worker.bootstrap import Parts
from worker.clock import monotonic
from worker.news import SessionNews
from worker.outage import Outage
from worker.providers.account import AccountUnusable
from worker.providers.registry import build_webhook_reader
from worker.providers.webhooks import LARGEST, Delivery, Unreadable, WebhookReader
from worker.store.database import reason
from worker.store.webhooks import ACCOUNT, Arrived
from worker.web.lots import InThread, Lots, Ring, TooMany
from worker.web.problems import problem
from worker.web.readiness import Readiness
from worker.web.reading import Room, Unacceptable, bounded_body
from worker.web.refusals import Refusals

log = logging.getLogger(__name__)

RETRY_SECONDS = 5  # what is told while the database is away; providers go by times of their own
# Of bodies larger than nearly all: memory for the rest of them, whoever sends them.
FREE, ROOM = 64 * 1024, 64 * 1024 * 1024
AT_ONCE = 64 * 1024  # bytes that are checked and read on the loop; more would hold up the others
LOOK_SECONDS = 5.0  # how often what is to be looked at again is looked for, without anything new


def webhook_readers(parts: Parts) -> tuple[dict[str, WebhookReader], dict[str, str]]:
    """What reads each account's webhooks; and of those that cannot take any why not, by account."""
    readers: dict[str, WebhookReader] = {}
    why_not: dict[str, str] = {}
    for name, account in parts.accounts.items():
        try:
            reader = build_webhook_reader(account)
        except AccountUnusable as error:
            why_not[name] = str(error)
            continue
        if reader is not None:
            readers[name] = reader
    return readers, why_not


class WebhookRoutes:
    """Takes webhooks in. Belongs to one loop."""

    def __init__(
        self,
        parts: Parts,
        lots: Lots[Arrived, bool],
        readiness: Readiness,
        in_thread: InThread,
        worked_off: "WorkingOff",
        *,
        body_seconds: float,
    ) -> None:
        self._readers, self._why_not = webhook_readers(parts)
        self._digests = parts.keyring.digests
        self._clock = parts.clock
        self._lots, self._readiness, self._in_thread = lots, readiness, in_thread
        self._worked_off = worked_off
        self._body_seconds = body_seconds
        self._room = Room(ROOM, free=FREE)
        self._refusals = Refusals(log)
        self._away = Outage(log)

    async def post(self, request: web.Request) -> web.Response:
        """Take one webhook in."""
        try:
            return await self._post(request)
        except Unacceptable as error:
            answer = problem(error.status, error.args[0], retry_after=RETRY_SECONDS if error.status == 503 else None)
            # What is left of the body is not waited for.
            answer.force_close()
            return answer

    async def _post(self, request: web.Request) -> web.Response:
        name = request.match_info["account"]
        if name not in self._readers and name not in self._why_not:
            self._refusals.refused("webhooks", "no such account", monotonic())
            raise Unacceptable(404, "there is no such account")
        if name in self._why_not:
            raise self._refused(name, self._why_not[name])
        reader = self._readers[name]
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unacceptable(415, "the body is compressed; send it as it is")
        if request.content_length is not None and request.content_length > LARGEST:
            raise Unacceptable(413, f"it has more than {LARGEST:,} bytes")
        headers = {header.lower(): value for header, value in request.headers.items()}
        path = tuple(request.match_info.get("rest", "").split("/"))
        if why := reader.refuses_unread(Delivery(b"", headers, path), now=self._clock()):
            raise self._refused(name, why)
        if self._readiness.why_not is not None:
            raise Unacceptable(503, self._readiness.why_not)
        body = await bounded_body(request, self._room, largest=LARGEST, seconds=self._body_seconds)
        delivery = Delivery(body, headers, path)
        read = (
            self._read(reader, name, delivery)
            if len(body) <= AT_ONCE
            else await self._in_thread(self._read, reader, name, delivery)
        )
        if isinstance(read, str):
            raise self._refused(name, read)
        if isinstance(read, Unreadable):
            return problem(read.status, read.reason)
        return await self._kept(read)

    def _read(self, reader: WebhookReader, name: str, delivery: Delivery) -> Arrived | Unreadable | str:
        """What there is to be kept; what is no use, and is to be refused for good; or why it is not the provider's."""
        if why := reader.refuses(delivery, now=self._clock()):
            return why
        said = reader.read(delivery)
        source = f"{ACCOUNT}{name}"
        # Of the body alone: the event's name in a header is not signed, and a copy under another name is a copy.
        digests = self._digests(sha256(delivery.body).hexdigest())
        if isinstance(said, Unreadable):
            return said if said.status >= 400 else Arrived(source, digests, "unreadable", None, said.reason)
        return Arrived(source, digests, said.event, said.as_json() if _says_something(said) else None, said.note)

    async def _kept(self, arrived: Arrived) -> web.Response:
        try:
            new = await self._lots.take_in(arrived)
        except TooMany:
            raise Unacceptable(503, "more come than can be taken") from None
        except sa.exc.OperationalError as error:
            self._away.lasts(f"the database is away, webhooks are refused: {reason(error)}", monotonic())
            # Whether it was kept is not known where the commit's answer was lost; the same one again does no harm.
            raise Unacceptable(503, "the database is away; send the same again") from None
        self._away.over("the database is there again: webhooks are taken")
        if new and arrived.told is not None:
            self._worked_off.ring()
        return web.json_response({"state": "taken" if new else "duplicate"}, headers={"Cache-Control": "no-store"})

    def _refused(self, name: str, why: str) -> Unacceptable:
        self._refusals.refused(name, why, monotonic())
        return Unacceptable(401, "it is not the provider's")


def _says_something(news: SessionNews) -> bool:
    return news.state is not None or news.alert or bool(news.company_id)


class WorkingOff:
    """Works off what was kept, one look after the other, in a thread. Belongs to one loop."""

    def __init__(
        self, work: Callable[[], set[tuple[str, str]]], ring: Ring, in_thread: InThread, *, every: float = LOOK_SECONDS
    ) -> None:
        """`work` works off what is due, and says what is due by that; blocking."""
        self._work, self._ring, self._in_thread, self._every = work, ring, in_thread, every
        self._rung = asyncio.Event()
        self._away = Outage(log)

    def ring(self) -> None:
        """Say that something is due. Returns at once."""
        self._rung.set()

    async def keep_working(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._rung.wait()
            self._rung.clear()
            await self._look()

    async def _look(self) -> None:
        try:
            due: Any = await self._in_thread(self._work)
        except sa.exc.OperationalError as error:
            self._away.lasts(f"the database is away, webhooks are worked off later: {reason(error)}", monotonic())
        except Exception:
            log.exception("working off webhooks ended with a bug of ours; it is tried again")
        else:
            self._away.over("the database is there again: webhooks are worked off")
            for step, name in due:
                self._ring(step, name)
