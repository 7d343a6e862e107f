"""The customers: they open links and finish, and the providers report it, at once, late, twice or never."""

from functools import partial
from typing import TYPE_CHECKING

from trials.simulation.records import Call, Kind
from trials.simulation.setting import WEBHOOK_KEY
from trials.simulation.visitors import Visitors
from worker.providers.webhooks import Delivery
from worker.sandbox.people import plans, webhooks_idenfy

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

FINISHES = (5.0, 120.0)  # seconds after the message arrived
LATE = (60.0, 3000.0)
AGAIN = 5.0  # after how long a webhook comes again that could not be stored
TRIES = 40


class People:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._people = {person.id: person for person in simulation.plan.people}
        self._visitors = Visitors(simulation, self)
        self.unfinished = 0  # acts that are still to come

    def got(self, message: Call) -> None:
        """A message arrived at its customer."""
        person = self._people.get(message.customer)
        if person is None:
            self._simulation.record.complaints.append("a message went to an address that is on no list")
        elif message.link:
            self._visitors.got(person, message.link)
        elif person.finishes:
            self.later(self._world.chance.uniform(*FINISHES), partial(self.finish, message.token))

    def finish(self, token: str) -> None:
        """The customer does its part with this session, if it lives."""
        session = next(
            (one for one in self._simulation.record.of(Kind.SESSION) if one.token == token and one.processed), None
        )
        now = self._world.elapsed
        if session is None or session.ended_at is not None or now >= session.expires_at:
            return
        session.ended_at = now
        person = self._people[session.customer]
        opened = self._simulation.wire.opened[token]
        self._simulation.note("finished", session.customer)
        if session.account == "au":
            return  # this account has no key for webhooks
        self._simulation.wire.partners[session.account].decide(opened.client, opened.reference, "APPROVED")
        if person.hears == "lost":
            return
        delay = self._world.chance.uniform(*LATE) if person.hears == "late" else 0.1
        for step in plans.steps(opened.endpoint, "finish", review=plans.AT_ONCE, edition="current"):
            at = self._world.clock()
            body = webhooks_idenfy.encoded(step.body(opened, at, at))
            headers = {
                name.lower(): value for name, value in webhooks_idenfy.headers(step.event, body, WEBHOOK_KEY).items()
            }
            send = partial(self._send, session.account, Delivery(body, headers, ()), TRIES)
            self.later(delay, send)
            if person.hears == "twice":
                self.later(delay + 1, send)

    def _send(self, account: str, delivery: Delivery, tries: int) -> None:
        """Post a webhook; it comes again where nobody could store it, as long as the provider is willing."""

        def again() -> None:
            if tries:
                self.later(AGAIN, partial(self._send, account, delivery, tries - 1))

        process = self._simulation.some_process()
        if process is None:
            again()
        else:
            process.webhook(account, delivery, again)

    def later(self, seconds: float, act: partial[None]) -> None:
        """The history does not end before."""
        self.unfinished += 1

        def do() -> None:
            self.unfinished -= 1
            act()

        self._world.later(seconds, do)
