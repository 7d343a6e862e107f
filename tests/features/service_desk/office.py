"""What the service desk does in a history of the simulation."""

from dataclasses import replace

from onboarding_worker.core.model.states import BATCH
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.opened import desk_of
from onboarding_worker.features.service_desk.returned_lists import settling
from onboarding_worker.lists.importing.judging import judge_chunk, options_of
from onboarding_worker.lists.lines import Returned
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.added_lines import add_lines, all_added
from onboarding_worker.lists.store.new_rows import Chunk
from onboarding_worker.wiring.container import Parts
from trials.simulation.office import Office


def new_link(office: Office, parts: Parts, _list: int) -> None:
    person = office.person
    office.simulation.note("the desk gives a new link", person.id)
    desk_of(parts).new_link(person.id, now=parts.clock())


def send_again(office: Office, parts: Parts, _list: int) -> None:
    person, same = office.person, office.chance.random() < 0.5
    office.simulation.note("the desk sends it again", person.id, detail="the same link" if same else "")
    desk_of(parts).resend(person.id, same_link=same, now=parts.clock())


def correct(office: Office, parts: Parts, _list: int) -> None:
    person = office.person
    office.simulation.note("has another address", person.id)
    email = replace(person, mailbox=f"desk{office.chance.randrange(100)}").email
    desk_of(parts).correct(person.id, Correction({"email": email}), by_hand=True, now=parts.clock())


def return_report(office: Office, parts: Parts, _list: int) -> None:
    """A report comes back, and some of its rows have another address."""
    name, now, witness = str(office.act), parts.clock(), office.simulation.witness
    people = office.chance.sample(office.simulation.plan.people, office.chance.randint(1, 2))
    corrected = [replace(one, mailbox=f"report{office.chance.randrange(100)}") for one in people]
    for person in corrected:
        office.simulation.note("has another address", person.id, detail=person.email)
    lines = [Returned(one.number + 2, one.id, {"email": one.email}, "invited") for one in corrected]
    foreseen, done = (
        settling(of, ReturnedReport(name=name, options=options_of(of.intake), database=of.database))
        for of in (witness.parts, parts)
    )
    forecast = witness.forecast(lines, name, report=foreseen)
    batch, _ = parts.batches.open(name="report.csv", digest=name, again=False, now=now)
    chunk = Chunk.of(parts.batches.keyring, batch.id, judge_chunk(parts.intake, lines, done))
    witness.imported(forecast, batch.id, add_lines(parts.batches, batch.id, chunk, priority=BATCH, now=now))
    all_added(parts.batches, batch.id, now=now)


def erase(office: Office, parts: Parts, _list: int) -> None:
    person, rows = office.person, office.simulation.observer.rows
    stored = "SELECT count(*) FROM {} WHERE customer_id = '{}' AND encrypted IS NOT NULL"
    was = any(rows(stored.format(table, person.id))[0][0] for table in ("customer", "pending_details"))
    requests = SubjectRequests(parts.database, parts.keyring)
    proof = requests.erase(person.id, reason="", forget_suppressed=False, now=parts.database_clock())
    office.simulation.note("erased", person.id)  # after it, since an outage may have refused it
    office.simulation.note("proof", person.id, detail=f"{was:d} {proof.facts['erased'].get('persons', 0)}")
