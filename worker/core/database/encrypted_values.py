"""What is stored encrypted: the values and their contents. Their columns: `wiring.store.encrypted_columns`.

The context binds each value to its row. A value may have been written by a newer release that needed no migration: keys
that this release does not know are ignored.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import folded_email
from onboarding_worker.core.model.customers import OF_PERSON, Customer, Person
from onboarding_worker.core.model.sessions import Opening, Session

# The erased value in columns that cannot be NULL, and in columns where NULL means that there never was a value.
ERASED = b""

# What a digest recognises (`Keyring.digests`).
ADDRESS, TOKEN, CUSTOMER = "address", "token", "customer"
EMAIL, PHONE = "email of a customer", "phone of a customer"
STABLE = "stable link"


class Erased(Exception):
    """The row's personal data was erased, so the row cannot be processed. The error text holds no values."""


@dataclass(frozen=True, repr=False)
class LineDetails:
    """The values of a list's line that have no column of their own and are not part of the customer's Person."""

    external_ref: str
    tags: tuple[str, ...]
    parameters: dict[str, dict[str, Any]]
    origin: str = ""  # `AcceptedLine.origin`


_EMPTY = LineDetails("", (), {})


# The contexts.
context_of_person = "customer {}".format
context_of_line = "line {}:{}".format  # batch and row
context_of_uploaded_list = "uploaded list {}".format
context_of_uploaded_part = "uploaded list {}: {} {}".format  # its kind and number
context_of_session = "session {0.hex}".format  # these have ids
context_of_stable_link = "stable link {0.hex}".format
context_of_update = "event {0.hex}".format
context_of_webhook = "webhook {0.hex}".format
context_of_attempt = "attempt {0.hex}".format
context_of_refused = "refused event {0.hex}".format
context_of_address = "suppression {}".format  # its digest


def person_as_json(person: Person) -> dict[str, Any]:
    known = {name: value for name, value in vars(person).items() if value}
    if person.date_of_birth:
        known["date_of_birth"] = person.date_of_birth.isoformat()
    return known


def encrypt_person(keyring: Keyring, customer_id: str, person: Person) -> bytes:
    return keyring.encrypt(person_as_json(person), context=context_of_person(customer_id))


def decrypt_person(keyring: Keyring, customer_id: str, encrypted: bytes | None) -> Person:
    """The person. Raises keyring.CannotDecrypt, Erased."""
    if encrypted is None:
        raise Erased("the customer's personal data was erased")
    known = keyring.decrypt(encrypted, context=context_of_person(customer_id))
    if "date_of_birth" in known:
        known["date_of_birth"] = date.fromisoformat(known["date_of_birth"])
    return Person(**{name: value for name, value in known.items() if name in OF_PERSON})


def read_person(keyring: Keyring, customer_id: str, encrypted: bytes | None) -> Person:
    """The person, for who reads many and ends at none, or tells a reader. Raises keyring.CannotDecrypt, Erased."""
    with of_our_shape(context_of_person(customer_id)):
        return decrypt_person(keyring, customer_id, encrypted)


@contextmanager
def of_our_shape(context: str) -> Iterator[None]:
    """Raises keyring.CannotDecrypt where a value has another shape: a newer release may have written it, or a person.
    What works rows needs no such net: `row_by_row` holds the row."""
    try:
        yield
    except (TypeError, ValueError, AttributeError):
        text = "the encrypted value of {} has a shape that this release does not know"
        raise CannotDecrypt(text.format(context), text.format("a row")) from None


def contact_digests(keyring: Keyring, person: Person) -> dict[str, str | None]:
    """The columns by which a person of the service desk finds the customer: keyed hashes of the two addresses."""
    email, phone = folded_email(person.email) if person.email else "", person.phone
    return {
        "email_digest": keyring.digests(EMAIL, email)[0] if email else None,
        "phone_digest": keyring.digests(PHONE, phone)[0] if phone else None,
    }


def email_text(known: Mapping[str, Any]) -> str:
    """The form of a person's email address that is hashed: spellings that one mailbox has are equal."""
    return folded_email(known["email"]) if known.get("email") else ""


def encrypt_line(keyring: Keyring, batch_id: int, row: int, customer: Customer, origin: str = "") -> bytes | None:
    """The encrypted values of a line. None if there are none, as for most lines: this saves an encryption a row."""
    if not (customer.external_ref or customer.tags or customer.parameters or origin):
        return None
    line = {"external_ref": customer.external_ref, "tags": customer.tags, "parameters": dict(customer.parameters)}
    line |= {"origin": origin} if origin else {}
    return keyring.encrypt(line, context=context_of_line(batch_id, row))


def decrypt_line(keyring: Keyring, batch_id: int, row: int, encrypted: bytes | None) -> LineDetails:
    """The line's values. Raises keyring.CannotDecrypt, Erased."""
    if encrypted is None:
        return _EMPTY
    if encrypted == ERASED:
        raise Erased("the values of the list's line were erased with the customer's personal data")
    line = keyring.decrypt(encrypted, context=context_of_line(batch_id, row))
    tags, parameters = tuple(line.get("tags", ())), line.get("parameters", {})
    return LineDetails(line.get("external_ref", ""), tags, parameters, line.get("origin", ""))


def encrypt_session(keyring: Keyring, session_id: uuid.UUID, session: Session) -> bytes:
    kept: dict[str, Any] = {"token": session.token, "link": session.link}
    if session.digit_string:
        kept["digit_string"] = session.digit_string
    kept["vendor_parameters"] = dict(session.vendor_parameters)
    return keyring.encrypt(kept, context=context_of_session(session_id))


def decrypt_opening(keyring: Keyring, session_id: uuid.UUID, encrypted: bytes, *, vendor: str) -> Opening:
    """What the customer needs for the session. Raises keyring.CannotDecrypt, Erased."""
    if encrypted == ERASED:
        raise Erased("the session's link was erased with the customer's personal data")
    kept = keyring.decrypt(encrypted, context=context_of_session(session_id))
    return Opening(kept["link"], kept.get("digit_string", ""), vendor, kept.get("vendor_parameters", {}))


def decrypt_link(keyring: Keyring, session_id: uuid.UUID, encrypted: bytes) -> str:
    """The session's link. Raises keyring.CannotDecrypt, Erased."""
    return decrypt_opening(keyring, session_id, encrypted, vendor="").link


def encrypt_words(keyring: Keyring, attempt_id: uuid.UUID, words: str) -> bytes:
    """The other side's own sentence about a call, encrypted."""
    return keyring.encrypt({"words": words}, context=context_of_attempt(attempt_id))


def decrypt_words(keyring: Keyring, attempt_id: uuid.UUID, encrypted: bytes) -> str:
    """The other side's own sentence. Raises keyring.CannotDecrypt."""
    words: str = keyring.decrypt(encrypted, context=context_of_attempt(attempt_id))["words"]
    return words


def encrypt_update(keyring: Keyring, event_id: uuid.UUID, columns: Mapping[str, Any]) -> bytes:
    """The new columns of an update, as JSON values, encrypted."""
    return keyring.encrypt(dict(columns), context=context_of_update(event_id))


def decrypt_update(keyring: Keyring, event_id: uuid.UUID, encrypted: bytes) -> dict[str, Any]:
    """The new columns of an update. Raises keyring.CannotDecrypt, Erased."""
    if encrypted == ERASED:
        raise Erased("the columns of the update were erased with the customer's personal data")
    return keyring.decrypt(encrypted, context=context_of_update(event_id))
