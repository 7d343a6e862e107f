"""The sandbox as a whole: one event loop, one web server, one SMTP server, no thread."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from multidict import CIMultiDict

from onboarding_sandbox.endpoints.frankieone import HostedUrl, IndividualToken
from onboarding_sandbox.endpoints.frankieone_v1 import IdvalidateToken
from onboarding_sandbox.endpoints.idenfy import KybToken, KycListing, KycToken, Partner
from onboarding_sandbox.endpoints.twilio import FetchAccount, ListTexts, SendText, Text
from onboarding_sandbox.gate import Gate
from onboarding_sandbox.log import Entry, Log
from onboarding_sandbox.mailbox import Mailbox
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.pages import Pages
from onboarding_sandbox.people.customer_pages import CustomerPages, PlayedPage
from onboarding_sandbox.people.customers import Browse, Customers, Visitors
from onboarding_sandbox.people.recipients import Recipients
from onboarding_sandbox.people.webhook_sender import DelayedTasks, Taker, WebhookSender
from onboarding_sandbox.wire import TWILIO, Answer, Call, Endpoint

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
            self.options, self._delayed, self._webhook_sender, reads=lambda to, text: self.visitors.got(to, text)
        )
        self.mailbox = Mailbox(self.options, self._log, received=self._recipients.mailed)
        self._gate = Gate(self.options, self._log, served=self._was_served)
        partner = Partner(self.options)
        self.customers = Customers(self.options, partner, self._delayed, self._webhook_sender)
        self.visitors = Visitors(self.options, self.customers, self._delayed, self._log, browse)
        self._endpoints: list[Endpoint] = [
            KycToken(partner),
            KycListing(partner),
            KybToken(partner),
            IdvalidateToken(self.options),
            IndividualToken(self.options),
            HostedUrl(self.options),
        ]
        self.texts: list[Text] = []  # the accepted ones, in order
        self._endpoints += [kind(self.options, self.texts) for kind in (SendText, ListTexts, FetchAccount)]
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
        call = Call(self.options.clock(), url, CIMultiDict(headers), path, query, body)
        return self._gate.answer(endpoint, method, call)

    def reset(self) -> None:
        """Clear everything received: log, mailbox, sessions, credits, limits. The faults start again.

        Customers who were about to act do nothing more.
        """
        self._delayed.forget()
        self.customers.reset()
        self.visitors.reset()
        self._played_page.reset()
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
            app.router.add_route("*", route, self._gate.handler(*endpoints))
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
