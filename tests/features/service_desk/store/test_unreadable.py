"""Who reads customers of whom one cannot be read."""

from functools import partial

import pytest

from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.case import wanted
from onboarding_worker.features.service_desk.store.cases import customer_of, stored_customers
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.features.service_desk.store.sent_messages import sent_messages
from onboarding_worker.wiring.opening import check_keys
from tests.core.rows.test_poison_rows import poison_customer
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


def test_who_reads_many_customers_reads_on_and_names_the_one_that_cannot_be_read(shelf, poison):
    batch = shelf.add(customer("Ona"), customer("Rasa"))
    poison_customer(shelf, "Ona", poison[0])

    lines = {line.customer_id: line for line in shelf.facts.lines(batch, with_details=True)}
    found = {one.customer_id: one for one in Finder(shelf.database, shelf.keyring).find(wanted("+37060000001"))}
    returned = stored_customers(shelf.database, shelf.keyring, ["Ona", "Rasa"])

    assert ("customer Ona" in lines["Ona"].unreadable, lines["Ona"].details) == (True, None)
    assert (lines["Rasa"].unreadable, lines["Rasa"].details.person.first_name) == ("", "Rasa")
    assert (found["Ona"].unreadable, found["Ona"].email, found["Rasa"].unreadable) == (True, "", False)
    assert isinstance(returned["Ona"].details, CannotDecrypt)
    assert returned["Rasa"].details.person.first_name == "Rasa"
    check_keys(shelf.database, shelf.keyring)  # Ona or Rasa is the newest customer


def test_who_reads_one_customer_is_told_why_it_cannot_be_read(shelf, poison):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    poison_customer(shelf, "Ona", poison[0])
    finder = Finder(shelf.database, shelf.keyring)

    with shelf.database.write() as connection, pytest.raises(CannotDecrypt, match="customer Ona"):
        customer_of(connection, shelf.keyring, "Ona", lock=True)
    for read in (finder.contact, partial(sent_messages, shelf.database, shelf.keyring)):
        with pytest.raises(CannotDecrypt, match="customer Ona"):
            read("Ona", now=shelf.clock())
    requests = SubjectRequests(shelf.database, shelf.keyring)
    assert "unreadable" in str(requests.export("Ona", now=shelf.clock()))
    requests.erase("Ona", reason="asked", forget_suppressed=False, now=shelf.clock())
    assert finder.contact("Ona", now=shelf.clock()) is None
