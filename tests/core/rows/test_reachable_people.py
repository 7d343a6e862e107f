"""Which channels of each person have an address, and which of these may not be written to."""

import pytest

from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.rows.suppressions import reachable, suppress

BOUNCE, STOP = SuppressionReason.BOUNCE, SuppressionReason.STOP
PEOPLE = {
    "Ona": Person(email="ona@example.org", phone="+37060000001"),
    "Jonas": Person(email="jonas@example.org"),
    "Rasa": Person(phone="+37060000001"),
    "Eva": Person(),
}


@pytest.mark.both_databases
def test_each_address_is_named_with_why_it_may_not_be_used(database, keyring, clock):
    with database.write() as connection:
        suppress(connection, keyring, "email", "ona@example.org", BOUNCE, "relay", now=clock())
        suppress(connection, keyring, "sms", "+37060000001", STOP, "vita", now=clock())
        found = reachable(connection, keyring, PEOPLE)
        by_mail = reachable(connection, keyring, PEOPLE, ["email"])
    texts = {"sms": STOP, "whatsapp": STOP}  # one number has one entry for both
    assert found == {"Ona": {"email": BOUNCE, **texts}, "Jonas": {"email": None}, "Rasa": texts, "Eva": {}}
    assert by_mail == {"Ona": {"email": BOUNCE}, "Jonas": {"email": None}, "Rasa": {}, "Eva": {}}
    assert set(found["Ona"]) == set(CHANNELS)
