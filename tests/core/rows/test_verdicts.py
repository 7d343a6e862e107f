"""A result that no webhook has brought, or that was changed in the database, is told from one that a webhook did."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.rows.verdicts import Verdict, check, sign_anew, verdict_of, verdicts_of
from onboarding_worker.providers.webhooks.contract import Key
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, COMPLETED, DENIED, FAILED, REVIEW, WebhookFeed

pytestmark = pytest.mark.both_databases
SIGNED, NOT_SIGNED, CHANGED, NO_KEY = Verdict.SIGNED, Verdict.NOT_SIGNED, Verdict.CHANGED, Verdict.NO_KEY
SAYS = {"Ona": APPROVED, "Jonas": DENIED, "Rasa": REVIEW, "Vita": None}


@pytest.fixture
def decided(shelf, feed):
    """Customers with a session each, of whom the provider has said something by webhooks, and of one nothing."""
    shelf.add(*(customer(name) for name in SAYS))
    shelf.issue()
    shelf.send()
    reference = {row.customer_id: row.reference for row in shelf.rows(SessionRow)}
    feed.receive(*(replace(says, match=((Key.SCAN_REF, reference[name]),)) for name, says in SAYS.items() if says))
    return shelf


def verdicts(shelf, keyring=None):
    return {row.customer_id: verdict_of(keyring or shelf.keyring, row) for row in shelf.rows(SessionRow)}


def test_what_a_webhook_decides_is_signed_and_what_decides_nothing_is_no_verdict(decided):
    assert verdicts(decided) == {"Ona": SIGNED, "Jonas": SIGNED, "Rasa": Verdict.NONE, "Vita": Verdict.NONE}
    found = check(decided.database, decided.keyring)
    assert (found.numbers[SIGNED], found.numbers[CHANGED], [*found.changed]) == (2, 0, [])


CHANGES = {
    "result": ("Ona", {"result": "suspected"}, CHANGED),
    "state and result": ("Jonas", {"state": COMPLETED, "result": "approved"}, CHANGED),
    "time": ("Ona", {"update_at": sa.null()}, CHANGED),
    "customer": ("Ona", {"customer_id": "Vita"}, CHANGED),
    "purpose": ("Ona", {"purpose": "another"}, CHANGED),
    "digest of another": ("Jonas", {"verdict_digest": "from Ona"}, CHANGED),
    "digest by no key of ours": ("Ona", {"verdict_digest": "0" * 64}, NO_KEY),
    "digest taken away, as before they were made": ("Ona", {"verdict_digest": ""}, NOT_SIGNED),
    "made of nothing": ("Vita", {"state": COMPLETED, "result": "approved"}, NOT_SIGNED),
    "made of a review": ("Rasa", {"state": FAILED, "result": "denied"}, NOT_SIGNED),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_verdict_that_was_written_by_hand_is_told(decided, what):
    name, values, verdict = CHANGES[what]
    if values.get("verdict_digest") == "from Ona":
        values = {"verdict_digest": decided.row(SessionRow, customer_id="Ona").verdict_digest}
    session = decided.row(SessionRow, customer_id=name).id
    decided.set(SessionRow, SessionRow.id == session, **values)
    row = decided.row(SessionRow, id=session)
    assert verdict_of(decided.keyring, row) is verdict
    assert bool(verdict.doubt)
    found = check(decided.database, decided.keyring)
    assert found.numbers[verdict] == 1
    assert [*found.changed] == ([row.customer_id] if verdict is CHANGED else [])


def test_a_row_that_says_something_else_than_its_session_is_told(decided):
    decided.set(Job, Job.customer_id == "Jonas", result="approved")
    with decided.database.read() as connection:
        found = verdicts_of(connection, decided.keyring, ["Ona", "Jonas"])
    assert found == {("Ona", "onboarding", "approved"): SIGNED, ("Jonas", "onboarding", "denied"): SIGNED}
    assert [*check(decided.database, decided.keyring).changed] == ["Jonas"]


def test_a_new_key_signs_what_the_old_one_has_signed_and_nothing_else(shelf, feed, monkeypatch):
    old, new = new_key(), new_key()
    monkeypatch.setattr(shelf, "keyring", Keyring([old]))
    shelf.add(*(customer(name) for name in ("Ona", "Jonas")))
    shelf.issue()
    for row in shelf.rows(SessionRow):
        WebhookFeed(shelf).receive(replace(APPROVED, match=((Key.SCAN_REF, row.reference),)), body=row.id.bytes)
    both, rotated = Keyring([new, old]), Keyring([new])
    assert verdicts(shelf, both) == {"Ona": SIGNED, "Jonas": SIGNED}
    assert verdicts(shelf, rotated) == {"Ona": NO_KEY, "Jonas": NO_KEY}
    shelf.set(SessionRow, SessionRow.customer_id == "Jonas", result="suspected")
    with shelf.database.write() as connection:
        assert sign_anew(connection, both, [row.id for row in shelf.rows(SessionRow)]) == (1, 1)
    assert verdicts(shelf, rotated) == {"Ona": SIGNED, "Jonas": NO_KEY}
    assert verdicts(shelf, both) == {"Ona": SIGNED, "Jonas": CHANGED}


def test_a_forged_verdict_does_not_keep_out_what_the_provider_says_next(decided, feed):
    session = decided.row(SessionRow, customer_id="Jonas")
    late = decided.clock() + timedelta(days=300)
    decided.set(SessionRow, SessionRow.id == session.id, state=COMPLETED, result="approved", update_at=late)
    feed.receive(replace(DENIED, match=((Key.SCAN_REF, session.reference),), event="AGAIN"))
    row = decided.row(SessionRow, id=session.id)
    assert (row.state, row.result, verdict_of(decided.keyring, row)) == (FAILED, "denied", SIGNED)
