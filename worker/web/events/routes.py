"""POST /events and GET /events/ID: takes events over HTTP, one or a list of them, and reports their status.

A list has an answer for each of its events, and is taken in chunk by chunk. A chunk follows when the one before has its
receipts: so what the same sender posts meanwhile waits for one chunk, not for all, and an event has the whole of its
time for an answer.

A sender is recognised by its keys: the request shows one of them, or is signed with one. A text in place of a sender is
why the credentials were not accepted; it holds no part of them. What is shown is compared by its hash with the hash of
every key of every sender, whichever fits. A signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256
over the message's id, its time and its body, so that the key itself never travels.
"""

import asyncio
import hmac
import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.incoming import Event, EventKind, EventReceipt, EventSender, Outcome
from onboarding_worker.events.cloudevents import (
    LARGEST,
    LARGEST_LIST,
    Listed,
    Unreadable,
    is_list,
    moment,
    read,
    read_list,
)
from onboarding_worker.events.standing import NOT_ITS_CUSTOMER, NOT_ITS_ID, NOT_ITS_TYPE
from onboarding_worker.events.store.event_status import EventStatuses
from onboarding_worker.events.store.inbox import CONFLICT
from onboarding_worker.settings.outside import SenderOfEvents, Web, hash_of, is_hash
from onboarding_worker.web.events.request_body import (
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
from onboarding_worker.web.problems import REFUSED, Refused, listed, problem
from onboarding_worker.web.readiness import Readiness
from onboarding_worker.web.turns import (
    ANSWER_SECONDS,
    MOST,
    Allowance,
    Batcher,
    InThread,
    TooMany,
    Waiting,
    answered_within,
)
from onboarding_worker.web.webhooks.standard_webhooks import SIGNATURE, TIMESTAMP, refused_unread, signing_key

log = logging.getLogger(__name__)

HINT = "docs/reference/http.md shows how an event is posted"
ADDRESS = "event"  # the name of the route of one event
RETRY_SECONDS = 2  # the answer's Retry-After while the database cannot be used
AWAY = "the database cannot be used; send the same event again"
AT_ONCE = "too many events at the same time"
# The status of a refusal by its reason; else 422.
_REFUSALS = {CONFLICT: 409, NOT_ITS_TYPE: 403, NOT_ITS_ID: 403, NOT_ITS_CUSTOMER: 403}

MOST_LISTS = 4  # of one sender at a time: their events are in memory
NOT_KNOWN = "unknown"  # it may be stored: to be sent again
Result = dict[str, Any]  # what became of one event of a list


@dataclass(frozen=True, repr=False)
class Key:
    """A key of a sender. `secret` is the key itself; None if only its hash is configured: such a key cannot sign."""

    sender: EventSender
    hash: str
    secret: str | None


def keys_of(senders: Mapping[str, SenderOfEvents]) -> tuple[Key, ...]:
    """The keys of these senders. Raises SettingsError for a key whose value is missing."""
    return tuple(
        Key(sender.rights(name), text, None) if is_hash(text) else Key(sender.rights(name), hash_of(text), text)
        for name, sender in senders.items()
        for text in (key.reveal() for key in sender.keys)
    )


def bearer(authorization: str, keys: Sequence[Key]) -> EventSender | str:
    """The sender whose key an `Authorization` header holds. The time it takes does not depend on which."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return "the Authorization header is not Bearer"
    shown = hash_of(given.strip())
    # A list: all keys are compared, also after one fits.
    fits = [hmac.compare_digest(key.hash, shown) for key in keys]
    return next((key.sender for key, one in zip(keys, fits, strict=True) if one), "the key is no sender's")


def signature(headers: Mapping[str, str], body: bytes, keys: Sequence[Key], now: datetime) -> EventSender | str:
    """The sender whose key a message was signed with: one of its signatures must be right."""
    signing = [(key.sender, key.secret) for key in keys if key.secret is not None]
    found = signing_key(headers, body, [secret for _, secret in signing], now=now)
    return found if isinstance(found, str) else signing[found][0]


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
        self._keys = keys_of(self.settings.senders)
        self._allowance = Allowance(self.settings.event_limit)
        self._room = Room(self.room, retry_after=RETRY_SECONDS)
        self._lists = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(MOST_LISTS))  # by sender
        self._outage = Outage(log)

    async def post(self, request: web.Request) -> web.Response:
        """Take an event in. Answer with its address, or with the link where the sender waits for the link."""
        sender = self._recognised(request)
        if self.readiness.why_not is not None:
            return problem(503, self.readiness.why_not, retry_after=RETRY_SECONDS)
        if sender is not None:
            self._check_allowance(sender)
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
            sender = self._signer(request, content)
            signed_at = datetime.fromtimestamp(int(request.headers[TIMESTAMP]), UTC)  # `refused_unread` accepts it
            self._check_allowance(sender)
        as_sent = partial(_as_sent, sender=sender, signed_at=signed_at, trace=traceparent(request))
        if is_list(content_type):
            return await self._post_many(request, content, sender, as_sent)
        event = read(content, content_type=content_type, attributes=given)
        if isinstance(event, Unreadable):
            return problem(400, event.reason, hint=HINT)
        try:
            return await self._post_one(request, as_sent(event))
        except TooMany:
            return problem(503, AT_ONCE, retry_after=RETRY_SECONDS)
        except sa.exc.OperationalError:
            # The event may be taken where the commit's answer was lost; sending it again does no harm.
            return problem(503, AWAY, retry_after=RETRY_SECONDS)

    async def _post_one(self, request: web.Request, event: Event) -> web.Response:
        receipt = await self._take_in(event)
        if receipt.outcome is Outcome.REFUSED or receipt.id is None:
            return problem(_REFUSALS.get(receipt.reason, 422), receipt.reason, problems=receipt.problems)
        waits = event.sender.links and event.kind is EventKind.REQUESTED
        wait = preferred_wait(request.headers.getall("Prefer", [])) if waits else 0
        answer = _accepted(request, receipt)
        headers = {"Location": answer["href"], "Cache-Control": "no-store"}
        repeated = receipt.outcome is Outcome.DUPLICATE and event.signed_at is not None
        if repeated and not await self.in_thread(self.statuses.is_newest, receipt.id, event.signed_at):
            # The same message, or a copy. The wish to wait is not signed, and the owner of a copy must not get the
            # link.
            wait = 0
        if not wait or receipt.job_id is None:
            return web.json_response(answer, status=202, headers=headers)
        link_status = await self.waiting.wait(receipt.job_id, wait, caller=event.sender.name)
        headers["Preference-Applied"] = f"wait={wait}"
        if link_status is not None:
            answer["job"] = {"id": receipt.job_id, "state": link_status.state.value, "reason": link_status.reason}
            if link_status.link:
                answer |= {"link": link_status.link, "expires_at": _written(link_status.expires_at)}
        return web.json_response(answer, status=200 if "link" in answer else 202, headers=headers)

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
        if (lists := self._lists[sender.name]).locked():
            why = f"more than {MOST_LISTS} lists of this sender at the same time"
            raise Unacceptable(503, why, retry_after=RETRY_SECONDS)
        async with lists:
            events = await self.in_thread(read_list, content)
            if isinstance(events, Unreadable):
                return problem(400, events.reason, hint=HINT)
            self._allowance.spend(sender.name, max(0, len(events) - 1), monotonic())
            return _answer_to_many(await self._results(request, events, as_sent))

    async def _results(
        self, request: web.Request, events: Sequence[Listed], as_sent: Callable[[Event], Event]
    ) -> list[Result]:
        results: list[Result] = []
        for place in range(0, len(events), MOST):
            chunk = [one.event for one in events[place : place + MOST]]
            away = next((one for one in results if one["status"] == 503), None)
            if away is None:
                results += await asyncio.gather(*(self._result(request, one, as_sent) for one in chunk))
            else:  # the rest is not tried
                results += [_not_taken(400, one.reason) if isinstance(one, Unreadable) else away for one in chunk]
        return [
            {"index": index, **({"event": one.id} if one.id else {}), **result}
            for index, (one, result) in enumerate(zip(events, results, strict=True))
        ]

    async def _result(
        self, request: web.Request, event: Event | Unreadable, as_sent: Callable[[Event], Event]
    ) -> Result:
        if isinstance(event, Unreadable):
            return _not_taken(400, event.reason)
        try:
            receipt = await self._take_in(as_sent(event))
        except sa.exc.OperationalError:
            return _not_taken(503, AWAY)
        except TooMany:
            return _not_taken(503, AT_ONCE)
        except Exception:  # a bug that one event uncovers is that event's answer
            log.exception("an event ended with a bug of ours")  # the log shows only its kind and place
            return _not_taken(500, "a bug of ours; the log names it")
        if receipt.outcome is Outcome.REFUSED:
            return _not_taken(_REFUSALS.get(receipt.reason, 422), receipt.reason, receipt.problems)
        return {"status": 202, **_accepted(request, receipt)}

    async def get(self, request: web.Request) -> web.Response:
        named = request.match_info["id"]
        # Signed in place of a body: else a copy of the headers would read the status of each event of this sender.
        sender = self._recognised(request) or self._signer(request, named.encode("utf-8", "surrogatepass"))
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
        return web.json_response(_as_json(status, _address(request, event_id)), headers={"Cache-Control": "no-store"})

    def _recognised(self, request: web.Request) -> EventSender | None:
        """The request's sender; None where it is signed, which needs its body. Raises Refused."""
        if not self._keys:
            hint = "add [web.senders.NAME] with keys to onboarding.toml"
            raise Refused(problem(403, "no sender has a key", hint=hint))
        if has_credentials_twice(request):
            raise Refused(problem(400, TWICE))
        if "Authorization" in request.headers:
            return _known(request, bearer(request.headers["Authorization"], self._keys))
        if SIGNATURE not in request.headers:
            return _known(request, "neither an Authorization header nor a signature")
        why = refused_unread(request.headers, now=self.clock())
        return _known(request, why) if why else None

    def _signer(self, request: web.Request, content: bytes) -> EventSender:
        """Who has signed the request with this content. Raises Refused."""
        return _known(request, signature(request.headers, content, self._keys, self.clock()))

    def _check_allowance(self, sender: EventSender) -> None:
        """Raises Refused where it posts too often."""
        if seconds := self._allowance.take(sender.name, monotonic()):
            why = "more events than event_limit allows this sender"
            raise Refused(problem(429, why, retry_after=seconds))


def _known(request: web.Request, found: EventSender | str) -> EventSender:
    """The sender. Raises Refused where it is the reason why there is none."""
    if isinstance(found, EventSender):
        return found
    request[REFUSED] = f"events: {found}"
    raise Refused(problem(401, found, headers={"WWW-Authenticate": "Bearer"}))


def _as_sent(event: Event, *, sender: EventSender, signed_at: datetime | None, trace: str | None) -> Event:
    trace = event.traceparent or trace
    return replace(event, sender=sender, actor=sender.name, traceparent=trace, signed_at=signed_at)


def _accepted(request: web.Request, receipt: EventReceipt) -> dict[str, Any]:
    """The answer to an event that was taken, ignored, or known already."""
    assert receipt.id is not None  # noqa: S101 -- only a refused event has none; for the type checker
    is_duplicate = receipt.outcome is Outcome.DUPLICATE
    outcome = receipt.first if is_duplicate else receipt.outcome
    answer = {"id": str(receipt.id), "state": outcome.value, "href": _address(request, receipt.id)}
    if receipt.reason:
        answer["detail"] = receipt.reason
    return answer | ({"duplicate": True} if is_duplicate else {})


def _address(request: web.Request, event_id: uuid.UUID) -> str:
    """It includes the path that this application is mounted under, if it is mounted."""
    return str(request.app.router[ADDRESS].url_for(id=str(event_id)))


def _not_taken(status: int, detail: str, problems: Sequence[FieldProblem] = ()) -> Result:
    state = NOT_KNOWN if status >= 500 else Outcome.REFUSED.value
    named = listed(problems or [FieldProblem("", detail, "")])
    return {"status": status, "state": state, "detail": detail, "problems": named}


def _answer_to_many(results: Sequence[Result]) -> web.Response:
    counts = Counter("duplicate" if "duplicate" in result else result["state"] for result in results)
    if results and counts[NOT_KNOWN] == len(results):
        return problem(results[0]["status"], results[0]["detail"], retry_after=RETRY_SECONDS)
    states = (*(outcome.value for outcome in Outcome), NOT_KNOWN)
    facts = {"events": len(results), **{state: counts[state] for state in states}, "results": results}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(RETRY_SECONDS)} if counts[NOT_KNOWN] else {})
    mixed = counts[NOT_KNOWN] or counts[Outcome.REFUSED.value]
    return web.json_response(facts, status=207 if mixed else 202, headers=headers)  # Multi-Status: each has its own


def _as_json(status: Any, address: str) -> dict[str, Any]:
    job: dict[str, Any] | None = None
    if status.job is not None:
        names = ("created_at", "changed_at", "due_at")
        job = {"id": status.job, "batch": status.batch_id, "state": status.state.value}
        job |= {"reason": status.reason, "result": status.result}
        job |= {name: _written(getattr(status, name)) for name in names}
        job["session"] = status.session and {
            "state": status.session.value,
            "issued_at": _written(status.issued_at),
            "expires_at": _written(status.expires_at),
        }
    elif status.job_id is not None:
        job = {"id": status.job_id, "state": "purged"}
    return {
        "id": str(status.id),
        "href": address,
        "type": status.kind.value,
        "state": status.outcome.value,
        "detail": status.detail,
        "occurred_at": _written(status.occurred_at),
        "received_at": _written(status.received_at),
        "job": job,
    }


def _written(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
