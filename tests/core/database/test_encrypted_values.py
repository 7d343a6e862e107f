"""What is stored encrypted comes back as it went in, what was erased says so, and another shape is no crash."""

import uuid
from datetime import UTC, date, datetime

import pytest

from onboarding_worker.core.database import encrypted_values as values
from onboarding_worker.core.database.encrypted_values import ERASED, Erased, LineDetails
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring, new_key
from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.sessions import ExpirySource, Opening, Session

RING = Keyring([new_key()])
ID = uuid.UUID(int=7)
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "person",
    [
        Person(),
        Person(email="ona@example.org", phone="+37060000001", message={"day": "Monday"}),
        Person(first_name="Ona", date_of_birth=date(1987, 3, 14)),
    ],
    ids=["nothing", "addresses", "birth"],
)
def test_a_person_is_stored_with_what_is_known_and_read_again(person):
    encrypted = values.encrypt_person(RING, "C-1", person)
    known = {name: value for name, value in vars(person).items() if value}
    assert values.person_as_json(person).keys() == known.keys()
    assert values.decrypt_person(RING, "C-1", encrypted) == values.read_person(RING, "C-1", encrypted) == person
    with pytest.raises(CannotDecrypt):
        values.decrypt_person(RING, "C-2", encrypted)


def test_what_a_newer_release_knows_of_a_person_is_ignored():
    newer = {"first_name": "Ona", "shoe_size": 38}
    encrypted = RING.encrypt(newer, context=values.context_of_person("C-1"))
    assert values.decrypt_person(RING, "C-1", encrypted) == Person(first_name="Ona")


def test_a_person_of_another_shape_cannot_be_decrypted_for_who_reads_many():
    for birth in (["1987"], "soon"):
        encrypted = RING.encrypt({"date_of_birth": birth}, context=values.context_of_person("C-1"))
        with pytest.raises(CannotDecrypt) as error:
            values.read_person(RING, "C-1", encrypted)
        assert ("C-1" in str(error.value), "C-1" in error.value.for_logs) == (True, False)


def test_a_customer_is_found_by_each_address_that_it_has_however_it_is_spelled():
    ona, same = Person(email="Ona@Example.org", phone="+37060000001"), Person(email="ona@example.org")
    of_ona, of_same = values.contact_digests(RING, ona), values.contact_digests(RING, same)
    assert of_ona["email_digest"] == of_same["email_digest"] == RING.digests(values.EMAIL, "ona@example.org")[0]
    assert of_ona["phone_digest"] == RING.digests(values.PHONE, "+37060000001")[0]
    assert of_same["phone_digest"] is None
    assert values.contact_digests(RING, Person()) == {"email_digest": None, "phone_digest": None}
    assert values.email_text({"email": "Ona@Example.org"}) == "ona@example.org"
    assert values.email_text({"email": ""}) == values.email_text({}) == ""


@pytest.mark.parametrize(
    "details",
    [
        LineDetails("crm-1", (), {}),
        LineDetails("", ("vip", "north"), {}),
        LineDetails("", (), {"kyc": {"level": 2}}),
        LineDetails("crm-1", ("vip",), {"kyc": {"level": 2}}),
    ],
)
def test_the_values_of_a_line_are_stored_if_there_is_one(details):
    given = Customer("C-1", external_ref=details.external_ref, tags=details.tags, parameters=details.parameters)
    encrypted = values.encrypt_line(RING, 7, 42, given)
    assert values.decrypt_line(RING, 7, 42, encrypted) == details
    for other in ((8, 42), (7, 43)):
        with pytest.raises(CannotDecrypt):
            values.decrypt_line(RING, *other, encrypted)


def test_a_line_without_values_stores_none():
    assert values.encrypt_line(RING, 7, 42, Customer("C-1")) is None
    assert values.decrypt_line(RING, 7, 42, None) == LineDetails("", (), {})
    assert values.decrypt_line(RING, 7, 42, RING.encrypt({}, context=values.context_of_line(7, 42))) == LineDetails(
        "", (), {}
    )


@pytest.mark.parametrize(("digits", "vendor"), [("", {}), ("123456", {"flow": "a"})])
def test_what_a_customer_needs_for_a_session_is_read_again(digits, vendor):
    session = Session(
        "t0ken", "https://verify.test/1", "R1", AT, ExpirySource.ANSWER, vendor_parameters=vendor, digit_string=digits
    )
    encrypted = values.encrypt_session(RING, ID, session)
    opening = values.decrypt_opening(RING, ID, encrypted, vendor="idenfy")
    assert opening == Opening("https://verify.test/1", digits, "idenfy", vendor)
    assert values.decrypt_link(RING, ID, encrypted) == "https://verify.test/1"
    with pytest.raises(CannotDecrypt):
        values.decrypt_link(RING, uuid.UUID(int=8), encrypted)


def test_words_and_updates_are_read_again():
    assert values.decrypt_words(RING, ID, values.encrypt_words(RING, ID, "No such name")) == "No such name"
    columns = {"email": "ona@example.org", "tags": ["vip"]}
    assert values.decrypt_update(RING, ID, values.encrypt_update(RING, ID, columns)) == columns


@pytest.mark.parametrize(
    "read",
    [
        lambda: values.decrypt_person(RING, "C-1", None),
        lambda: values.read_person(RING, "C-1", None),
        lambda: values.decrypt_line(RING, 7, 42, ERASED),
        lambda: values.decrypt_opening(RING, ID, ERASED, vendor=""),
        lambda: values.decrypt_link(RING, ID, ERASED),
        lambda: values.decrypt_update(RING, ID, ERASED),
    ],
    ids=["person", "read person", "line", "opening", "link", "update"],
)
def test_what_was_erased_is_said_to_be_erased(read):
    with pytest.raises(Erased):
        read()
