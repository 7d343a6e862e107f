"""The customers: they open links and finish, and the providers report it, at once, late, twice or never.

Of some a provider reports first that it reviews them, and later what it has decided.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from onboarding_sandbox.people import plans
from onboarding_sandbox.people.plans import encoded, idenfy_headers
from onboarding_worker.providers.webhooks.contract import Delivery
from trials.simulation.plan import DAWDLES, Person
from trials.simulation.records import Call, Kind
from trials.simulation.setting import WEBHOOK_KEY
from trials.simulation.visitors import Visitors

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

FINISHES = (5.0, 120.0)  # seconds after the message arrived
LATE, REVIEW_LATE = (60.0, 3000.0), (60.0, 4500.0)
# What a webhook says; but for these, one before the last says that the provider reviews what the customer has given.
REVIEW, QUESTION, VERDICT = "review", "question", "verdict"
SAYS = {"COMPANY_INFO_REQUEST": QUESTION}
AGAIN = 5.0  # after how long a webhook comes again that could not be stored
TRIES = 40


class People:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._people = {person.id: person for person in simulation.plan.people}
        self._visitors = Visitors(simulation, self)
        self._submitted: set[str] = set()
        self._refused: set[str] = set()
        self.unfinished = 0  # acts that are still to come

    def got(self, message: Call) -> None:
        """A message arrived at its customer."""
        person = self._people.get(message.customer)
        if person is None:
            self._simulation.record.complaints.append("a message went to an address that is on no list")
        elif message.link:
            self._visitors.got(person, message.link)
        elif person.finishes:
            within = DAWDLES if person.dawdles else FINISHES
            self.later(self._world.chance.uniform(*within), partial(self.finish, message.token))

    def finish(self, token: str) -> None:
        """The customer does its part with this session, if it lives."""
        sessions = self._simulation.record.of(Kind.SESSION, Kind.ADOPTED)
        session = next((one for one in sessions if one.token == token and one.processed), None)
        now = self._world.elapsed
        if session is None or session.ended_at is not None or now >= session.expires_at:
            return
        person = self._people[session.customer]
        if (person.review or self._simulation.plan.ahead) and person.id in self._submitted:
            return  # it was told that its documents are looked at
        ends = person.ends_again if person.id in self._refused else person.ends
        session.ended_at = now
        opened = self._simulation.wire.opened[token]
        self._submitted.add(person.id)
        self._simulation.note("finished", person.id, token)
        if session.account == "au":
            return  # this account has no key for webhooks
        after, delay = 0.0, 0.0
        if person.ends_again:
            (self._refused.add if ends == "deny" else self._refused.discard)(person.id)
        steps = plans.steps(opened.endpoint, ends, review=timedelta(seconds=person.review), edition="current")
        for number, step in enumerate(steps):
            after += step.after.total_seconds()
            if number == 0 or step.after:
                delay = self._delay(person)
            says = VERDICT if number == len(steps) - 1 else SAYS.get(step.event, REVIEW)
            happens = partial(self._happens, person, session, step, says, self._world.clock(), delay)
            if after:
                self.later(after, happens)
            else:
                happens()

    def _delay(self, person: Person) -> float:
        """Seconds until a webhook comes."""
        if person.hears != "late":
            return 0.1
        return self._world.chance.uniform(*(REVIEW_LATE if person.review else LATE))

    def _happens(
        self, person: Person, session: Call, step: plans.Step, says: str, acted_at: datetime, delay: float
    ) -> None:
        """The provider has got that far: its list shows it, and its webhook is on the way."""
        opened = self._simulation.wire.opened[session.token]
        self._simulation.note(f"the provider has a {says}", person.id, session.token)
        if says == VERDICT and (self._simulation.plan.renews_for or person.id in self._refused):
            self._submitted.discard(person.id)  # it may be asked again
        if step.status:
            self._simulation.wire.partners[session.account].decide(opened.client, opened.reference, step.status)
        if person.hears == "lost":
            return
        body = encoded(step.body(opened, acted_at, self._world.clock()))
        headers = {name.lower(): value for name, value in idenfy_headers(step.event, body, WEBHOOK_KEY).items()}
        known = partial(self._known, person, session, says)
        send = partial(self._send, session.account, Delivery(body, headers, ()), known, TRIES)
        self.later(delay, send)
        if person.hears == "twice":
            self.later(delay + 1, send)

    def _send(self, account: str, delivery: Delivery, known: partial[None], tries: int) -> None:
        """Post a webhook; it comes again where nobody could store it, as long as the provider is willing."""

        def kept() -> None:
            self.unfinished -= 1
            known()

        def again() -> None:
            self.unfinished -= 1
            if tries:
                self.later(AGAIN, partial(self._send, account, delivery, known, tries - 1))

        self.unfinished += 1
        process = self._simulation.some_process()
        if process is None:
            again()
        else:
            process.webhook(account, delivery, kept, again)

    def _known(self, person: Person, session: Call, says: str) -> None:
        """A webhook is stored; the next sweep applies it."""
        self._simulation.note(f"is known: {says}", person.id, session.token)
        self._simulation.broker.nothing_due = False

    def later(self, seconds: float, act: partial[None]) -> None:
        """The history does not end before."""
        self.unfinished += 1

        def do() -> None:
            self.unfinished -= 1
            act()

        self._world.later(seconds, do)
