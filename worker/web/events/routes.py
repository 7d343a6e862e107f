"""POST /events and GET /events/ID: takes events over HTTP, and reports their status."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from worker.core.database.outages import reason
from worker.core.foundation.clock import Clock, monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.model.incoming import Event, EventKind, EventReceipt, EventSender, Outcome
from worker.events.cloudevents import LARGEST, LARGEST_LIST, Unreadable, is_list, moment, read, read_list
from worker.events.store.event_status import EventStatus, EventStatuses, LinkStatus
from worker.settings.outside import Web
from worker.web.events import credentials
from worker.web.events.answers import (
    AT_ONCE,
    AWAY,
    MOST_LISTS,
    RETRY_SECONDS,
    accepted,
    address,
    answer_to_many,
    refusal_status,
)
from worker.web.events.batching import ANSWER_SECONDS, Batcher, InThread, answered_within
from worker.web.events.link_waiters import Waiting
from worker.web.events.request_body import (
    OF_ONE,
    TWICE,
    Room,
    Unacceptable,
    attributes,
    bounded_body,
    check_before_the_body,
    has_credentials_twice,
    preferred_wait,
    traceparent,
)
from worker.web.problems import REFUSED, problem
from worker.web.readiness import Readiness
from worker.web.turns import Allowance, AtOnce, TooMany
from worker.web.webhooks.standard_webhooks import SIGNATURE, refused_unread

log = logging.getLogger(__name__)

HINT = "docs/reference/http.md shows how an event is posted"


@dataclass(eq=False)
class Events:
    """`room`: how many bytes of large bodies are held at a time, of lists and of senders without a key."""

    settings: Web
    clock: Clock
    chunks: Batcher[Event, EventReceipt]
    waiting: Waiting
    statuses: EventStatuses
    readiness: Readiness
    in_thread: InThread
    count: Callable[[Outcome], None]
    _: KW_ONLY
    body_seconds: float
    room: int

    def __post_init__(self) -> None:
        self._keys = credentials.keys_of(self.settings.senders)
        self._allowance = Allowance(self.settings.event_limit)
        self._room = Room(self.room)
        self._lists = AtOnce(MOST_LISTS)  # of a sender
        self._outage = Outage(log)

    async def post(self, request: web.Request) -> web.Response:
        """Take an event in. Answer with its address, or with the link where the sender waits for the link."""
        try:
            return await self._post(request)
        except Unacceptable as error:
            return error.answer(retry_after=RETRY_SECONDS)

    async def _post(self, request: web.Request) -> web.Response:
        sender = self._recognised(request)
        if isinstance(sender, web.Response):
            return sender
        if self.readiness.why_not is not None:
            return problem(503, self.readiness.why_not, retry_after=RETRY_SECONDS)
        if sender is not None and (refused := self._too_often(sender)):
            return refused
        check_before_the_body(request)
        content_type = request.headers.get("Content-Type", "")
        given, largest = attributes(request), LARGEST_LIST if is_list(content_type) else LARGEST
        signed_at = None
        if given and sender is None:
            # The same data can cancel a customer and erase one: the owner of a copy must not choose.
            raise Unacceptable(400, "a signed event is all in its body, without ce- headers, which are not signed")
        room = OF_ONE if sender is not None and largest == LARGEST else self._room
        content = await bounded_body(request, room, largest=largest, seconds=self.body_seconds)
        if sender is None:
            signer = self._signer(request, content)
            if isinstance(signer, web.Response):
                return signer
            if refused := self._too_often(signer):
                return refused
            sender, signed_at = signer, credentials.signed_at(request.headers)
        as_sent = partial(_as_sent, sender=sender, signed_at=signed_at, trace=traceparent(request))
        if is_list(content_type):
            return await self._post_many(request, content, sender, as_sent)
        event = read(content, content_type=content_type, attributes=given)
        if isinstance(event, Unreadable):
            return problem(400, event.reason, hint=HINT)
        return await self._post_one(request, as_sent(event))

    async def _post_one(self, request: web.Request, event: Event) -> web.Response:
        sender = event.sender
        try:
            receipt = await self._take_in(event)
            if receipt.outcome is Outcome.REFUSED or receipt.id is None:
                return problem(refusal_status(receipt), receipt.reason, problems=receipt.problems)
            waits = sender.links and event.kind is EventKind.REQUESTED
            wait = preferred_wait(request.headers.getall("Prefer", [])) if waits else 0
            return await self._answered(request, event, receipt, wait)
        except TooMany:
            return problem(503, AT_ONCE, retry_after=RETRY_SECONDS)
        except sa.exc.OperationalError:
            # The event may be taken where the commit's answer was lost; sending it again does no harm.
            return problem(503, AWAY, retry_after=RETRY_SECONDS)

    async def _take_in(self, event: Event) -> EventReceipt:
        """The event's receipt. Raises what the chunks raise."""
        try:
            receipt = await self.chunks.take_in(event, event.sender.name)
        except sa.exc.OperationalError as error:
            what = "the database cannot be used, events are refused"
            self._outage.lasts(what, monotonic(), why=reason(error))
            raise
        self._outage.over("the database is back: taking events")
        self.count(receipt.outcome)
        return receipt

    async def _post_many(
        self, request: web.Request, content: bytes, sender: EventSender, as_sent: Callable[[Event], Event]
    ) -> web.Response:
        try:
            with self._lists.one_of(sender.name):
                events = await self.in_thread(read_list, content)
                if isinstance(events, Unreadable):
                    return problem(400, events.reason, hint=HINT)
                self._allowance.spend(sender.name, max(0, len(events) - 1), monotonic())
                return await answer_to_many(request, events, lambda one: self._take_in(as_sent(one)))
        except TooMany:
            raise Unacceptable(503, f"more than {MOST_LISTS} lists of this sender at the same time") from None

    async def get(self, request: web.Request) -> web.Response:
        """Report the status of an event."""
        sender = self._recognised(request)
        if isinstance(sender, web.Response):
            return sender
        named = request.match_info["id"]
        if sender is None:
            # Signed in place of a body: else a copy of the headers would read the status of each event of this sender.
            sender = self._signer(request, named.encode("utf-8", "surrogatepass"))
            if isinstance(sender, web.Response):
                return sender
        try:
            event_id = uuid.UUID(named)
        except ValueError:
            return problem(404, "there is no such event")
        try:
            async with answered_within(ANSWER_SECONDS):
                status = await self.in_thread(self.statuses.of, event_id, sender.name)
        except sa.exc.OperationalError:
            return problem(503, "the database cannot be used", retry_after=RETRY_SECONDS)
        if status is None:
            return problem(404, "there is no such event", hint="a refused event is not stored")
        return web.json_response(_as_json(status, address(request, event_id)), headers={"Cache-Control": "no-store"})

    def _recognised(self, request: web.Request) -> EventSender | web.Response | None:
        """The request's sender; None where it is signed, which needs its body; or the refusal."""
        if not self._keys:
            return problem(403, "no sender has a key", hint="add [web.senders.NAME] with keys to onboarding.toml")
        if has_credentials_twice(request):
            return problem(400, TWICE)
        if "Authorization" not in request.headers and SIGNATURE in request.headers:
            why = refused_unread(request.headers, now=self.clock())
            return _stranger(request, why) if why else None
        if "Authorization" not in request.headers:
            return _stranger(request, "neither an Authorization header nor a signature")
        found = credentials.bearer(request.headers["Authorization"], self._keys)
        return _stranger(request, found) if isinstance(found, str) else found

    def _signer(self, request: web.Request, content: bytes) -> EventSender | web.Response:
        """Who has signed the request with this content; or the refusal."""
        found = credentials.signature(request.headers, content, self._keys, self.clock())
        return _stranger(request, found) if isinstance(found, str) else found

    def _too_often(self, sender: EventSender) -> web.Response | None:
        seconds = self._allowance.take(sender.name, monotonic())
        return problem(429, "more events than event_limit allows this sender", retry_after=seconds) if seconds else None

    async def _answered(self, request: web.Request, event: Event, receipt: EventReceipt, wait: int) -> web.Response:
        assert receipt.id is not None  # noqa: S101 -- the caller has checked; for the type checker
        answer = accepted(request, receipt)
        headers = {"Location": answer["href"], "Cache-Control": "no-store"}
        repeated = receipt.outcome is Outcome.DUPLICATE and event.signed_at is not None
        if repeated and not await self.in_thread(self.statuses.is_newest, receipt.id, event.signed_at):
            # The same message, or a copy. The wish to wait is not signed, and the owner of a copy must not get the
            # link.
            wait = 0
        link_status: LinkStatus | None = None
        if wait and receipt.job_id is not None:
            link_status = await self.waiting.wait(receipt.job_id, wait, caller=event.sender.name)
            headers["Preference-Applied"] = f"wait={wait}"
        if link_status is not None:
            answer["job"] = {"id": receipt.job_id, "state": link_status.state.value, "reason": link_status.reason}
        if link_status is not None and link_status.link:
            expires = {"expires_at": _written(link_status.expires_at)}
            return web.json_response(answer | {"link": link_status.link} | expires, headers=headers)
        return web.json_response(answer, status=202, headers=headers)


def _as_sent(event: Event, *, sender: EventSender, signed_at: datetime | None, trace: str | None) -> Event:
    trace = event.traceparent or trace
    return replace(event, sender=sender, actor=sender.name, traceparent=trace, signed_at=signed_at)


def _stranger(request: web.Request, why: str) -> web.Response:
    request[REFUSED] = f"events: {why}"
    return problem(401, why, headers={"WWW-Authenticate": "Bearer"})


def _as_json(status: EventStatus, address: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": str(status.id),
        "href": address,
        "type": status.kind.value,
        "state": status.outcome.value,
        "detail": status.detail,
        "occurred_at": _written(status.occurred_at),
        "received_at": _written(status.received_at),
        "job": None,
    }
    job = status.job
    if job is not None:
        answer["job"] = {
            "id": job.id,
            "batch": job.batch_id,
            "state": job.state.value,
            "reason": job.reason,
            "result": job.result,
            "created_at": _written(job.created_at),
            "changed_at": _written(job.changed_at),
            "due_at": _written(job.due_at),
            "session": job.session
            and {
                "state": job.session.value,
                "issued_at": _written(job.issued_at),
                "expires_at": _written(job.expires_at),
            },
        }
    elif status.job_id is not None:
        answer["job"] = {"id": status.job_id, "state": "purged"}
    return answer


def _written(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
