"""What the service desk does in a history of the simulation."""

from dataclasses import replace

from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.opened import desk_of
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
