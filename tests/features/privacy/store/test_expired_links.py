"""Tokens and links of expired sessions are dropped, and nothing that still needs them."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import AddressPlace, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rules.contact import AddressCap
from onboarding_worker.features.privacy.store import removals
from onboarding_worker.features.privacy.store.removals import drop_links, remove_old
from tests.features.privacy.store.test_erasure import sent as sent_to
from tests.stored.shelf import WEEK, changed, customer
from tests.suite.some import some


@pytest.fixture
def sent(shelf):
    """Two customers whose links were sent, one of them for a day only."""
    sent_to(shelf, customer("Ona"), customer("Jonas"))
    shelf.set(SessionRow, SessionRow.customer_id == "Ona", expires_at=shelf.clock() + timedelta(days=1))
    return shelf


def with_links(shelf) -> list[str]:
    return [row.customer_id for row in shelf.rows(SessionRow) if row.encrypted != ERASED]


def test_only_the_expired_one_loses_its_link_and_its_reference_stays(sent):
    before = {row.id: row for row in sent.rows(SessionRow)}
    assert drop_links(sent.database, since=sent.clock()) == 0
    later = sent.clock() + timedelta(days=1)
    assert drop_links(sent.database, since=later) == 1
    (kept,) = with_links(sent)
    assert kept == "Jonas"
    for row in some(sent.rows(SessionRow)):
        was = before[row.id]
        assert (row.reference, row.token_digest, row.state) == (was.reference, was.token_digest, was.state)
    assert all(row.encrypted is not None for row in some(sent.rows(CustomerRow)))
    assert drop_links(sent.database, since=later) == 0


@pytest.mark.parametrize("state", [InvitationState.WAITING, InvitationState.WORKING, InvitationState.HELD])
def test_a_message_that_is_not_over_keeps_the_link_of_its_session(sent, state):
    sent.set(InvitationRow, state=state, lease_until=sent.clock())
    assert drop_links(sent.database, since=sent.clock() + timedelta(days=30)) == 0
    sent.set(InvitationRow, state=InvitationState.FAILED)
    assert drop_links(sent.database, since=sent.clock() + timedelta(days=30)) == 2


def test_the_report_shows_the_line_without_a_link(sent):
    drop_links(sent.database, since=sent.clock() + timedelta(days=30))
    batch = sent.rows(Job)[0].batch_id
    lines = list(sent.facts.lines(batch, with_links=True))
    assert [(line.state, line.opening.link, line.unreadable) for line in lines] == [("invited", "", "")] * 2


def test_many_are_dropped_in_chunks(shelf, monkeypatch):
    monkeypatch.setattr(removals, "SESSIONS_AT_ONCE", 2)
    sent_to(shelf, *(customer(f"C{number}") for number in range(3)))
    later = shelf.clock() + timedelta(days=30)
    assert [drop_links(shelf.database, since=later) for _ in range(3)] == [2, 1, 0]


def test_old_places_are_removed_and_no_others(shelf):
    shelf.policy = changed(shelf.policy, address_cap=AddressCap(3, WEEK))
    shelf.message_policy = changed(shelf.message_policy, address_cap=AddressCap(3, WEEK))
    sent_to(shelf, customer("Ona"), customer("Jonas"))
    places = len(shelf.rows(AddressPlace))
    assert places > 0
    now, before = shelf.clock(), shelf.clock() - timedelta(seconds=1)
    assert remove_old(shelf.database, updates=now, events=now, places=before) == 0
    assert remove_old(shelf.database, updates=now, events=now, places=now) == places
    assert shelf.rows(AddressPlace) == []
