"""Handles every provider call: checks credentials and limits, delays, spoils or serves it, and logs it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from onboarding_sandbox.faults import SPOILT, STATUSES, TOO_MANY_AS_400, Draw, Fault, Limits, retry_after, wait_of
from onboarding_sandbox.log import Entry, Log
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import HTTP_ENDPOINTS, Answer, Call, Endpoint

LONG_AGO = "2020-01-01T00:00:00Z"
STRANGE = "https://phishing.example/verify?session=1"
# The wrong value, under each provider's name of the field.
WRONG: dict[str, dict[str, Any]] = {
    "past-expiry": {"expiration": LONG_AGO, "tokenExpiry": LONG_AGO, "urlExpiry": LONG_AGO, "expiryTime": -3600},
    "strange-link": {
        "redirectUrl": STRANGE,
        "sessionUrl": STRANGE,
        "url": STRANGE,
        "vendorParameters": {"tokenURL": STRANGE},
    },
    "wrong-token": {"authToken": 12345, "tokenString": {"value": "t"}, "token": ["t"], "url": ["t"]},
}

HUGE_CHUNK = b'"' + b"a" * 65_534 + b'",'
HUGE_CHUNKS = 1_024  # 64 MiB in all
# The target of redirects: on this server, so that the log shows a client that follows one.
ELSEWHERE = "/_sandbox/elsewhere"
GATEWAY_PAGE = (
    "<!doctype html><html><head><title>Just a moment</title></head><body><h1>Just a moment</h1></body></html>"
)
# How often a hanging call checks whether its caller has disconnected, in seconds.
HANG_LOOK = 0.25

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Called for each call that an endpoint has served, whatever answer the caller gets.
Served = Callable[[str, Call, Answer], None]


def spoilt(kind: str, answer: Answer) -> Answer:
    """The answer with the wrong value of this `kind`. A refusal stays as it is."""
    if not isinstance(answer.body, dict) or answer.status >= 300:
        return answer
    wrong = {name: value for name, value in WRONG[kind].items() if name in answer.body}
    return Answer(answer.status, {**answer.body, **wrong}, dict(answer.headers))


class Gate:
    """One for all endpoints of a sandbox."""

    def __init__(self, options: SandboxOptions, log: Log, *, served: Served) -> None:
        self._served = served
        self._options = options
        self._log = log
        self._limits = Limits(options.limits)
        self._draws = {
            name: Draw(name, [fault for fault in options.faults if fault.concerns(name)], options.seed)
            for name in HTTP_ENDPOINTS
        }
        self._waits = {name: wait_of(name, options.latencies) for name in HTTP_ENDPOINTS}

    def reset(self) -> None:
        self._limits.reset()
        for draw in self._draws.values():
            draw.restart()

    def handler(self, *endpoints: Endpoint) -> Handler:
        """The aiohttp handler of the endpoints of one address, each with its own method."""

        async def handle(request: web.Request) -> web.StreamResponse:
            matching = (endpoint for endpoint in endpoints if endpoint.method == request.method)
            return await self._handle(next(matching, endpoints[0]), request)

        return handle

    async def _handle(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        now = self._options.clock()
        entry = self._log.open(endpoint.name, now, body)
        call = Call(now, str(request.url), request.headers, request.match_info, request.query, body)
        refused = self._refused(endpoint, request.method, call, entry)
        if refused is not None:
            return self._reply(entry, refused)
        fault = self._draws[endpoint.name].next()
        if delay := self._waits[endpoint.name]:
            await asyncio.sleep(delay)
            call.now = self._options.clock()
        if fault is None:
            return self._reply(entry, self._serve(endpoint, call))
        return await self._spoil(fault, entry, endpoint, call, request)

    def answer(self, endpoint: Endpoint, method: str, call: Call) -> Answer:
        """The answer to a call of this process: as over HTTP, but at once and without faults."""
        entry = self._log.open(endpoint.name, call.now, call.body)
        answer = self._refused(endpoint, method, call, entry) or self._serve(endpoint, call)
        self._noted(entry, answer)
        return answer

    def _refused(self, endpoint: Endpoint, method: str, call: Call, entry: Entry) -> Answer | None:
        """The refusal of a call with another method, without credentials, or above a limit."""
        if method != endpoint.method:
            answer = endpoint.refusal(405)
            answer.headers["Allow"] = endpoint.method
            return answer
        credential = endpoint.credential(call)
        if isinstance(credential, Answer):
            return credential
        wait = self._limits.count(endpoint, credential, call.now)
        if not wait:
            return None
        entry["client"] = endpoint.client(call)
        answer = endpoint.refusal(429)
        when = retry_after(self._options.limit_retry_after, wait, call.now)
        if when is not None:
            answer.headers["Retry-After"] = when
        return answer

    async def _spoil(
        self, fault: Fault, entry: Entry, endpoint: Endpoint, call: Call, request: web.Request
    ) -> web.StreamResponse:
        entry["fault"] = fault.kind
        entry["client"] = endpoint.client(call)
        # The endpoint serves the call, though the caller gets a faulty answer.
        served = self._serve(endpoint, call) if fault.processed else None
        if served is not None:
            _note(entry, served)
        if fault.kind in STATUSES or fault.kind == TOO_MANY_AS_400:
            answer = endpoint.refusal(400 if fault.kind == TOO_MANY_AS_400 else int(fault.kind))
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = fault.retry_after
            return self._reply(entry, answer, served)
        if fault.kind in SPOILT and served is not None:
            return self._reply(entry, spoilt(fault.kind, served), served)
        match fault.kind:
            case "html":
                return self._reply(entry, Answer(200, GATEWAY_PAGE), served)
            case "redirect":
                return self._reply(entry, Answer(307, {}, {"Location": ELSEWHERE}), served)
            case "half-body" if served is not None:
                return await self._half(entry, served, request)
            case "huge":
                return await self._huge(entry, request)
            case "hang":
                return await self._hang(entry, request)
            case _:
                return self._drop(entry, request)

    def _serve(self, endpoint: Endpoint, call: Call) -> Answer:
        answer = endpoint.serve(call)
        self._served(endpoint.name, call, answer)
        return answer

    def _noted(self, entry: Entry, answer: Answer, served: Answer | None = None) -> None:
        if served is None:
            _note(entry, answer)
        self._log.done(entry, status=answer.status)

    def _reply(self, entry: Entry, answer: Answer, served: Answer | None = None) -> web.Response:
        self._noted(entry, answer, served)
        return web.Response(
            status=answer.status, body=answer.encoded(), headers=answer.headers, content_type=answer.content_type
        )

    def _drop(self, entry: Entry, request: web.Request) -> web.Response:
        self._log.done(entry, status="dropped")
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # aiohttp needs one; the connection is closed already

    async def _half(self, entry: Entry, served: Answer, request: web.Request) -> web.StreamResponse:
        self._log.done(entry, status=served.status)
        whole = served.encoded()
        answer = web.StreamResponse(status=served.status, headers={"Content-Length": str(len(whole))})
        answer.content_type = served.content_type
        answer.force_close()
        await answer.prepare(request)
        await answer.write(whole[: len(whole) // 2])
        if request.transport is not None:
            request.transport.close()
        return answer

    async def _huge(self, entry: Entry, request: web.Request) -> web.StreamResponse:
        """A list of 64 MiB. A client that bounds the size of answers disconnects long before its end."""
        self._log.done(entry, status=200)
        answer = web.StreamResponse(status=200)
        answer.content_type = "application/json"
        await answer.prepare(request)
        try:
            await answer.write(b"[")
            for _ in range(HUGE_CHUNKS):
                await answer.write(HUGE_CHUNK)
            await answer.write(b'""]')
        except ConnectionError:
            answer.force_close()
        return answer

    async def _hang(self, entry: Entry, request: web.Request) -> web.Response:
        self._log.done(entry, status="hung")
        # aiohttp has no event for a caller that disconnects.
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(HANG_LOOK)
        return web.Response()


def _note(entry: Entry, answer: Answer) -> None:
    """Write into the log entry what the endpoint did."""
    entry |= {"processed": answer.processed, "reference": answer.reference, "token": answer.token}
    entry["client"] = answer.client or entry["client"]
