"""The session that a provider's webhook matches, and the accounts whose webhooks may match it."""

import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import SessionRow, Webhook
from onboarding_worker.core.model.states import JobState, Result, SessionState
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.web.webhooks.store.session_lookup import find
from tests.stored.webhook_feed import APPROVED, COMPLETED, EXPIRED, OVER, STARTED, update

MATCHES = [
    (((Key.EXTERNAL_REF, "{job}"),), True),
    (((Key.CLIENT_ID, "Ona"),), True),
    (((Key.SCAN_REF, "another"), (Key.CLIENT_ID, "Ona")), True),
    (((Key.EXTERNAL_REF, "{job}"), (Key.CLIENT_ID, "Vita")), False),
    (((Key.EXTERNAL_REF, "9" * 30),), False),
    (((Key.EXTERNAL_REF, "²"),), False),
    (((Key.COMPANY_ID, ""),), False),
    (((Key.TOKEN, "token-0001"),), True),
    (((Key.TOKEN, "token-0002"),), False),
    (((Key.ENTITY_ID, "SCAN-1"),), True),  # the same entity in either case
    ((), False),
]


@pytest.mark.both_databases
def test_a_session_is_found_by_the_first_id_that_matches(ona):
    job = ona.job("Ona").id
    for match, found in MATCHES:
        match = tuple((key, value.replace("{job}", str(job))) for key, value in match)
        asked = {uuid.uuid4(): (replace(APPROVED, match=match), frozenset({"kyc"}))}
        with ona.database.read() as connection:
            assert (find(connection, ona.keyring, asked).keys() == asked.keys()) is found, match


def test_an_update_without_a_verdict_matches_only_the_session_that_it_names(ona, feed):
    ona.set(SessionRow, references={"scanRef": "scan-1"})
    stray = ((Key.SCAN_REF, "stray"), (Key.CLIENT_ID, "Ona"))
    feed.receive(replace(OVER, match=stray))
    assert ona.row(SessionRow).state is SessionState.WAITING
    feed.receive(replace(APPROVED, match=stray))
    assert ona.row(SessionRow).state is COMPLETED


def test_a_verdict_on_an_unknown_session_is_none_on_the_session_before_a_renewal(ona, feed):
    """The provider's answer with the renewal's session may be stored after its webhook."""
    ona.set(SessionRow, references={"scanRef": "scan-1"}, past=True)
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, "stray"), (Key.CLIENT_ID, "Ona"))))
    assert ona.row(SessionRow).state is SessionState.WAITING
    assert [row.state for row in ona.rows(Webhook)] == ["waiting"]  # it is tried again
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, "scan-1"), (Key.CLIENT_ID, "Ona"))))
    assert ona.row(SessionRow).state is COMPLETED


def test_a_webhook_matches_only_accounts_that_share_its_address(ona, feed):
    feed.receive(APPROVED, account="au")
    assert ona.job("Ona").state is JobState.INVITED
    ona.set(SessionRow, account="kyc-narrow")
    feed.receive(APPROVED)
    assert ona.job("Ona").state is JobState.COMPLETED


def test_a_copy_of_another_accounts_webhook_does_not_match_the_customers_session_here(ona, feed):
    """Both accounts may share a key, and a customer whom one account refused has a session at each."""
    (kept,) = ona.rows(SessionRow)
    there = {
        "id": uuid.uuid4(),
        "purpose": "at another",
        "account": "au",
        "reference": "scan-there",
        "token_digest": None,
    }
    with ona.database.write() as connection:
        row = connection.execute(sa.select(SessionRow.__table__)).one()
        connection.execute(sa.insert(SessionRow.__table__).values(row._asdict() | there))
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, "scan-there"), (Key.CLIENT_ID, "Ona"))))
    assert ona.row(SessionRow, id=kept.id).state is SessionState.WAITING
    assert ona.job("Ona").state is JobState.INVITED


def test_a_companys_later_events_name_it_by_an_id_that_an_earlier_one_brought(ona, feed):
    feed.receive(update(STARTED, Result.REVIEW, company_id="company-7"))
    feed.receive(update(EXPIRED, match=((Key.COMPANY_ID, "company-7"),)))
    assert ona.row(SessionRow).state is EXPIRED
