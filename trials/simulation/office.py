"""What people do meanwhile: more lists of the same customers, decisions about lists, the service desk.

Each act is a function. What it is about is drawn again, to the same, when it is given again: a process may have died
between two of its transactions.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.features import loaded
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.store.added_lines import add_lines, all_added
from onboarding_worker.lists.store.new_rows import Chunk
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.wiring.container import Parts
from tests.suite.of_features import of_features
from trials.simulation.plan import FLOOR, Act, Person
from trials.simulation.setting import ROUTES, customer_of

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

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
) -> int:
    batch, _ = parts.batches.open(name="list.csv", digest=name, again=False, now=now, plan=plan, hold=hold)
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
        for person in people
    ]
    add_lines(
        parts.batches, batch.id, Chunk.of(parts.batches.keyring, batch.id, lines), priority=BATCH, now=now, added=added
    )
    all_added(parts.batches, batch.id, now=now)
    return batch.id


class Office:
    def __init__(self, simulation: "Simulation", act: Act) -> None:
        self.simulation, self.act, self.chance = simulation, act, random.Random()

    def do(self, parts: Parts) -> None:
        self.chance = random.Random(f"{self.simulation.plan.seed}/{self.act}")
        lists = [row.id for row in self.simulation.observer.rows("SELECT id FROM batch ORDER BY id")]
        _act(self.act.what)(self, parts, self.chance.choice(lists))

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
    import_list(parts, some, str(office.act), now=parts.clock(), hold=hold)


def pause(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.pause(batch, by="ann", now=parts.clock())


def stop(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.interrupt(batch, by="ann", now=parts.clock())


def resume(_office: Office, parts: Parts, batch: int) -> None:
    parts.decisions.resume(batch, now=parts.clock())


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
    """The last act of a history: no list stays paused."""
    for row in office.simulation.observer.rows("SELECT id FROM batch WHERE cancelled_at IS NULL ORDER BY id"):
        parts.decisions.resume(row.id, now=parts.clock())


ACTS: dict[str, Do] = {
    one.__name__: one
    for one in (another_list, pause, stop, resume, run_again, cancel, retry, repeat, abandon, all_go_on)
}


def _act(name: str) -> Do:
    found: Do = ACTS[name] if name in ACTS else loaded(dict(of_features("OFFICE"))[name])
    return found
