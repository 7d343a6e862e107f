"""The customers of a history with stable links: they come to our own page, press its button, and are led to a session.

Their requests go through the web application's own routes, in any of the processes. Each visitor is a browser with a
cookie. A robot posts the form at once, without waiting: that may count for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from onboarding_worker.templates.values import Screen
from trials.simulation.plan import LIFETIME, Person
from trials.simulation.process import Answered

if TYPE_CHECKING:
    from trials.simulation.people import People
    from trials.simulation.play import Simulation

COMES = (5.0, 120.0)  # seconds after the message arrived
COMES_LATE = (LIFETIME, LIFETIME * 1.7)
READS = (2.5, 20.0)  # how long a person looks at the page with the button
SECOND_PRESS = (0.0, 0.2, 1.0)  # at most so many seconds after the first
FINISHES = (5.0, 120.0)  # seconds after the visitor was led to the session
PATIENCE = 20.0  # for an answer; then the page is loaded again
AGAIN = 3.0
SLOWLY = 4  # a page that nobody looks at asks again more rarely than it says, and a history has fewer steps
LOADS = 40  # the most times that a visitor loads pages; our limit is 60 a minute


@dataclass
class Visitor:
    person: Person
    secret: str
    cookie: str = ""
    loads: int = 0
    led: set[str] = field(default_factory=set)  # the tokens of the sessions

    @property
    def path(self) -> str:
        return f"/s/{self.secret}" + ("/not-me" if self.person.visits == "not-me" else "")


class Visitors:
    def __init__(self, simulation: "Simulation", people: "People") -> None:
        self._simulation, self._people, self._world = simulation, people, simulation.world
        self._visitors: dict[str, Visitor] = {}  # by customer

    def got(self, person: Person, secret: str) -> None:
        """A message with our own link arrived. Its customer comes once, whatever arrives later."""
        if not person.visits or person.id in self._visitors:
            return
        self._visitors[person.id] = visitor = Visitor(person, secret)
        comes = self._world.chance.uniform(*(COMES_LATE if person.visits == "late" else COMES))
        if person.visits == "robot":
            robot = Visitor(person, secret)
            self._people.later(comes / 2, partial(self._load, robot, partial(self._robot_loaded, robot)))
        self._later(comes, visitor)

    # What a person does.

    def _later(self, seconds: float, visitor: Visitor) -> None:
        self._people.later(seconds, partial(self._load, visitor, partial(self._loaded, visitor)))

    def _load(self, visitor: Visitor, then: Callable[[Answered], None]) -> None:
        self._note("visits", visitor)
        self._ask(visitor, "GET", b"", then)

    def _loaded(self, visitor: Visitor, answer: Answered) -> None:
        if answer.location:
            self._led(visitor, answer)
        elif answer.form:
            self._people.later(self._world.chance.uniform(*READS), partial(self._press, visitor, answer.form))
        elif answer.again_after:
            self._later(answer.again_after * SLOWLY, visitor)
        elif answer.screen == Screen.STOPPED:
            self._simulation.note("not me", visitor.person.id, visitor.secret)
        elif answer.screen == Screen.LONG:  # its "not me" came in a moment in which a call was being made
            self._later(AGAIN, visitor)

    def _press(self, visitor: Visitor, form: str) -> None:
        self._note("says: not me" if visitor.person.visits == "not-me" else "presses", visitor)
        body = b"form=" + quote_plus(form).encode()
        self._ask(visitor, "POST", body, partial(self._loaded, visitor))
        if visitor.person.visits == "twice":  # the visitor goes where the first of them leads
            second = partial(self._ask, visitor, "POST", body, lambda _answer: None)
            self._people.later(self._world.chance.choice(SECOND_PRESS) * self._world.chance.random(), second)

    def _led(self, visitor: Visitor, answer: Answered) -> None:
        token = answer.location
        self._simulation.record.note(self._world.elapsed, "is led to", visitor.person.id, token)
        first = token not in visitor.led
        visitor.led.add(token)
        if visitor.person.visits == "returns" and len(visitor.led) == 1:
            if first:
                self._later(self._world.chance.uniform(*COMES_LATE), visitor)
            return
        self._people.later(self._world.chance.uniform(*FINISHES), partial(self._people.finish, token))

    # What a robot does.

    def _robot_loaded(self, robot: Visitor, answer: Answered) -> None:
        if answer.form:
            self._note("a robot posts the form", robot)
            self._ask(robot, "POST", b"form=" + quote_plus(answer.form).encode(), lambda _answer: None)

    # Requests.

    def _ask(self, visitor: Visitor, method: str, body: bytes, then: Callable[[Answered], None]) -> None:
        """Ask a process. Where no answer comes, or none that helps, the page is loaded again."""
        visitor.loads += 1
        heard = False

        def hear(answer: Answered | None) -> None:
            nonlocal heard
            if heard:
                return
            heard = True
            if answer is not None:
                visitor.cookie = answer.cookie or visitor.cookie
            if answer is not None and answer.status < 500:
                then(answer)
            elif visitor.loads < LOADS:
                self._later(AGAIN, visitor)

        process = self._simulation.some_process()
        if process is not None:
            process.visit(method, visitor.path, visitor.cookie, body, hear)
        self._people.later(PATIENCE, partial(hear, None))

    def _note(self, what: str, visitor: Visitor) -> None:
        self._simulation.note(what, visitor.person.id)
