"""Simulates the customers: when they open their links, what they do there, and which webhooks follow. Who has the
worker's own link comes to its page, presses the button, and acts in the session:

    a message with /s/ID --> when it is time, the page is opened --> its form is posted --> the session's link --> acts

What such a customer does is drawn by the address that the message went to, and not by the link, which is another one
each time that the worker runs with a new database.
"""

import asyncio
import functools
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, unquote

import aiohttp

from onboarding_sandbox.endpoints.idenfy import Partner
from onboarding_sandbox.options import NEVER, NO_TROUBLE, STAY_AWAY, Chance, SandboxOptions, Trouble
from onboarding_sandbox.people.plans import IDLE, Step, encoded, frankieone_token, idenfy_headers, private_key, steps
from onboarding_sandbox.people.webhook_sender import WRONG_KEY, DelayedTasks, Webhook, WebhookSender
from onboarding_sandbox.wire import IDENFY_KYC, PAGE, WHATSAPP, Answer, Call, Log, Opened, opened_by

DEFAULT_EDITION = "current"
ANY_LINK = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True)
class Instruction:
    """What a customer does, and how the webhooks are sent. Times are in the customers' time. `after` None: at once; for
    a link that expires, at the end of its life. `review`, `url` and `key` None: as in the options."""

    does: str
    after: timedelta | None = None
    review: timedelta | None = None
    trouble: Trouble = NO_TROUBLE
    url: str | None = None
    key: str | None = None
    edition: str = DEFAULT_EDITION


class Customers:
    """The customers of one sandbox. `sessions` has all opened sessions, in order."""

    def __init__(
        self, options: SandboxOptions, partner: Partner, delayed: DelayedTasks, webhook_sender: WebhookSender
    ) -> None:
        self._options, self._partner, self._delayed, self._webhook_sender = options, partner, delayed, webhook_sender
        self._nth: Counter[tuple[str, str]] = Counter()
        self._by: dict[str, Opened] = {}
        self._waiting: dict[str, Instruction] = {}  # what who waits for a message will do, by the session's token
        self.sessions: list[Opened] = []
        # A customer who decides once has a seed to decide by, though the options may have none.
        self._own_seed = secrets.randbits(32) if options.seed is None else options.seed
        self._jwt_key = private_key(options.webhook_jwt_key) if options.webhook_jwt_key else None

    def reset(self) -> None:
        self._nth.clear()
        self._by.clear()
        self._waiting.clear()
        self.sessions.clear()

    def find(self, name: str) -> Opened | None:
        """The newest session with this token, reference or client."""
        return self._by.get(name)

    def at(self, link: str) -> Opened | None:
        """The session that this link opens."""
        names = re.split(r"[/?#&=]", unquote(link))
        return next((opened for name in reversed(names) if name and (opened := self._by.get(name))), None)

    def opened(self, endpoint: str, call: Call, answer: Answer) -> None:
        """Store a session that an endpoint has opened, and let its customer begin."""
        opened = opened_by(endpoint, call, answer)
        if opened is None:
            return
        self.sessions.append(opened)
        self._by |= {name: opened for name in (opened.client, opened.reference, opened.token) if name}
        customer = (endpoint, opened.client)
        self._nth[customer] += 1
        if not self._options.customers or self._options.page is not None:
            return  # nobody comes, or by the worker's own link
        # Drawn by the customer and the number of its sessions, so that the order of arrival does not matter.
        chance = Chance(self._options.seed, *customer, self._nth[customer])
        decides = Chance(self._own_seed, *customer) if self._options.customers_keep else chance
        does = decides.of(self._options.customers, NEVER)
        after = None if does in IDLE else chance.between(*self._options.customers_after)
        instruction = Instruction(does, after, trouble=chance.trouble(self._options.webhook_troubles))
        if self._options.customers_by_message and does not in STAY_AWAY:
            self._waiting[opened.token] = instruction
        else:
            self.instruct(opened, instruction)

    def got(self, text: str) -> None:
        """A message with this text has arrived: the customers who have waited for its links begin."""
        for link in ANY_LINK.findall(text) if self._waiting else ():
            opened = self.at(link.rstrip(".,;:!?)"))
            if opened is not None and (instruction := self._waiting.pop(opened.token, None)) is not None:
                self.instruct(opened, instruction)

    def instruct(self, opened: Opened, instruction: Instruction) -> list[str]:
        """Let the customer do this. Returns the names of the events that will be sent, in order."""
        life = opened.expires_at - self._options.clock()
        does = instruction.does
        after = instruction.after if instruction.after is not None else life if does in IDLE else timedelta(0)
        if does not in (*IDLE, NEVER) and after >= life:
            does, after = "expire", life  # too late: the link has expired by then
        opened.does = does
        reasons = self._options.deny_reasons
        opened.deny_reason = reasons[sum(opened.reference.encode()) % len(reasons)]
        review = self._options.review_after if instruction.review is None else instruction.review
        plan = steps(opened.endpoint, does, review=review, edition=instruction.edition)
        if does == "open":
            opened.state = "opened"
        if plan:
            self._delayed.later(after, functools.partial(self._act, opened, instruction, plan))
        return [step.event for step in plan]

    def address(self, endpoint: str) -> str | None:
        """The address of the endpoint's webhooks: its own, or the common address with its name appended."""
        known = self._options.webhooks
        if endpoint in known:
            return known[endpoint]
        return f"{known['']}/{endpoint}" if "" in known else None

    async def _act(self, opened: Opened, instruction: Instruction, plan: tuple[Step, ...]) -> None:
        if instruction.does == "open" and opened.does != "open":
            return  # the customer has come back before the end, and done something
        acted_at = self._options.clock()
        held_back = []
        for number, step in enumerate(plan):
            await self._delayed.wait(step.after)
            now = self._options.clock()
            body = step.body(opened, acted_at, now)
            opened.state = step.event
            if opened.endpoint == IDENFY_KYC:
                self._partner.decide(opened.client, opened.reference, step.status)
            if (webhook := self._webhook(opened, instruction, step.event, body)) is None:
                continue
            if number == 0:
                await self._delayed.wait(instruction.trouble.late)
            if instruction.trouble.swapped:
                held_back.append(webhook)
            else:
                await self._webhook_sender.send(webhook, instruction.trouble)
        for webhook in reversed(held_back):
            await self._webhook_sender.send(webhook, instruction.trouble)

    def _webhook(
        self, opened: Opened, instruction: Instruction, event: str, fields: Mapping[str, Any]
    ) -> Webhook | None:
        url = instruction.url or self.address(opened.endpoint)
        if url is None:
            return None
        body, of = encoded(fields), (opened.client, opened.reference)
        if opened.endpoint.startswith("idenfy"):
            sign = functools.partial(idenfy_headers, event, body)
            key = self._options.webhook_key if instruction.key is None else instruction.key
            return Webhook("idenfy", event, url, body, lambda: sign(key), *of, forged_headers=sign(WRONG_KEY))
        request_id = fields["requestId"]
        sign = functools.partial(self._frankie_headers, request_id)
        forged = f"{url.rpartition('/')[0]}/not-the-secret/{request_id}", {"Authorization": "Bearer not-a-token"}
        return Webhook("frankieone", event, f"{url}/{request_id}", body, sign, *of, *forged)

    def _frankie_headers(self, request_id: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._jwt_key is not None:
            token = frankieone_token(self._jwt_key, request_id, at=self._options.clock())
            headers["Authorization"] = f"Bearer {token}"
        return headers


LINK = re.compile(r"/s/([A-Za-z0-9_-]{24})(?![A-Za-z0-9_-])")
FORM = re.compile(r'name="form" value="([^"]+)"')
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
# Real seconds, whatever the scale of the customers' time: the page counts no press of the first two seconds.
READS = 5.0
LATER = 60.0  # where the page cannot be reached, or says no time itself
LOADS = 20  # after so many answers that lead to no session the customer gives up, until the next message
TIMEOUT = 30.0  # real seconds; the page waits for a session for some seconds


@dataclass(frozen=True)
class Visit:
    """A request to the page. `path` has the link's secret part."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Visited:
    """The page's answer. `status` 0: there was none. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    cookie: str = ""


Browse = Callable[[Visit], Awaitable[Visited]]


@dataclass(repr=False)
class _Person:
    """A customer, known by the link. `addresses`: where messages with it went. Secret and personal, so no repr."""

    path: str
    number: int
    addresses: set[str] = field(default_factory=set)
    comings: int = 0
    is_coming: bool = False
    cookie: str = ""


class Visitors:
    """Customers who come by the link of a message. They do so where the options have the page's address."""

    def __init__(
        self, options: SandboxOptions, customers: Customers, delayed: DelayedTasks, log: Log, browse: Browse | None
    ) -> None:
        """`browse` takes the visits in this process; None: they go to the page's address."""
        self._options, self._customers, self._delayed, self._log = options, customers, delayed, log
        self._page, self._browse = (options.page or "").rstrip("/"), browse or self._sent
        self._session: aiohttp.ClientSession | None = None
        self._people: dict[str, _Person] = {}
        self._own_seed = secrets.randbits(32) if options.seed is None else options.seed

    def reset(self) -> None:
        self._people.clear()

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _sent(self, visit: Visit) -> Visited:
        """Visit the page at its address, and nowhere else: no redirect is followed."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            jar = aiohttp.DummyCookieJar()  # each customer keeps a cookie of its own
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, trust_env=False)
        call = self._session.request(
            visit.method, self._page + visit.path, headers=visit.headers, data=visit.body, allow_redirects=False
        )
        try:
            async with call as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                cookie = answer.cookies["visit"].value if "visit" in answer.cookies else ""
                return Visited(answer.status, headers, await answer.text(), cookie)
        except (TimeoutError, aiohttp.ClientError, OSError, UnicodeDecodeError):
            return Visited(0)

    def got(self, address: str, text: str) -> None:
        """A message has arrived: its customer will decide whether to come, unless it is about to come already."""
        if self._options.page is None:
            self._customers.got(text)
            return
        if not self._options.customers:
            return
        if (found := LINK.search(text)) is None:
            return
        person = self._people.setdefault(found[1], _Person(found[0], len(self._people)))
        person.addresses.add(address.removeprefix(WHATSAPP))
        if not person.is_coming:
            person.is_coming = True
            person.comings += 1
            self._delayed.later(self._options.customers_after[0], functools.partial(self._decide, person))

    async def _decide(self, person: _Person) -> None:
        """Decide, some time after the message: of an email and a text of the same moment neither is always first."""
        try:
            name = min(person.addresses)
            chance = Chance(self._own_seed, "visitor", name, person.comings)
            decides = Chance(self._own_seed, "visitor", name) if self._options.customers_keep else chance
            does = decides.of(self._options.customers, NEVER)
            if does in STAY_AWAY:
                return
            first, last = self._options.customers_after
            await self._delayed.wait(chance.between(timedelta(0), last - first))
            link = await self._through_the_page(person)
            opened = self._customers.at(link) if link else None
            if opened is not None and not opened.does:  # else the customer is back in a session
                trouble = chance.trouble(self._options.webhook_troubles)
                self._customers.instruct(opened, Instruction(does, trouble=trouble))
        finally:
            person.is_coming = False

    async def _through_the_page(self, person: _Person) -> str:
        """The session's link, to which the page has led; "": it led to none."""
        answer = await self._ask(person, "GET", person.path)
        for _ in range(LOADS):
            if 300 <= answer.status < 400:
                return answer.headers.get("location", "")
            form = FORM.search(answer.text) if answer.status == 200 else None
            if form is not None:
                await asyncio.sleep(READS)
                answer = await self._ask(person, "POST", person.path, f"form={quote_plus(form[1])}".encode())
                continue
            seconds, path = _looks_again(answer, person.path)
            if seconds is None:
                break  # the page says that there is nothing to do, or that the link leads nowhere
            await asyncio.sleep(seconds)
            answer = await self._ask(person, "GET", path)
        return ""

    async def _ask(self, person: _Person, method: str, path: str, body: bytes = b"") -> Visited:
        # Each customer has an address of its own, if the worker trusts this proxy: the page limits each address.
        headers = BROWSER | {
            "X-Forwarded-For": f"10.{person.number >> 16 & 255}.{person.number >> 8 & 255}.{person.number & 255}"
        }
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if person.cookie:
            headers["Cookie"] = f"visit={person.cookie}"
        facts: dict[str, Any] = {"client": min(person.addresses), "event": "press" if method == "POST" else "visit"}
        entry = self._log.open(PAGE, self._options.clock(), **facts)
        answer = await self._browse(Visit(method, path, headers, body))
        person.cookie = answer.cookie or person.cookie
        self._log.done(entry, status=answer.status or "unreachable", processed=300 <= answer.status < 400)
        return answer


def _looks_again(answer: Visited, path: str) -> tuple[float | None, str]:
    """After how many seconds the page is asked again, and where; None: not any more."""
    if answer.status in (0, 429) or answer.status >= 500:
        return _seconds(answer.headers.get("retry-after", "")), path
    refresh = answer.headers.get("refresh")
    if refresh is None:
        return None, path
    seconds, _, url = refresh.partition(";")
    return _seconds(seconds), url.strip().removeprefix("url=") or path


def _seconds(text: str) -> float:
    return float(text) if text.strip().isdecimal() else LATER
