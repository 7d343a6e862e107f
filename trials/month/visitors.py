"""Customers who have our own link: they come to our page, press its button, and are led to a session. And scanners.

When they come is the model's. Their requests go through the web application's own routes. Each is a browser with a
cookie. Before a customer reads a mail, a program has opened its links: it may buy nothing, and may change nothing.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote_plus

from aiohttp import web

from tests.trials.month.model import AFTER_A_REMINDER, HOUR, MINUTE, UNTIL_BOUNCE, UNTIL_STOP, Behaviour, Customer
from tests.trials.month.stable_model import COMES_BACK, DOES_ITS_PART, NEVER_COMES, READS
from trials.month.people import LINK, People, Person, Sent
from trials.month.providers import ANSWERS_AFTER, Held
from worker.inbound.web.dashboard.forms import FORM

OUR_LINK = re.compile(r"https://onboard\.example\.com(/s/[\w-]{24})(?![\w-])")
FORM_OF_PAGE = re.compile(r'name="form" value="([^"]+)"')
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
KNOWN_SCANNER = {"User-Agent": "Mozilla/5.0 (compatible; Barracuda Sentinel)"}
FETCHED_AHEAD = BROWSER | {"Sec-Purpose": "prefetch;prerender"}
LOADS = 20  # the most times that a page which waits is looked at again


@dataclass(repr=False)
class Doorstep:
    """A customer's link, and the browser that it is opened with. Secret, so no repr."""

    path: str
    cookie: str = ""
    is_coming: bool = False
    visits: int = 0  # that led to a session
    loads: int = 0
    not_me: bool = False


class Visitors(People):
    """The customers. `complaints` are also visits that lead where no customer may be led."""

    def __init__(self, *given: Any, on_click: bool) -> None:
        super().__init__(*given)
        self._doorsteps: dict[int, Doorstep] = {}
        self._on_click = on_click

    # Messages.

    def _arrived(self, person: Person, text: str, sent: Sent, *, is_reminder: bool) -> None:
        door = self._door_of(person, text)
        if door is None:
            return
        if sent.channel == "email" or self._draw.random() < 0.2:
            self._later(sent.at, partial(self._scans, person.customer, door.path))
        behaviour, first = person.customer.behaviour, person.messages == 1
        if behaviour is Behaviour.BOUNCES and first:
            self._agenda.add(sent.at + UNTIL_BOUNCE, partial(self._report_delivery, sent, "bounced"))
            return
        if behaviour is Behaviour.STOPS and first:
            self._agenda.add(sent.at + UNTIL_STOP, partial(self._stops, sent))
        reminded = is_reminder and behaviour is Behaviour.AFTER_REMINDER
        if not door.is_coming and (reminded or behaviour not in NEVER_COMES):
            self._comes(person, door, sent.at + (AFTER_A_REMINDER if reminded else HOUR))
        self._delivers(sent)

    def _door_of(self, person: Person, text: str) -> Doorstep | None:
        number = person.customer.number
        found = OUR_LINK.search(text)
        if found is None or LINK.search(text):
            self.complaints.append(f"customer {number} got a message without our link, or with the provider's")
            return None
        door = self._doorsteps.setdefault(number, Doorstep(found[1]))
        held = self._last(number)
        for wrong, complaint in (
            (door.path != found[1], "got another link than before"),
            (door.not_me, 'was written to after saying "not me"'),
            (held is not None and held.done, "was written to after finishing"),
        ):
            if wrong:
                self.complaints.append(f"customer {number} {complaint}")
        return door

    def _last(self, number: int) -> Held | None:
        return (self._providers.sessions[number] or [None])[-1]

    # Visits.

    def _comes(self, person: Person, door: Doorstep, at: datetime) -> None:
        door.is_coming, door.loads = True, 0
        says = self._says_not_me if person.customer.behaviour is Behaviour.NOT_ME else self._visits
        self._agenda.add(at, partial(says, person, door))

    async def _visits(self, person: Person, door: Doorstep, when: datetime) -> None:
        ask = partial(self._ask, person.customer, door, "GET", door.path)
        answer = await self._once_or_more(person, ask)
        self._answered_visit(person, door, answer, when)

    async def _presses(self, person: Person, door: Doorstep, form: str, came: datetime, _when: datetime) -> None:
        press = partial(self._ask, person.customer, door, "POST", door.path, _encoded(form))
        self._answered_visit(person, door, await self._once_or_more(person, press), came)

    async def _once_or_more(self, person: Person, ask: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """The first answer. An impatient customer asks again at once, during the call for a session, and after it."""
        if person.customer.behaviour is not Behaviour.TWICE:
            return await ask()

        async def later(seconds: float) -> web.Response:
            await asyncio.sleep(seconds)
            return await ask()

        first, *_ = await asyncio.gather(*(later(seconds) for seconds in (0, ANSWERS_AFTER / 2, ANSWERS_AFTER * 10)))
        return first

    def _answered_visit(self, person: Person, door: Doorstep, answer: web.Response, came: datetime) -> None:
        """`came`: when the visit began."""
        number = person.customer.number
        if location := answer.headers.get("Location", ""):
            self._led(person, door, location, came)
        elif form := FORM_OF_PAGE.search(answer.text or ""):
            self._agenda.add(self._clock() + READS, partial(self._presses, person, door, form[1], came))
        elif "Refresh" in answer.headers:
            door.loads += 1
            if door.loads > LOADS:
                self.complaints.append(f"customer {number} waits for a session for ever")
            else:  # no earlier than the next step
                again = lambda _when: self._visits(person, door, came)  # noqa: E731
                self._agenda.add(self._clock() + MINUTE / 2, again)
        elif answer.status not in (200, 404):
            self.complaints.append(f"a visit of customer {number} was answered {answer.status}")

    def _led(self, person: Person, door: Doorstep, location: str, came: datetime) -> None:
        number, now = person.customer.number, self._clock()
        found = LINK.search(location)
        held = self._providers.by_token.get(found[1]) if found else None
        if held is None or held is not self._last(number) or not held.is_alive(now):
            self.complaints.append(f"customer {number} was led to no session, or to one that is not its own live one")
            return
        door.visits += 1
        behaviour, opened = person.customer.behaviour, held.opened
        lives = opened.expires_at - opened.at
        if behaviour is Behaviour.SPENDS:
            self._comes(person, door, opened.expires_at + HOUR)
        elif behaviour in COMES_BACK and door.visits == 1:
            last_day = behaviour is Behaviour.LAST_DAY
            self._comes(person, door, opened.expires_at + (-lives / 10 if last_day else HOUR))
        else:
            self._finishes(held, came + DOES_ITS_PART)

    async def _says_not_me(self, person: Person, door: Doorstep, _when: datetime) -> None:
        answer = await self._ask(person.customer, door, "GET", f"{door.path}/not-me")
        form = FORM_OF_PAGE.search(answer.text or "")
        if form is None:
            self.complaints.append(f'customer {person.customer.number} cannot say "not me"')
            return
        self._agenda.add(self._clock() + READS, partial(self._is_not_meant, person, door, form[1]))

    async def _is_not_meant(self, person: Person, door: Doorstep, form: str, _when: datetime) -> None:
        ask = partial(self._ask, person.customer, door)
        await ask("POST", f"{door.path}/not-me", _encoded(form))
        door.not_me = True
        if (await ask("GET", door.path)).status != 404:
            self.complaints.append(f'the link of customer {person.customer.number} leads on after "not me"')

    # Scanners.

    async def _scans(self, customer: Customer, path: str, _when: datetime) -> None:
        """A program opens the message's link. One that looks like a browser comes only where a visit buys nothing: with
        sessions ahead a visit after the session's end is the customer's."""
        held = self._last(customer.number)
        kinds: list[Callable[[Customer, Doorstep], Any]] = [self._heads, self._fetches, self._waits_and_posts]
        if self._on_click or (held is not None and held.is_alive(self._clock())):
            kinds += [self._follows, self._follows]
        await self._draw.choice(kinds)(customer, Doorstep(path))

    async def _heads(self, customer: Customer, robot: Doorstep) -> None:
        await self._ask(customer, robot, "HEAD", robot.path)

    async def _fetches(self, customer: Customer, robot: Doorstep) -> None:
        for headers in (KNOWN_SCANNER, FETCHED_AHEAD):
            await self._ask(customer, robot, "GET", robot.path, headers=headers)

    async def _waits_and_posts(self, customer: Customer, robot: Doorstep) -> None:
        """It says what it is, and presses after real time."""
        await self._posts_forms(customer, robot, after=timedelta(minutes=1), headers=KNOWN_SCANNER)

    async def _follows(self, customer: Customer, robot: Doorstep) -> None:
        """It looks like a browser, follows what the page has, and posts each form at once."""
        await self._posts_forms(customer, robot, after=timedelta(0), headers=BROWSER)

    async def _posts_forms(
        self, customer: Customer, robot: Doorstep, *, after: timedelta, headers: Mapping[str, str]
    ) -> None:
        for path in (robot.path, f"{robot.path}/not-me"):
            page = await self._ask(customer, robot, "GET", path, headers=headers)
            if form := FORM_OF_PAGE.search(page.text or ""):
                post = partial(self._ask, customer, robot, "POST", path, _encoded(form[1]), headers=headers)
                if after:
                    self._agenda.add(self._clock() + after, lambda _when, post=post: post())
                else:  # in the agenda it could wait for others' acts, and then count as a person's press
                    await post()

    async def _ask(
        self,
        customer: Customer,
        door: Doorstep,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] = BROWSER,
    ) -> web.Response:
        given = {**headers, "Content-Type": FORM} if body else dict(headers)
        if door.cookie:
            given["Cookie"] = f"visit={door.cookie}"
        # Each customer is behind an address of its own.
        remote = f"10.{customer.number >> 16 & 255}.{customer.number >> 8 & 255}.{customer.number & 255}"
        answer = await self._post.visit(method, path, given, body, remote=remote)
        if "visit" in answer.cookies:
            door.cookie = answer.cookies["visit"].value
        return answer


def _encoded(form: str) -> bytes:
    return b"form=" + quote_plus(form).encode()
