"""The simulated customers: the messages that they get, what they do, and what providers and senders report of it.

What they do comes from the model, with its constants. The reports come late, twice, again after days and out of order,
as a seeded generator decides; some are forged.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from tests.trials.month.model import (
    AFTER_A_REMINDER,
    HOUR,
    IN_REVIEW,
    UNTIL_BOUNCE,
    UNTIL_STOP,
    Behaviour,
    Customer,
    Rules,
)
from trials.month.agenda import Agenda
from trials.month.post import Post
from trials.month.providers import Held, Providers
from trials.month.setting import PLAYED, number_of
from worker.sandbox.endpoints.opened import Opened
from worker.sandbox.mailbox import Mail
from worker.sandbox.people import plans, webhooks_idenfy, webhooks_messages
from worker.sandbox.texts import Text
from worker.senders.contract import MayWrite, Message, NoLookUp, Receipt

LINK = re.compile(r"token=([0-9a-f]{40})", re.IGNORECASE)
LATE = timedelta(seconds=30)  # the most delay of a first report
REPEATED, REPLAYED, FORGED = 0.3, 0.1, 0.1
# The sandbox's names of the customers' actions (worker/sandbox/behaviour.py).
EXPIRES = "expire"
DOES = {Behaviour.DENIED: "deny", Behaviour.REVIEWED: "review"}


@dataclass
class Person:
    """One customer, as the world outside sees it."""

    customer: Customer
    invitations: list[datetime] = field(default_factory=list)
    reminders: list[datetime] = field(default_factory=list)

    @property
    def messages(self) -> int:
        return len(self.invitations) + len(self.reminders)


@dataclass(frozen=True, repr=False)
class Sent:
    """A message that arrived. `key` is its sender's id of it."""

    channel: str
    key: str
    to: str
    at: datetime


class People:
    """The customers. `complaints` are messages that no customer may get, and wrong answers of the application."""

    def __init__(
        self,
        customers: list[Customer],
        rules: Rules,
        providers: Providers,
        agenda: Agenda,
        clock: Callable[[], datetime],
        draw: random.Random,
    ) -> None:
        self.people = {customer.number: Person(customer) for customer in customers}
        self.complaints: list[str] = []
        self.reports = 0
        self.strangers = 0  # reports that match no customer
        self._post: Post  # `send_to`
        self._rules, self._providers, self._agenda, self._clock, self._draw = rules, providers, agenda, clock, draw

    def send_to(self, post: Post) -> None:
        """Set the receiver of the reports. Call it before anything is sent."""
        self._post = post

    def watch(self, held: Held) -> None:
        """A session was opened: some providers report its end."""
        person = self.people[held.customer]
        if person.customer.endpoint.reports_expiry:
            self._agenda.add(held.opened.expires_at, partial(self._expires, held))

    def got(self, channel: str, message: Message) -> str:
        """A message arrives. Returns the sender's id of it."""
        now = self._clock()
        person = self.people[number_of(message.to)]
        key = message.key if channel == "email" else f"SM{message.key}"
        is_reminder = "reminder" in message.text.lower()
        (person.reminders if is_reminder else person.invitations).append(now)
        self._check_hour(person, now)
        self._arrived(person, message.text, Sent(channel, key, message.to, now), is_reminder=is_reminder)
        return key

    def _arrived(self, person: Person, text: str, sent: Sent, *, is_reminder: bool) -> None:
        """The customer reads the message, and will do what it does."""
        held = self._opens(person, text, sent.at)
        if held is not None:
            self._does(person, held, sent, is_reminder=is_reminder)

    def _opens(self, person: Person, text: str, now: datetime) -> Held | None:
        """The session that the message's link opens."""
        number, endpoint = person.customer.number, person.customer.endpoint
        found = LINK.search(text)
        held = self._providers.by_token.get(found[1]) if found else None
        if held is None or held.customer != number:
            self.complaints.append(f"customer {number} got a message without a link of its own")
            return None
        if held is not self._providers.sessions[number][-1]:
            self.complaints.append(f"customer {number} got the link of a session that was replaced")
        if held.done:
            self.complaints.append(f"customer {number} was written to after finishing")
        if held.opened.expires_at - now < endpoint.floor:
            self.complaints.append(f"customer {number} got a link with less than {endpoint.floor} left")
        return held

    def _check_hour(self, person: Person, now: datetime) -> None:
        if self._rules.quiet is not None:
            begins, ends = self._rules.quiet
            hour = (now + timedelta(hours=person.customer.ahead)).hour
            if (begins <= hour < ends) if begins < ends else (hour >= begins or hour < ends):
                number = person.customer.number
                self.complaints.append(f"customer {number} was written to at night, at {hour} o'clock")

    def _does(self, person: Person, held: Held, sent: Sent, *, is_reminder: bool) -> None:
        behaviour = person.customer.behaviour
        first = person.messages == 1
        opened = held.opened
        match behaviour:
            case Behaviour.AT_ONCE | Behaviour.DENIED | Behaviour.REVIEWED if not is_reminder:
                self._finishes(held, sent.at + HOUR)
            case Behaviour.SECOND_LINK if not is_reminder and held.number == 2:
                self._finishes(held, sent.at + HOUR)
            case Behaviour.LAST_DAY if not is_reminder:
                self._finishes(held, opened.expires_at - (opened.expires_at - opened.at) / 10)
            case Behaviour.AFTER_REMINDER if is_reminder:
                self._finishes(held, sent.at + AFTER_A_REMINDER)
            case Behaviour.STOPS if first:
                self._agenda.add(sent.at + UNTIL_STOP, partial(self._stops, sent))
            case Behaviour.BOUNCES if first:
                self._agenda.add(sent.at + UNTIL_BOUNCE, partial(self._report_delivery, sent, "bounced"))
                return
            case Behaviour.BOUNCES if not is_reminder:
                self._finishes(held, sent.at + HOUR)
            case Behaviour.NEVER if first and self._draw.random() < FORGED:
                self._forge(held, sent.at + HOUR)
        self._delivers(sent)

    def _delivers(self, sent: Sent) -> None:
        """Half of the messages are reported as delivered."""
        if self._draw.random() < 0.5:
            self._later(sent.at, partial(self._report_delivery, sent, "delivered"))

    # Reports of the provider.

    def _finishes(self, held: Held, at: datetime) -> None:
        self._agenda.add(at, partial(self._finished, held))

    async def _finished(self, held: Held, when: datetime) -> None:
        if held.done:
            return
        held.done = True
        behaviour = self.people[held.customer].customer.behaviour
        does = DOES.get(behaviour, "finish")
        review = IN_REVIEW if behaviour is Behaviour.REVIEWED else timedelta(0)
        if does == "finish" and self._draw.random() < 0.5:
            does = "review"  # the review takes no time
        if does == "review" and held.opened.endpoint.startswith("frankieone"):
            does = "finish"  # the provider has no event for a review, only for results
        self._report(held, does, when, review=review)

    async def _expires(self, held: Held, when: datetime) -> None:
        if not held.done:
            self._report(held, EXPIRES, when)

    def _report(self, held: Held, does: str, acted_at: datetime, *, review: timedelta = timedelta(0)) -> None:
        edition = self._draw.choice(["current", "idv", "v2.0.0"])
        at = acted_at
        for step in plans.steps(held.opened.endpoint, does, review=review, edition=edition):
            at += step.after
            self._event(held.account, held.opened, step, acted_at, at)

    def _forge(self, held: Held, at: datetime) -> None:
        """Send two false events: one for this customer without a valid key, and a genuine one about a stranger."""
        stranger = replace(held.opened, client="stranger", reference=str(uuid4()), external_ref=str(uuid4()))
        for step in plans.steps(held.opened.endpoint, "finish", review=timedelta(0), edition="current"):
            for opened, forged in ((held.opened, True), (stranger, False)):
                body = webhooks_idenfy.encoded(step.body(opened, at, at))
                self.strangers += not forged
                self._later(at, partial(self._send_event, held.account, step.event, body, forged))

    def _event(self, account: str, opened: Opened, step: plans.Step, acted_at: datetime, at: datetime) -> None:
        body = webhooks_idenfy.encoded(step.body(opened, acted_at, at))
        act = partial(self._send_event, account, step.event, body, False)
        self._later(at, act)
        if self._draw.random() < REPEATED:
            self._later(at, act)
        if self._draw.random() < REPLAYED:
            # Whole hours, because something is due then anyway.
            self._agenda.add(at + timedelta(hours=self._draw.randint(3, 300)), act)

    async def _send_event(self, account: str, event: str, body: bytes, forged: bool, when: datetime) -> None:
        status = await self._post.send_provider_event(account, event, body, self._clock(), forged=forged)
        self._answered(status, f"{account} {event}", forged=forged)

    # Reports of the senders.

    async def _stops(self, sent: Sent, when: datetime) -> None:
        """The customer opts out: by an answer to a text, or by a complaint about an email."""
        if sent.channel == "email":
            return await self._report_delivery(sent, "complained", when)
        fields = webhooks_messages.answered(_text(sent), PLAYED.twilio_account, "Stop.")
        self._answered(await self._post.send_twilio_event(fields), "an answered text")

    async def _report_delivery(self, sent: Sent, what: str, when: datetime) -> None:
        if sent.channel == "email":
            mail = Mail(1, sent.at, "", (sent.to,), f"Message-ID: <{sent.key}@example.com>\r\n\r\n".encode())
            status = await self._post.send_mail_event(webhooks_messages.mail_event(mail, what, at=when), self._clock())
        else:
            fields = webhooks_messages.text_status(_text(sent), PLAYED.twilio_account, what, "", at=when)
            status = await self._post.send_twilio_event(fields)
        self._answered(status, f"{sent.channel} {what}")

    def _later(self, at: datetime, act: Callable[..., object]) -> None:
        self._agenda.add(at + self._draw.random() * LATE, act)  # type: ignore[arg-type]

    def _answered(self, status: int, what: str, *, forged: bool = False) -> None:
        self.reports += 1
        if not (status == 401 if forged else 200 <= status < 300):
            self.complaints.append(f"{what}{', forged,' if forged else ''} was answered {status}")


def _text(sent: Sent) -> Text:
    return Text(1, sent.at, sent.key, sent.to, "+15005550006", "", None, None)


class Mailman(NoLookUp):
    """The sender of one channel: it accepts every message, which arrives at once."""

    def __init__(self, channel: str, people: People) -> None:
        self._channel, self._people = channel, people

    def repeatable(self) -> bool:
        return True

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt:
        if may_write is not None:
            may_write(False)
        return Receipt(self._people.got(self._channel, message))

    async def close(self) -> None:
        pass
