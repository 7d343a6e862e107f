"""The sandbox as a whole: one event loop, one web server, one SMTP server, no thread. It handles every provider call:
checks credentials and limits, delays, spoils or serves it, and logs it.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from multidict import CIMultiDict

from onboarding_sandbox.endpoints.frankieone import HostedUrl, IndividualToken
from onboarding_sandbox.endpoints.frankieone_v1 import IdvalidateToken
from onboarding_sandbox.endpoints.idenfy import KybToken, KycListing, KycToken, Partner
from onboarding_sandbox.endpoints.twilio import FetchAccount, ListTexts, SendText, Text
from onboarding_sandbox.faults import SPOILT, STATUSES, TOO_MANY_AS_400, Draw, Fault, Limits, retry_after, wait_of
from onboarding_sandbox.mailbox import Mailbox
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.pages import Pages
from onboarding_sandbox.people.customer_pages import CustomerPages, PlayedPage
from onboarding_sandbox.people.customers import Browse, Customers, Visitors
from onboarding_sandbox.people.recipients import Recipients
from onboarding_sandbox.people.webhook_sender import DelayedTasks, Taker, WebhookSender
from onboarding_sandbox.wire import HTTP_ENDPOINTS, TWILIO, Answer, Call, Endpoint, Entry, Log

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

    async def handle(self, endpoints: Sequence[Endpoint], request: web.Request) -> web.StreamResponse:
        """As aiohttp's handler. `endpoints` are those of the address, each with its own method."""
        endpoint = next((one for one in endpoints if one.method == request.method), endpoints[0])
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
                self._log.done(entry, status="hung")
                # aiohttp has no event for a caller that disconnects.
                while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
                    await asyncio.sleep(HANG_LOOK)
            case _:
                self._log.done(entry, status="dropped")
                if request.transport is not None:
                    request.transport.abort()
        return web.Response()  # aiohttp needs one; the connection is closed already

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


def _note(entry: Entry, answer: Answer) -> None:
    """Write into the log entry what the endpoint did."""
    entry |= {"processed": answer.processed, "reference": answer.reference, "token": answer.token}
    entry["client"] = answer.client or entry["client"]


# When the sandbox stops, calls that are not answered yet (delayed or hanging) are cut off after this many seconds.
LAST_ANSWERS = 0.05
BACKLOG = 1024


class Sandbox:
    """`async with Sandbox(SandboxOptions(...)) as sandbox:` starts it and stops it completely."""

    def __init__(
        self, options: SandboxOptions | None = None, *, taker: Taker | None = None, browse: Browse | None = None
    ) -> None:
        """`taker`: as for WebhookSender, `browse`: as for Visitors, for a sandbox that is called in this process and
        listens on no port."""
        self.options = options or SandboxOptions()
        self._log = Log()
        self._delayed = DelayedTasks(self.options.time_scale)
        self._webhook_sender = WebhookSender(self._log, self.options.clock, self._delayed, taker)
        self._recipients = Recipients(
            self.options, self._delayed, self._webhook_sender, lambda to, text: self.visitors.got(to, text)
        )
        self.mailbox = Mailbox(self.options, self._log, received=self._recipients.mailed)
        self._gate = Gate(self.options, self._log, served=self._was_served)
        partner = Partner(self.options)
        self.customers = Customers(self.options, partner, self._delayed, self._webhook_sender)
        self.visitors = Visitors(self.options, self.customers, self._delayed, self._log, browse)
        self.texts: list[Text] = []  # the accepted ones, in order
        self._endpoints: list[Endpoint] = [
            *(KycToken(partner), KycListing(partner), KybToken(partner)),
            *(kind(self.options) for kind in (IdvalidateToken, IndividualToken, HostedUrl)),
            *(kind(self.options, self.texts) for kind in (SendText, ListTexts, FetchAccount)),
        ]
        self._pages = Pages(
            self._log, self.mailbox, self.texts, self._endpoints, smtp_port=lambda: self.smtp_port, forget=self.reset
        )
        self._customer_pages = CustomerPages(self.customers, self._recipients, self.texts, self.mailbox)
        self._played_page = PlayedPage(self.customers, self.options.clock, self._log)
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.smtp_port = 0

    @property
    def url(self) -> str:
        """Where the web server listens: "http://127.0.0.1:9200". Provider addresses start with it."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self.port}"

    @property
    def log(self) -> list[Entry]:
        """The received calls and messages, in order of arrival; the same as GET /_sandbox/log."""
        return self._log.entries

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """The answer to a call of this process, without a connection and without faults; None: no endpoint is there."""
        parts = urlsplit(url)
        found = [(one, path) for one in self._endpoints if (path := _path(one.route, parts.path)) is not None]
        if not found:
            return None
        endpoint, path = next(((one, path) for one, path in found if one.method == method), found[0])
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return self._gate.answer(
            endpoint, method, Call(self.options.clock(), url, CIMultiDict(headers), path, query, body)
        )

    def reset(self) -> None:
        """Clear everything received: log, mailbox, sessions, credits, limits. The faults start again. Customers who
        were about to act do nothing more."""
        self._delayed.forget()
        self.customers.reset()
        self.visitors.reset()
        self._recipients.reset()
        self._log.reset()
        self.mailbox.reset()
        self._gate.reset()
        for endpoint in self._endpoints:
            endpoint.reset()

    async def start(self) -> None:
        """Listen on both ports. Raises OSError if a port is in use; then nothing is left running."""
        app = web.Application()
        for route in dict.fromkeys(endpoint.route for endpoint in self._endpoints):
            endpoints = [endpoint for endpoint in self._endpoints if endpoint.route == route]
            app.router.add_route("*", route, partial(self._gate.handle, endpoints))
        app.add_routes(self._pages.routes())
        app.add_routes(self._customer_pages.routes())
        app.add_routes(self._played_page.routes())
        app.router.add_route("*", "/{path:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_ANSWERS)
        try:
            if self.options.log_file is not None:
                self._log.write_to(self.options.log_file)
            await self._runner.setup()
            site = web.TCPSite(self._runner, self.options.host, self.options.port, backlog=BACKLOG)
            await site.start()
            self.port = self._runner.addresses[0][1]
            self.smtp_port = await self.mailbox.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close both servers and every connection. Stopping twice is harmless."""
        await self._delayed.stop()
        await self._webhook_sender.stop()
        await self.visitors.stop()
        await self.mailbox.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._log.close()

    async def idle(self) -> None:
        """Return when the customers have nothing more to do, and their webhooks were accepted or given up."""
        await self._delayed.idle()

    def _was_served(self, endpoint: str, call: Call, answer: Answer) -> None:
        if endpoint == TWILIO and answer.processed:
            self._recipients.texted(self.texts[-1])
        else:
            self.customers.opened(endpoint, call, answer)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _unknown(self, request: web.Request) -> web.Response:
        """Answer a call to an unknown address: most often a wrong base_url, or a redirect that was followed."""
        entry = self._log.open("unknown", self.options.clock(), path=request.path)
        slashed = request.path + "/"
        # The provider's framework redirects a call without the final slash to the address with it.
        moved = any(endpoint.route == slashed for endpoint in self._endpoints)
        self._log.done(entry, status=301 if moved else 404)
        if moved:
            return web.Response(status=301, headers={"Location": slashed})
        return web.json_response({"message": "Not found."}, status=404)


def _path(route: str, path: str) -> dict[str, str] | None:
    """The values in the path, if it is one of this route."""
    found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route), path)
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}
