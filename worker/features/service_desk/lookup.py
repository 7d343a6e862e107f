"""What a person typed to find a customer: an id, an email address, a phone number. Pure."""

from dataclasses import dataclass

from worker.core.customers.refusals import Refusal
from worker.core.model.channels import folded_email
from worker.lists import contacts

LONGEST = 320


@dataclass(frozen=True, repr=False)
class Wanted:
    """The ways to read the text; "" where it cannot be read so. Personal, so no repr."""

    customer_id: str
    email: str  # in the form that is hashed
    phones: tuple[str, ...]  # E.164: each number that the text may be


def wanted(text: str, country: str = "") -> Wanted:
    """`country` (alpha-2) applies to a phone number written without a +."""
    text = text.strip()[:LONGEST]
    email = contacts.email(text) if "@" in text else ""
    phones = contacts.readings(text, country) if text else ()
    return Wanted(
        customer_id=text if len(text) <= 100 else "",
        email=folded_email(email) if isinstance(email, str) and email else "",
        phones=() if isinstance(phones, Refusal) else phones,
    )
