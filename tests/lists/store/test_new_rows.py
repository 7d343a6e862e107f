"""What is stored of a line that became a job, and of one that became none."""

from dataclasses import fields, replace

import pytest

from onboarding_worker.core.database.encrypted_values import ERASED, Erased
from onboarding_worker.core.database.tables import CustomerRow, Job
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring, new_key
from onboarding_worker.core.model.customers import Channel, Customer, CustomerKind
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.new_rows import LONGEST_KNOWN, as_it_was, refusal_row
from tests.stored.shelf import add_lines, customer, line


def stored(known: str) -> str | None:
    return refusal_row(1, RefusedLine(2, "C-1", known=known))["known"]


def test_what_became_of_a_known_row_is_never_cut_within_a_command():
    told = f"email changed; the link opens until its end{'.' * 140}"

    assert stored(f"{told}; `onboard customer resend C-1 --same-link` sends it") == told
    assert stored(told) == told
    assert stored("x" * 300) == "x" * LONGEST_KNOWN
    assert stored("") is None


def test_a_row_is_read_as_it_was_with_all_that_it_said(shelf):
    parameters = {"idenfy-kyc": {"checkAml": False}}
    was = customer(
        "Ona",
        kind=CustomerKind.COMPANY,
        purpose="loan",
        timezone="Europe/Vilnius",
        channel=Channel.BOTH,
        account="kyc",
        entity_id="e-1",
        external_ref="X-1",
        tags=("vip", "nova"),
        template="gold",
        consent=False,
        parameters=parameters,
        brand="nova",
    )
    plain = Customer("Ona")
    same = [one.name for one in fields(was) if getattr(was, one.name) == getattr(plain, one.name)]
    assert same == ["customer_id"], "the row says something of each"
    add_lines(shelf.batches, shelf.batch(), [line(2, was)], priority=0, now=shelf.clock())
    add_lines(shelf.batches, shelf.batch(), [line(2, customer("Eva"))], priority=0, now=shelf.clock())

    def read(name, keyring=None):
        of = (shelf.row(Job, customer_id=name), shelf.row(CustomerRow, customer_id=name))
        return as_it_was(keyring or shelf.keyring, *of)

    assert read("Ona") == (was, "")
    assert read("Eva")[0] == replace(customer("Eva"), account="kyc")
    with pytest.raises(CannotDecrypt):
        read("Ona", Keyring([new_key()]))
    shelf.set(Job, encrypted=ERASED)
    with pytest.raises(Erased):
        read("Ona")
