"""The user's configuration with stand-ins for all that is outside: no address, key or database of it is left; the page
behind our own link, the web server without a socket; and what takes the place of the network: the sandbox answers
calls, takes messages and sends webhooks in this process.

What stays is what a rehearsal is about: routes, limits, caps, hours, reminders, reissues, texts and prices.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.people.customers import Visit, Visited
from onboarding_sandbox.people.webhook_sender import Webhook
from onboarding_sandbox.server import Sandbox
from onboarding_sandbox.wire import SESSIONS, TWILIO, WHATSAPP
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.providers.facts import facts_of
from onboarding_worker.providers.webhooks.contract import Delivery, Unreadable
from onboarding_worker.senders.contract import Message, NoLookUp, Receipt
from onboarding_worker.senders.mime import From, Mailbox, compose
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.model import Broker, Database, Encryption, Settings
from onboarding_worker.settings.policies import stable_links
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.settings.shape import SECTIONS, is_lazy, keys_of, tables_of
from onboarding_worker.web.webhooks.sources import Source
from onboarding_worker.web.webhooks.store.webhooks import Arrived

# No name below .invalid has an address (RFC 6761). If a call left this process all the same, it would arrive nowhere.
NOWHERE = "invalid"
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105 -- invented, as the sandbox's
PLAYED = SandboxOptions()
KEPT = timedelta(days=36500)
TEXT_HOST = f"texts.{NOWHERE}"  # stands for the service of texts and WhatsApp
Browse = Callable[[Visit], Awaitable[Visited]]


def page_of(settings: Settings) -> str | None:
    """The page's address, if messages have our own links."""
    links = stable_links(settings)
    return links.base if links is not None else None


@web.middleware
async def _from_afar(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Each visitor has an address of its own."""
    return await handler(request.clone(remote=request.headers["X-Forwarded-For"]))


async def _browse(session: aiohttp.ClientSession, visit: Visit) -> Visited:
    """The page's answer, as its server sends it."""
    url = URL(f"http://worker.{NOWHERE}{visit.path}", encoded=True)
    call = session.request(visit.method, url, headers=visit.headers, data=visit.body, allow_redirects=False)
    async with call as answer:
        named = {name.lower(): value for name, value in answer.headers.items()}
        cookie = answer.cookies["visit"].value if "visit" in answer.cookies else ""
        return Visited(answer.status, named, await answer.text(), cookie)


@asynccontextmanager
async def opened_page(application: web.Application) -> AsyncIterator[Browse]:
    """`application` has the page's routes, and no timers, which would tick through the days. It is served over a socket
    of this machine's files, where what is written is there at once."""
    application.middlewares.append(_from_afar)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        with TemporaryDirectory(prefix="onboard-") as folder:
            await web.UnixSite(runner, f"{folder}/page").start()
            jar, timeout = aiohttp.DummyCookieJar(), aiohttp.ClientTimeout()
            connector = aiohttp.UnixConnector(f"{folder}/page", force_close=True)
            async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as session:
                yield partial(_browse, session)
    finally:
        await runner.cleanup()


def host_of(account: str) -> str:
    """The host that stands for an account: calls show by it whose they are."""
    return f"account-{account}.{NOWHERE}"


def stood_in(settings: Settings, folder: Path) -> Settings:
    """`folder` gets the database, which only a key made now can read. Raises SettingsError for what is not played."""
    problems = [
        f"accounts.{name}.provider: the sandbox does not play {account.provider}"
        for name, account in settings.accounts.items()
        if account.provider not in SESSIONS
    ]
    if settings.sms is not None and settings.sms.provider != TWILIO:
        problems.append(f"sms.provider: the sandbox does not play {settings.sms.provider}")
    if problems:
        raise SettingsError(problems)
    email, sms = settings.email, settings.sms
    texts = {"base_url": f"https://{TEXT_HOST}/twilio", "callback_key": (), "token": Secret(PLAYED.twilio_token)}
    return settings.model_copy(
        update={
            "database": Database(url=f"sqlite:///{folder}/rehearsal.db"),
            "broker": Broker(url="memory://"),
            "encryption": Encryption(keys=(Secret(new_key()),)),
            "accounts": {name: _account(account) for name, account in settings.accounts.items()},
            "email": email and email.model_copy(update={"tls": None, "ca": None, "url": f"smtp://mail.{NOWHERE}:25"}),
            "sms": sms and sms.model_copy(update=texts),
            # Nothing is removed before it is counted.
            "retention": settings.retention.model_copy(update={"personal": KEPT, "batches": None, "audit": None}),
            "privacy": type(settings.privacy)(),
            "web": type(settings.web)(base_url=settings.web.base_url),
            "bus": None,
            **{
                one.name: one.form() if one.default is ... else one.default
                for one in SECTIONS.offered()
                if _holds_secrets(one.form)
            },
        }
    )


def _holds_secrets(form: Any) -> bool:
    """Whether a key of these tables, or of a table in them, may hold a secret."""
    tables = tables_of(form)
    return tables is not None and any(
        is_lazy(key) or _holds_secrets(key.annotation) for key in keys_of(tables.model).values()
    )


def _account(account: Account) -> Account:
    idenfy = account.provider.startswith("idenfy")
    hears = account.hears_results
    facts = facts_of(account.provider)
    documented = facts.link_hosts if facts else ()
    changes: dict[str, Any] = {
        "base_url": f"https://{host_of(account.name)}/{'idenfy' if idenfy else 'frankieone'}",
        "api_key": Secret(PLAYED.idenfy_key if idenfy else PLAYED.frankieone_key),
        "ca": None,
        "api_secret": Secret(PLAYED.idenfy_secret) if idenfy else None,
        "customer_id": None if idenfy else Secret(PLAYED.frankieone_customer),
        "customer_child_id": None,
        "webhook_keys": (Secret(PLAYED.webhook_key),) if idenfy and hears else (),
        "webhook_secret": (Secret(WEBHOOK_SECRET),) if not idenfy and hears else (),
        "jwt_key": (),
        "unchecked": {},  # the sandbox knows the documented parameters only
        "link_hosts": tuple(dict.fromkeys([*account.link_hosts, *documented])),
    }
    return account.model_copy(update=changes)


def sandbox_options(settings: Settings, clock: Callable[[], datetime], behaviour: Mapping[str, Any]) -> SandboxOptions:
    """The sandbox that serves this configuration. `behaviour`: what its customers do, as its options say."""
    sections = [section for channel in channels_of("phone") if (section := settings.texting(channel)) is not None]
    texting: dict[str, Any] = {}
    if sections:
        texting = {"twilio_account": sections[0].account, "twilio_senders": frozenset(one.from_ for one in sections)}
    # The texts' own address for callbacks; without one there are none, as in reality.
    webhooks = {"": f"https://worker.{NOWHERE}", "callbacks": settings.web.base_url or ""}
    page = page_of(settings)
    return SandboxOptions(clock=clock, webhooks=webhooks, page=page, customers_by_message=True, **texting, **behaviour)


EMAIL = Channel.EMAIL.value


class Wire:
    """Takes the place of `Http`. `made`: when calls and messages left, by account and channel."""

    def __init__(self, options: SandboxOptions, accounts: Mapping[str, object]) -> None:
        self.sandbox = Sandbox(options, taker=self._take, browse=lambda visit: self.page(visit))
        self.page: Browse  # where customers come by our own links; set before any message leaves
        self.made: dict[str, list[datetime]] = defaultdict(list)
        self.told: Callable[[], None] = lambda: None  # called after a webhook was kept
        self._clock = options.clock
        self._accounts = {host_of(name): name for name in accounts}
        self._owners: dict[str, str] = {}  # the account of each session, by the session's reference
        # Webhooks are checked and read by the source of the account, callbacks by that of the channel; and kept if they
        # are good. Set before any message leaves.
        self.sources: Mapping[str, Source]
        self.senders: Mapping[str, Source]
        self.keep: Callable[[Sequence[Arrived]], object]

    def counts(self) -> dict[str, int]:
        """How many calls and messages there were."""
        return {name: len(times) for name, times in self.made.items()}

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109 -- as Http's
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None:
            may_write(False)
        host = urlsplit(request.url).netloc
        account = self._accounts.get(host)
        made = account
        if host == TEXT_HOST and request.method == "POST":  # a GET sends nothing
            (to,) = parse_qs((request.body or b"").decode())["To"]
            made = Channel.WHATSAPP.value if to.startswith(WHATSAPP) else Channel.SMS.value
        if made is not None:
            self.made[made].append(self._clock())
        answer = self.sandbox.answer(request.method, request.url, request.headers, request.body)
        if answer is None:
            return HttpAnswer(404)
        opened = self.sandbox.customers.find(answer.token) if account and answer.token else None
        if account is not None and opened is not None:
            self._owners[opened.reference] = account
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpAnswer(answer.status, {"content-type": answer.content_type, **headers}, answer.encoded())

    async def close(self) -> None:
        """As a sender's client has it: there is nothing to close."""

    def _take(self, webhook: Webhook, headers: Mapping[str, str]) -> int:
        last = webhook.url.rpartition("/")[2]
        is_callback = webhook.family == TWILIO
        owner = self._owners.get(webhook.reference or "", "")
        source = self.senders.get(last) if is_callback else self.sources.get(owner)
        if source is None:
            return 404
        path = (WEBHOOK_SECRET, last) if webhook.family == "frankieone" else ()
        delivery = Delivery(webhook.body, {name.lower(): value for name, value in headers.items()}, path)
        if source.refuses(delivery, ""):
            return 401
        arrived = source.read(delivery)
        if isinstance(arrived, Unreadable):
            return arrived.status
        self.keep([arrived] if isinstance(arrived, Arrived) else arrived)
        self.told()
        return 200


class MailWire(NoLookUp):
    """The sender of emails: each is made as it would be sent, and then is gone."""

    def __init__(self, wire: Wire, from_: str, clock: Callable[[], datetime]) -> None:
        self._wire, self._from, self._clock = wire, From.read(from_), clock

    def repeatable(self) -> bool:
        return True

    async def preflight(self) -> Problem | None:
        return None

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        if may_write is not None:
            may_write(False)
        to = Mailbox.read(message.to)
        if to is None:
            return Problem(Kind.BAD_INPUT, "the address is not a valid mail address", address=AddressIs.REFUSED)
        compose(message, sender=self._from, to=to)
        self._wire.made[EMAIL].append(self._clock())
        self._wire.sandbox.visitors.got(to.address, message.text)
        return Receipt()

    async def close(self) -> None:
        pass
