"""Simulates customers who have the worker's own link: they come to its page, press the button, and act in the session.

    a message with /s/ID --> when it is time, the page is opened --> its form is posted --> the session's link --> acts

What a customer does is drawn by the address that the message went to, and not by the link, which is another one each
time that the worker runs with a new database.
"""

import asyncio
import functools
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from onboarding_sandbox.behaviour import NEVER, STAY_AWAY, Chance
from onboarding_sandbox.log import Log
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.people.customers import Customers, Instruction
from onboarding_sandbox.people.webhook_sender import DelayedTasks
from onboarding_sandbox.wire import PAGE, WHATSAPP

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


class Browser:
    """Sends visits to the page at this address, and nowhere else: no redirect is followed."""

    def __init__(self, page: str) -> None:
        self._page = page.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def browse(self, visit: Visit) -> Visited:
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

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


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
        self._browser = Browser(options.page or "")
        self._browse = browse or self._browser.browse
        self._people: dict[str, _Person] = {}
        self._own_seed = secrets.randbits(32) if options.seed is None else options.seed

    def reset(self) -> None:
        self._people.clear()

    async def stop(self) -> None:
        await self._browser.stop()

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
