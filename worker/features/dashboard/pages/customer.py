"""Customers: find one, and see what has happened to one. Contact details only for the service desk, and audited."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from worker.core.foundation.keyring import CannotDecrypt
from worker.core.model.channels import CALLED, CHANNELS
from worker.features.dashboard.contract import Asked, Elsewhere, NotThere, Page, Refused, Sources
from worker.features.dashboard.users import Role
from worker.features.service_desk.case import Wanted, wanted
from worker.features.service_desk.opened import finder_of, message_texts
from worker.features.service_desk.store.finding import MOST, Found
from worker.features.service_desk.store.sent_messages import MOST as MOST_MESSAGES
from worker.features.service_desk.store.sent_messages import sent_messages
from worker.features.service_desk.timeline import About, Moment, timeline
from worker.wiring.stores import Stores

PATH = "/dashboard/customers"
ONE = f"{PATH}/{{customer}}"


def page_of(customer_id: str) -> str:
    return f"{PATH}/{quote(customer_id, safe='')}"


def find(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """One hit leads to the customer's page. The audit log says who has looked: seven searches show who is a customer,
    though each address is masked."""
    text = asked.text("q", most=320)
    if text:
        finder_of(sources.acting(asked.person, "customer find", "")).searched(text, now=asked.now)
    found = finder_of(sources.parts).find(wanted(text, asked.text("country", most=2).upper())) if text else []
    if len(found) == 1:
        raise Elsewhere(page_of(found[0].customer_id))
    return {"text": text, "found": [(one, page_of(one.customer_id)) for one in found], "more": len(found) == MOST}


def customer_of(sources: Sources, asked: Asked) -> Found:
    """The customer that a request names, by id alone. Raises NotThere."""
    customer_id = asked.text("customer", most=100)
    for one in finder_of(sources.parts).find(Wanted(customer_id, "", ())) if customer_id else ():
        if one.customer_id == customer_id:
            return one
    raise NotThere("There is no customer with this id.")


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    found = customer_of(sources, asked)
    history = finder_of(sources.parts).history(found.customer_id)
    moments = timeline(history, sources.reporting.circumstances(), now=asked.now)
    past = [one for one in moments if one.at <= asked.now]
    return {
        "read_at": asked.now,
        "customer": found,
        "path": page_of(found.customer_id),
        "moments": _to_the_second([one for one in past if one.about is not About.BATCH]),
        "of_batches": _to_the_second([one for one in past if one.about is About.BATCH]),
        "ahead": [one for one in moments if one.at > asked.now],
        "contact": None,
        "ways": _ways(found, sources.parts.channels),
    }


def _to_the_second(moments: Sequence[Moment]) -> list[tuple[Moment, bool]]:
    """The moments, each with whether its seconds count: another one is of the same minute."""
    minutes = Counter(one.at.replace(second=0, microsecond=0) for one in moments)
    return [(one, minutes[one.at.replace(second=0, microsecond=0)] > 1) for one in moments]


def _ways(found: Found, channels: Collection[str]) -> list[tuple[str, str]]:
    """The channels that have a sender and an address of the customer, each with what its messages are called; none
    where there is one way alone: then it is the row's own."""
    addresses = {"email": found.email, "phone": found.phone}
    ways = [(name, facts.called) for name, facts in CHANNELS.items() if name in channels and addresses[facts.address]]
    return ways if len(ways) > 1 else []


@contextmanager
def _shown_to(asked: Asked, sources: Sources) -> Iterator[Stores]:
    """The store's objects for a person who is shown personal data. The audit log says who has seen it."""
    if not asked.person.name:
        raise Refused("Log in as a user: the audit log must say who has seen them.")
    try:
        yield sources.acting(asked.person, "customer show", "")
    except CannotDecrypt:
        raise Refused("No key decrypts this customer's details.") from None


def read_with_contact(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """As `read`, with the addresses in clear."""
    with _shown_to(asked, sources) as stores:
        shown = read(sources, asked)
        contact = finder_of(stores).contact(shown["customer"].customer_id, now=asked.now)
    return {**shown, "contact": contact}


def read_messages(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """The messages that have left, their links masked."""
    with _shown_to(asked, sources) as stores:
        found = customer_of(sources, asked)
        sent = sent_messages(stores.database, stores.keyring, found.customer_id, now=asked.now)
    return {
        "read_at": asked.now,
        "customer": found,
        "path": page_of(found.customer_id),
        "messages": message_texts(sources.parts, sent),
        "called": CALLED,
        "more": len(sent) == MOST_MESSAGES,
    }


_for_the_desk = partial(Page, least=Role.SERVICE_DESK, shared=False)
FIND = _for_the_desk(
    path=PATH, template="customers.html", read=find, title="Customers", navigation="Customers", posted=True
)
PAGE = Page(path=ONE, template="customer.html", read=read, title="Customer")
CONTACT = _for_the_desk(path=f"{ONE}/contact", template="customer.html", read=read_with_contact, title="Customer")
MESSAGES = _for_the_desk(path=f"{ONE}/messages", template="messages.html", read=read_messages, title="Messages")
