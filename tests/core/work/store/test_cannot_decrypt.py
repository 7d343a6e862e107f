"""Rows that no key decrypts are held with their reason, and other rows go on."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.wiring.store.encrypted_columns import newest_person
from tests.stored.own_link import LINKS, secret_of_link
from tests.stored.shelf import Shelf, customer

# No key decrypts this: a version, the id of a missing key, and noise.
UNREADABLE = b"\x01" + b"none" + b"\x00" * 40


@pytest.fixture
def unreadable(shelf):
    """Two customers. Ona's details cannot be decrypted."""
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=UNREADABLE)
    return batch


def test_a_job_whose_customer_cannot_be_decrypted_is_held_and_other_jobs_go_on(shelf, unreadable):
    (job,) = shelf.claim()
    assert job.customer.customer_id == "Jonas"
    row = shelf.job("Ona")
    assert (row.state, row.reason, row.due_at, row.lease_until) == (JobState.HELD, "cannot_open", None, None)
    assert "customer Ona" in row.detail
    assert "keys" in row.detail
    assert shelf.claim() == []
    assert shelf.facts.counts(unreadable).jobs == {JobState.HELD: 1, JobState.WORKING: 1}


def test_a_message_whose_own_link_cannot_be_decrypted_is_held_without_a_time(shelf, keyring):
    shelf.add(customer("Ona"))
    shelf.issue()
    secret_of_link(shelf, keyring)
    shelf.set(StableLink, encrypted=UNREADABLE)
    assert shelf.flush_messages(policy=replace(shelf.message_policy, stable=LINKS)).opened == []
    message = shelf.row(InvitationRow)
    assert (message.state, message.reason, message.due_at) == (InvitationState.HELD, "cannot_open", None)


def test_a_job_whose_line_cannot_be_decrypted_is_held_too(shelf):
    shelf.add(customer("Ona", tags=("vip",)), customer("Jonas", tags=("vip",)))
    shelf.set(Job, Job.customer_id == "Ona", encrypted=UNREADABLE)
    assert [job.customer.customer_id for job in shelf.claim()] == ["Jonas"]
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.HELD, "cannot_open")


def test_a_value_that_belongs_to_another_row_cannot_be_decrypted(shelf, unreadable):
    with shelf.database.write() as connection:
        theirs = sa.select(CustomerRow.encrypted).where(CustomerRow.customer_id == "Jonas").scalar_subquery()
        connection.execute(sa.update(CustomerRow).where(CustomerRow.customer_id == "Ona").values(encrypted=theirs))
    shelf.claim()
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.HELD, "cannot_open")


def test_a_single_due_job_that_cannot_be_decrypted_does_not_stop_the_probe_of_its_account(shelf, unreadable):
    shelf.budgets.ensure(["kyc"])
    with shelf.database.write() as connection:
        connection.execute(sa.text("UPDATE budget SET pauses = 1 WHERE name = 'kyc'"))
    assert shelf.claim() == []  # Ona's job is the probe, and is held
    assert [job.customer.customer_id for job in shelf.claim()] == ["Jonas"]


@pytest.mark.parametrize("encrypted", ["customer", "session"])
def test_a_message_that_cannot_be_decrypted_is_held_with_its_job_and_other_messages_go_on(shelf, encrypted):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    if encrypted == "customer":
        shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=UNREADABLE)
    else:
        shelf.set(SessionRow, SessionRow.customer_id == "Ona", encrypted=UNREADABLE)
    assert [message.customer.customer_id for message in shelf.send()] == ["Jonas"]
    message = shelf.row(InvitationRow, job_id=shelf.job("Ona").id)
    assert (message.state, message.reason) == (InvitationState.HELD, "cannot_open")
    assert (message.due_at, message.lease_until) == (None, None)
    assert encrypted in message.detail
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.HELD, "cannot_open")
    assert shelf.facts.counts(batch).jobs == {JobState.HELD: 1, JobState.INVITED: 1}


def test_with_the_key_back_held_rows_are_settled_and_go_on(shelf, database, clock):
    other = Shelf(database, Keyring([new_key()]), clock)
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    (first,) = shelf.open(shelf.claim(most=1))
    shelf.finish(shelf.got(first))
    assert (other.claim(), other.claim_messages()) == ([], [])
    assert shelf.facts.counts(batch).jobs == {JobState.HELD: 2}
    decided = Decisions(database).resolve(Which(batch), Verdict.REPEAT, now=clock())
    assert (decided.rows, decided.accounts, decided.channels) == (2, {"kyc"}, {"email"})
    shelf.issue()
    assert len(shelf.send()) == 2
    assert len(shelf.rows(SessionRow)) == 2


def test_a_report_shows_a_held_row_without_decrypting_it(shelf, unreadable):
    shelf.claim()
    lines = {line.customer_id: (line.state, line.reason) for line in shelf.facts.lines(unreadable)}
    assert lines["Ona"] == ("held", "cannot_open")


def test_the_newest_customers_details_are_used_to_check_the_keys(shelf, keyring):
    assert newest_person(shelf.database) is None
    shelf.add(customer("Ona"))
    shelf.clock.advance(seconds=1)
    shelf.add(customer("Jonas"))
    name, encrypted = newest_person(shelf.database)
    assert name == "Jonas"
    assert decrypt_person(keyring, name, encrypted).first_name == "Jonas"


def test_an_erased_customer_is_not_used_to_check_the_keys(shelf):
    shelf.add(customer("Ona"))
    shelf.clock.advance(seconds=1)
    shelf.add(customer("Jonas"))
    shelf.set(CustomerRow, CustomerRow.customer_id == "Jonas", encrypted=None)
    assert newest_person(shelf.database)[0] == "Ona"
    shelf.set(CustomerRow, encrypted=None)
    assert newest_person(shelf.database) is None
