"""The account, session and company that a webhook matches, and those that it must not match."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import SessionRow, Webhook
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.providers.webhooks.contract import Key
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, COMPLETED


def another_session(shelf, **changes):
    """One more session of Ona's, for a purpose of its own."""
    there = {"id": uuid.uuid4(), "purpose": "another", "account": "au", "reference": "there", "token_digest": None}
    with shelf.database.write() as connection:
        row = connection.execute(sa.select(SessionRow.__table__).limit(1)).one()
        connection.execute(sa.insert(SessionRow.__table__).values(row._asdict() | there | changes))
    return there["id"]


OF_ANOTHER = {
    "by the company's id": ({"company_id": "company-7"}, ((Key.COMPANY_ID, "company-7"),)),
    "by the form's token": ({"token_digest": "digest"}, ((Key.TOKEN, "token-there"),)),
    "by the entity's id, in either case": ({"reference": "entity-7"}, ((Key.ENTITY_ID, "ENTITY-7"),)),
    "by what the list calls its row": ({"reference": "CRM-7"}, ((Key.EXTERNAL_REF, "CRM-7"),)),
    "by the job's number": ({}, ((Key.EXTERNAL_REF, "{job}"),)),
    "by an id that comes behind ours": (
        {"reference": "CRM-7", "company_id": "company-7"},
        ((Key.EXTERNAL_REF, "scan-1"), (Key.COMPANY_ID, "company-7")),
    ),
}


@pytest.mark.parametrize(("there", "match"), OF_ANOTHER.values(), ids=OF_ANOTHER)
def test_a_copy_of_another_accounts_webhook_matches_no_session_here_by_any_id(ona, feed, there, match):
    """Both accounts may share a key, and a customer whom one account refused has a session at each."""
    ona.add(customer("Vita"))
    (kept,) = ona.rows(SessionRow)
    changes = dict(there, job_id=ona.job("Vita").id)
    if "token_digest" in changes:
        changes["token_digest"] = ona.keyring.digests("token", "token-there")[0]
    another_session(ona, **changes)
    match = tuple((key, value.replace("{job}", str(ona.job("Vita").id))) for key, value in match)
    feed.receive(replace(APPROVED, match=(*match, (Key.CLIENT_ID, "Ona"))))
    assert ona.row(SessionRow, id=kept.id).state is SessionState.WAITING
    assert ona.row(Webhook).detail == "no session here matches it"
    # At the other account's own address it is what it was.
    feed.receive(replace(APPROVED, match=(*match, (Key.CLIENT_ID, "Ona"))), account="au")
    assert ona.row(SessionRow, account="au").state is COMPLETED


def test_a_verdict_from_before_a_session_was_opened_is_about_another_one(ona, feed):
    by_customer = ((Key.SCAN_REF, "of-a-year-ago"), (Key.CLIENT_ID, "Ona"))
    opened_at = ona.row(SessionRow).issued_at
    feed.receive(replace(APPROVED, match=by_customer, happened_at=opened_at - timedelta(days=1, seconds=1)))
    assert ona.row(SessionRow).state is SessionState.WAITING
    # On its way when this one was opened: the customer has finished, whichever it was.
    feed.receive(replace(APPROVED, match=by_customer, happened_at=opened_at - timedelta(hours=23)))
    assert ona.row(SessionRow).state is COMPLETED


@pytest.mark.parametrize("known_here", ["company-new", ""], ids=["which handed in", "which did not yet"])
def test_an_old_verdict_on_a_company_is_not_applied_to_its_new_form_with_the_same_reference(ona, feed, known_here):
    ona.set(SessionRow, reference="CRM-7", company_id="company-old", state=COMPLETED, issued_at=ona.clock.now)
    ona.clock.advance(days=1)
    new = another_session(ona, account="kyc", reference="CRM-7", issued_at=ona.clock(), company_id=known_here)
    match = ((Key.EXTERNAL_REF, "CRM-7"), (Key.COMPANY_ID, "company-old"), (Key.CLIENT_ID, "Ona"))
    feed.receive(replace(APPROVED, match=match))
    assert ona.row(SessionRow, id=new).state is COMPLETED  # as it was opened
    ona.set(SessionRow, SessionRow.id == new, state=SessionState.WAITING)
    feed.receive(replace(APPROVED, match=match))
    assert ona.row(SessionRow, id=new).state is SessionState.WAITING


def test_a_verdict_on_a_company_is_not_one_on_another_company_of_the_customers(ona, feed):
    ona.set(SessionRow, company_id="company-7", reference="CRM-7")
    for ours in ((Key.EXTERNAL_REF, "CRM-7"), (Key.CLIENT_ID, "Ona")):
        feed.receive(replace(APPROVED, match=(ours, (Key.COMPANY_ID, "company-8"))))
    assert ona.row(SessionRow).state is SessionState.WAITING
    feed.receive(replace(APPROVED, match=((Key.CLIENT_ID, "Ona"), (Key.COMPANY_ID, "company-7"))))
    assert ona.row(SessionRow).state is COMPLETED
