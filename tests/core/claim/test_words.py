"""What a provider or sender said is stored encrypted with its attempt, shown only on request, and erased."""

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.audit_entries import ACT, Act
from onboarding_worker.core.database.tables import Attempt, Audit, Job
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.endings import Cancel, Kind, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.events.store.event_customers import erase
from onboarding_worker.reporting.store.ledger import words_about
from tests.stored.shelf import customer

SAID = "Invalid value 'Kazlauskas'"
REFUSED = Problem(Kind.BAD_INPUT, "HTTP 400 BAD_VALUE: it mentions lastName", code="BAD_VALUE", status=400, words=SAID)


@pytest.fixture
def refused(shelf):
    """The shelf, after the provider refused Ona, with a message that quotes her name."""
    shelf.add(customer("Ona"), customer("Jonas"))
    (ona, jonas) = shelf.open(shelf.claim())
    ending = Cancel(Reason.BAD_INPUT, REFUSED.detail)
    shelf.finish(CallResult(ona, shelf.clock(), ending, problem=REFUSED), shelf.got(jonas))
    return shelf


def test_the_words_are_stored_encrypted_and_nothing_of_them_in_clear(refused):
    said = {row.job_id: row for row in refused.rows(Attempt)}[refused.job("Ona").id]
    assert said.encrypted is not None
    assert "Kazlauskas" not in f"{[*refused.rows(Attempt)]} {[*refused.rows(Job)]}"
    assert (said.detail, refused.job("Ona").detail) == (REFUSED.detail, REFUSED.detail)


def test_a_call_that_succeeded_has_no_words(refused):
    quiet = {row.job_id: row for row in refused.rows(Attempt)}[refused.job("Jonas").id]
    assert quiet.encrypted is None


def test_who_reads_the_words_is_in_the_audit_log(refused):
    now = refused.clock()
    refused.database.engine.update_execution_options(**{ACT: Act("ops", "show")})
    (one,) = words_about(refused.database, refused.keyring, "Ona", now=now)
    assert (one.words, one.status, one.code, one.account) == (SAID, 400, "BAD_VALUE", "kyc")
    assert SAID not in repr(one)
    (entry,) = refused.rows(Audit, action="show")
    assert (entry.actor, entry.subject, entry.count) == ("ops", "customer Ona", 1)


@pytest.mark.both_databases
def test_words_without_their_key_are_said_to_be_unreadable(refused):
    (one,) = words_about(refused.database, Keyring([new_key()]), "Ona", now=refused.clock())
    assert one.words is None


def test_the_words_are_erased_with_the_customer(refused):
    with refused.database.write() as connection:
        erase(connection, ["Ona"], now=refused.clock())
    assert [row.encrypted for row in refused.rows(Attempt)] == [None, None]
