"""Our own books of a batch."""

import pytest

from onboarding_worker.core.database.tables import Attempt, SessionRow
from onboarding_worker.features.reconcile.store.books import OurBooks
from tests.stored.reconciling import call, reconcilable
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


def test_a_reference_with_a_space_stays_one_reference(shelf):
    batch, _ = call(shelf, reconcilable(shelf.policy))
    shelf.set(Attempt, outcome="late", found="form 7")

    assert list(OurBooks(shelf.database, shelf.keyring).orphans(batch)) == ["form 7"]

    shelf.set(Attempt, reconciles=Attempt.id)  # a look-up's

    assert list(OurBooks(shelf.database, shelf.keyring).orphans(batch)) == ["form", "7"]


def test_a_session_that_is_not_bought_yet_is_in_no_book(shelf):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    books = OurBooks(shelf.database, shelf.keyring)
    assert len([*books.sessions(batch)]) == 1

    shelf.set(SessionRow, state="deferred")

    assert [*books.sessions(batch)] == []
