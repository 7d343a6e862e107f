"""What is asked of the worker: a list, events, and an operator's decisions about the list."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.database.job_ids import row_of as row_number
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind, Outcome
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.lists.store.adopted import store
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.wiring.container import Parts
from trials.simulation.office import Office, import_list
from trials.simulation.plan import Person
from trials.simulation.records import Kind
from trials.simulation.setting import customer_of, row_of

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

AGAIN = 5.0  # the bus delivers an event again that was not acknowledged
RESUMES = 60.0  # an operator resumes a paused list after that long
LOOKS = 0.2  # how often the verdict on a pilot is looked for
PASSES = "sent >= 1 and bounced <= 50% within 2 minutes"
EVENTS = {"cancelled": EventKind.CANCELLED, "updated": EventKind.UPDATED, "erased": EventKind.ERASED}


class Requests:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world = simulation.world
        self.left = 0  # that are not done yet

    def come(self) -> None:
        """Import the list now, before anything goes wrong, and plan the rest."""
        plan = self._simulation.plan
        listed = [person for person in plan.people if person.asked_at is None]
        self._adopt([person for person in listed if person.adopted])
        batch = self._import([person for person in listed if not person.adopted])
        for person in plan.people:
            if person.asked_at is not None:
                self._event(person.asked_at, EventKind.REQUESTED, person, row_of(person))
            if person.event:
                new = {"locale": "lt"} if person.event == "updated" else {}
                self._event(person.event_at, EVENTS[person.event], person, {"customer_id": person.id, **new})
        at = plan.operator_at
        if plan.operator == "pause":
            pause = lambda parts: parts.decisions.pause(batch, by="ops", now=parts.clock())  # noqa: E731
            self._decide(at, "paused", pause, then=lambda: self._resume(batch))
        if plan.operator == "cancel":
            ids = [person.id for person in listed]
            self._decide(at, "cancelled", lambda parts: parts.decisions.cancel(batch, now=parts.clock()), ids)
        for act in plan.acts:
            self._decide(act.at, f"the office: {act.what}", Office(self._simulation, act).do)
        if plan.pilot:
            self.left += 1
            self._await_verdict(batch)
        if plan.stopped_at:
            stop = lambda parts: parts.emergency_stops.stop(by="ops", reason="", now=parts.clock())  # noqa: E731
            self._decide(plan.stopped_at, "stopped", stop, then=lambda: self._decide(RESUMES, "went on", self._go_on))

    def _resume(self, batch: int) -> None:
        def resume(parts: Parts) -> None:
            parts.decisions.resume(batch, now=parts.clock())
            self._simulation.note("a person does", detail=f"onboard resume {batch}")

        self._decide(RESUMES, "resumed", resume)

    def _go_on(self, parts: Parts) -> None:
        self._simulation.note("goes on")  # before, since the answer may be lost
        parts.emergency_stops.go_on(now=parts.clock())
        self._simulation.note("a person does", detail="onboard resume --all")

    def _await_verdict(self, batch: int) -> None:
        """Note when the verdict on the pilot is there. If it did not pass, an operator resumes the list."""
        ((verdict,),) = self._simulation.observer.rows(f"SELECT verdict FROM batch_plan WHERE batch_id = {batch}")
        if not verdict:
            self._world.later(LOOKS, self._await_verdict, batch)
            return
        self.left -= 1
        self._simulation.note(f"verdict: {verdict}")
        if verdict == "not_met":
            self._resume(batch)

    def _import(self, people: list[Person]) -> int:
        pilot = self._simulation.plan.pilot
        plan = Plan(first=str(pilot), condition=PASSES) if pilot else None
        parts, witness = self._simulation.running[0].parts, self._simulation.witness
        batch = import_list(parts, people, "list", now=self._world.clock(), plan=plan, witness=witness)
        for person in people:
            self._simulation.note("requested", person.id)
        return batch

    def _adopt(self, people: list[Person]) -> None:
        """Import the sessions that another tool has opened, as `--adopt` stores them; it has sent their links."""
        parts, adopted = self._simulation.running[0].parts, {}
        for person in people:
            call = self._simulation.wire.open_elsewhere(person)
            found = parts.providers[call.account].adopted(  # type: ignore[attr-defined]
                SessionRequest(customer_of(person), ""),
                token=call.token,
                reference=self._simulation.wire.opened[call.token].reference,
                expires_at=self._world.at(call.expires_at),
            )
            if not isinstance(found, Session):
                raise TypeError(found)
            adopted[person.number + 2] = (customer_of(person), found)

        def added(connection: Any, ids: Sequence[int]) -> None:
            by_job = {id_: adopted[row_number(id_)] for id_ in ids}
            store(connection, parts.keyring, by_job, parts.contact, invites=False, now=self._world.clock())

        if people:
            import_list(parts, people, "adopted", now=self._world.clock(), added=added)
            self._simulation.witness.adopts({person.id for person in people})
        for person in people:
            self._simulation.note("requested", person.id)
        for call in self._simulation.record.of(Kind.ADOPTED):
            self._simulation.people.got(call)

    def _event(self, at: float, kind: EventKind, person: Person, data: dict[str, Any]) -> None:
        word = kind.value.rpartition(".")[2]
        event = Event("/signup", f"{word}-{person.id}", kind, data, sender=OPERATOR)

        def acknowledged(stored: tuple[Outcome, float]) -> None:
            # It counts from when it was stored. A process may stand still before it acknowledges it, and a request may
            # come meanwhile. A duplicate was taken before, and its acknowledgement was lost: when is not known.
            outcome, stored_at = stored
            taken = outcome is Outcome.TAKEN or (outcome is Outcome.DUPLICATE and kind is EventKind.REQUESTED)
            if outcome is Outcome.DUPLICATE:
                self._simulation.record.note(at, f"{word}, at the earliest", person.id)
            self._simulation.record.note(stored_at, word if taken else f"{word}: {outcome}", person.id)

        self._until_done(at, lambda process, done: process.receive(event, done), acknowledged)

    def _decide(
        self,
        at: float,
        word: str,
        act: Callable[[Parts], Any],
        customers: Sequence[str] = ("",),
        then: Callable[[], None] = lambda: None,
    ) -> None:
        decided = False

        def once(parts: Parts) -> None:
            # A command that is given again, because nothing was heard of it, changes nothing after it was heard of.
            if not decided:
                self._simulation.witness.acts(word)
                act(parts)

        def done(_result: Any) -> None:
            nonlocal decided
            decided = True
            self._done(word, customers)
            then()

        self._until_done(at, lambda process, heard: process.do(once, heard), done)

    def _until_done(
        self, at: float, give: Callable[[Any, Callable[[Any], None]], None], then: Callable[[Any], None]
    ) -> None:
        """Give it to a process, and again to another one until it is done once."""
        self.left += 1
        is_done = False

        def done(result: Any) -> None:
            nonlocal is_done
            if not is_done:
                is_done = True
                self.left -= 1
                then(result)

        def try_it() -> None:
            if is_done:
                return
            process = self._simulation.some_process()
            if process is not None:
                give(process, done)
            self._world.later(AGAIN, try_it)

        self._world.later(at, try_it)

    def _done(self, word: str, customers: Sequence[str]) -> None:
        for customer in customers:
            self._simulation.note(word, customer)
