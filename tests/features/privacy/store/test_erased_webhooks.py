"""What providers say of a customer by webhooks that match no session, or once the customer is erased, does not stay."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.audit_entries import ACT, Act
from onboarding_worker.core.database.tables import CustomerRow, Job, SessionRow, Webhook
from onboarding_worker.core.model.refusals import FRAUD
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.providers.webhooks.contract import Key
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, DENIED, FAILED

pytestmark = pytest.mark.both_databases
FORGED = (f"{FRAUD}FAKE_DOC", "FACE_MISMATCH")
LOST = (Key.SCAN_REF, "of no session")


@pytest.fixture
def requests(shelf):
    shelf.database.engine.update_execution_options(**{ACT: Act("ops", "customer erase")})
    shelf.add(customer("Ona", external_ref="ref-7"), customer("Jonas", external_ref="ref-8"))
    return SubjectRequests(shelf.database, shelf.keyring)


@pytest.fixture
def erase(shelf, requests):
    return lambda: requests.erase("Ona", reason="", forget_suppressed=False, now=shelf.clock()).facts


def unmatched(*match):
    return replace(APPROVED, match=(LOST, *match))


def test_an_unmatched_webhook_that_names_the_customer_is_shown_and_erased_and_no_other_is(shelf, feed, requests, erase):
    theirs = {
        "by your id": unmatched((Key.CLIENT_ID, "Ona")),
        "by your id at FrankieOne": unmatched((Key.CUSTOMER_REFERENCE, "Ona")),
        "by the row's own reference": unmatched((Key.EXTERNAL_REF, "ref-7")),
        "by the row": unmatched((Key.EXTERNAL_REF, str(shelf.job("Ona").id))),
    }
    of_others = {
        "of Jonas": unmatched((Key.CLIENT_ID, "Jonas"), (Key.EXTERNAL_REF, "ref-7")),
        "of Jonas's row": unmatched((Key.EXTERNAL_REF, "ref-8")),
        "of nobody": unmatched(),
    }
    feed.receive(*(replace(one, event=name) for name, one in (theirs | of_others).items()))
    shown = requests.export("Ona", now=shelf.clock())["webhooks_that_match_no_session"]
    assert {one["event"] for one in shown} == theirs.keys()

    facts = erase()

    assert facts["erased"]["webhooks that match no session"] == len(theirs)
    assert facts["kept"]["webhooks that match no session and have no id of yours"] == "until their time is over"
    for row in shelf.rows(Webhook):
        left = (row.encrypted is not None, row.due_at is not None)
        assert left == ((False, False) if row.event in theirs else (True, True)), row.event
    assert erase()["erased"]["webhooks that match no session"] == 0


@pytest.mark.parametrize("key", [Key.CLIENT_ID, Key.CUSTOMER_REFERENCE])
def test_of_a_customer_who_is_erased_no_unmatched_webhook_is_kept_and_of_one_who_came_back_it_is(
    shelf, feed, erase, key
):
    erase()
    late = replace(unmatched((key, "Ona")), event="late")
    feed.receive(late)
    row = shelf.row(Webhook, event="late")
    assert (row.state, row.detail, row.encrypted, row.due_at) == ("ignored", "its customer was erased", None, None)
    shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=b"known again")
    feed.receive(replace(late, event="later"))
    row = shelf.row(Webhook, event="later")
    assert (row.state, row.encrypted is None) == ("waiting", False)


def test_why_a_customer_was_refused_is_erased_and_is_not_kept_of_an_erased_one(shelf, feed, erase):
    shelf.issue()
    references = {row.customer_id: row.reference for row in shelf.rows(SessionRow)}

    def refused(name, at):
        return replace(DENIED, match=((Key.SCAN_REF, references[name]),), reasons=FORGED, happened_at=at)

    def reasons():
        return {row.customer_id: row.reasons for row in shelf.rows(SessionRow)}

    feed.receive(*(refused(name, shelf.clock()) for name in references))
    assert reasons() == dict.fromkeys(references, " ".join(FORGED))
    assert erase()["erased"]["reasons of refusals"] == 1
    assert reasons() == {"Ona": "", "Jonas": " ".join(FORGED)}

    later = shelf.clock.now + timedelta(hours=1)
    shelf.clock.advance(hours=2)
    feed.receive(*(refused(name, later) for name in references))

    assert reasons() == {"Ona": "", "Jonas": " ".join(FORGED)}
    ona = shelf.row(SessionRow, customer_id="Ona")
    assert (ona.state, ona.result, ona.update_at) == (FAILED, "denied", later)  # states and times are kept
    assert shelf.row(Job, customer_id="Jonas").result == "denied"
