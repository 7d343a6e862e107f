"""What people do meanwhile: more lists of the same customers, decisions about lists, the service desk.

Each act is a function. What it is about is drawn again, to the same, when it is given again: a process may have died
between two of its transactions.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.foundation.features import loaded
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.importing.list_import import USUAL, ImportChoices
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.store.added_lines import add_lines, all_added
from onboarding_worker.lists.store.new_rows import Chunk
from onboarding_worker.plans.store.plans import Plan, set_most_credits
from onboarding_worker.wiring.container import Parts
from tests.suite.of_features import of_features
from trials.simulation.plan import FLOOR, Act, Person
from trials.simulation.setting import ROUTES, customer_of
from trials.simulation.witness import Witness

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

LATER, MANY = timedelta(minutes=15), 2000  # until a planned list begins; credits, more than a history uses
Do = Callable[["Office", Parts, int], object]  # the list: one of those that are there


def import_list(
    parts: Parts,
    people: Collection[Person],
    name: str,
    *,
    now: datetime,
    plan: Plan | None = None,
    hold: str = "",
    added: Callable[[Any, Sequence[int]], None] | None = None,
    choices: ImportChoices = USUAL,
    witness: Witness | None = None,
) -> int:
    """`witness`: who asks before what `check` forecasts."""
    lines = [
        AcceptedLine(
            person.number + 2,
            customer_of(person),
            ROUTES[person.account][0],
            "",
            int(FLOOR),
            ROUTES[person.account][1:],
            int(FLOOR),
        )
        for person in sorted(people, key=lambda one: one.number)  # the rows of a file ascend
    ]
    forecast = witness.forecast(lines, name, choices, plan=plan, held=bool(hold)) if witness is not None else None
    batch, _ = parts.batches.open(name="list.csv", digest=name, again=False, now=now, plan=plan, hold=hold)
    if batch.cancelled_at is not None:  # since its first import, whose end was not heard: an import adds nothing then
        if witness is not None:
            witness.takes_back(forecast)
        return batch.id
    chunk = Chunk.of(parts.batches.keyring, batch.id, lines)
    found = add_lines(parts.batches, batch.id, chunk, priority=BATCH, now=now, added=added, choices=choices)
    if witness is not None and forecast is not None:
        witness.imported(forecast, batch.id, found)
    all_added(parts.batches, batch.id, now=now)
    return batch.id


class Office:
    def __init__(self, simulation: "Simulation", act: Act) -> None:
        self.simulation, self.act, self.chance = simulation, act, random.Random()

    def do(self, parts: Parts) -> None:
        self.chance = random.Random(f"{self.simulation.plan.seed}/{self.act}")
        lists = [row.id for row in self.simulation.observer.rows("SELECT id FROM batch ORDER BY id")]
        _act(self.act.what)(self, parts, self.chance.choice(lists))

    def did(self, command: str) -> None:
        self.simulation.note("a person does", detail=command)

    @property
    def person(self) -> Person:
        return self.chance.choice(self.simulation.plan.people)


def another_list(office: Office, parts: Parts, _list: int) -> None:
    """Of some of the people, half of the time with another address of each."""
    people = office.simulation.plan.people
    some = office.chance.sample(people, office.chance.randint(1, len(people)))
    if office.chance.random() < 0.5:
        some = [replace(one, mailbox=f"list{office.chance.randrange(100)}") for one in some]
        for person in some:
            office.simulation.note("has another address", person.id)
    hold = "until a person agrees" if office.chance.random() < 0.3 else ""
    for person in some:  # before, since the answer may be lost
        office.simulation.note("requested", person.id)
    import_list(parts, some, str(office.act), now=parts.clock(), hold=hold, witness=office.simulation.witness)


def planned_list(office: Office, parts: Parts, _list: int) -> None:
    """Of all of the people: it may cost little, begins later, or goes slowly."""
    now, people = parts.clock(), office.simulation.plan.people
    plans = (Plan(most_credits=office.chance.randint(0, 2)), Plan(start_at=now + LATER), Plan(per_hour=600))
    for person in people:
        office.simulation.note("requested", person.id)
    plan = office.chance.choice(plans)
    import_list(parts, people, str(office.act), now=now, plan=plan, witness=office.simulation.witness)


def other_persons(office: Office, parts: Parts, _list: int) -> None:
    """One comes under the id of another, and nothing agrees: a person has said that it is so."""
    person = replace(office.person, mailbox=f"other{office.chance.randrange(100)}", channel="email")
    for what in ("has another address", "requested"):
        office.simulation.note(what, person.id)
    choices, witness = ImportChoices(another_person=True), office.simulation.witness
    import_list(parts, [person], str(office.act), now=parts.clock(), choices=choices, witness=witness)


def pause(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.pause(batch, by="ann", now=parts.clock())


def stop(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.interrupt(batch, by="ann", now=parts.clock())


def resume(office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.resume(batch, now=parts.clock())
    office.did(f"onboard resume {batch}")


def more_credits(office: Office, parts: Parts, _list: int) -> None:
    """Each list may cost more."""
    for row in office.simulation.observer.rows("SELECT batch_id FROM batch_plan WHERE most_credits IS NOT NULL"):
        set_most_credits(parts.database, row.batch_id, MANY, now=parts.clock())
        parts.decisions.resume(row.batch_id, now=parts.clock())
        office.did(f"onboard resume {row.batch_id} --most-credits N")


def run_again(office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.lift(batch, now=parts.clock())
    parts.decisions.take_leads(batch, stopped_only=office.chance.random() < 0.5, now=parts.clock())


def cancel(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.cancel(batch, now=parts.clock())


def retry(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.retry(Which(batch), now=parts.clock())


def repeat(office: Office, parts: Parts, batch: int) -> None:
    office.simulation.note("a person answers for a second call")
    parts.decisions.resolve(Which(batch), Verdict.REPEAT, now=parts.clock())


def abandon(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.resolve(Which(batch), Verdict.ABANDON, now=parts.clock())


def all_go_on(office: Office, parts: Parts, _list: int) -> None:
    """The last act of a history: no list stays paused, or waits for credits."""
    more_credits(office, parts, _list)
    for row in office.simulation.observer.rows("SELECT id FROM batch WHERE cancelled_at IS NULL ORDER BY id"):
        resume(office, parts, row.id)


ACTS: dict[str, Do] = {
    one.__name__: one
    for one in (
        *(another_list, planned_list, other_persons, more_credits, pause, stop, resume, run_again, cancel, retry),
        *(repeat, abandon, all_go_on),
    )
}


def _act(name: str) -> Do:
    found: Do = ACTS[name] if name in ACTS else loaded(dict(of_features("OFFICE") + of_features("PAPERS"))[name])
    return found
