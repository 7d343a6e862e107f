"""A verdict without a time that contradicts another, after the digests of old webhooks are gone."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, SessionRow, Webhook
from onboarding_worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.store.waiting import webhooks_to_check
from onboarding_worker.web.webhooks.session_chain import DIGESTS_KEPT
from onboarding_worker.web.webhooks.store.webhook_list import WebhookList
from tests.stored.webhook_feed import APPROVED, DENIED, FAILED


def forgotten(feed):
    """The digests of all earlier webhooks are gone."""
    feed.shelf.clock.advance(days=30, minutes=1)
    WebhookList(feed.shelf.database, feed.shelf.keyring).remove(since=feed.shelf.clock() - DIGESTS_KEPT)


def test_a_copy_of_an_old_verdict_without_a_time_changes_no_result_and_is_an_alert(ona, feed):
    feed.receive(APPROVED, body=b"approved")
    ona.clock.advance(days=1)
    feed.receive(DENIED, body=b"denied")
    update_at = ona.row(SessionRow).update_at
    forgotten(feed)
    assert ona.rows(Webhook) == []
    worked = feed.receive(APPROVED, body=b"approved")
    assert (ona.row(SessionRow).state, ona.job("Ona").result) == (FAILED, "denied")
    (alert,) = worked.listed
    assert alert[2] is WebhookState.ALERT
    assert alert[3].startswith("it says approved, but denied is stored")
    feed.receive(DENIED, body=b"denied")
    assert ona.row(SessionRow).update_at == update_at  # the known verdict keeps its time too


@pytest.mark.both_databases
def test_a_contradicted_verdict_is_applied_once_an_operator_vouches_for_it(ona, feed):
    listed = WebhookList(ona.database, ona.keyring)
    feed.receive(APPROVED)
    forgotten(feed)
    feed.receive(DENIED)
    ona.clock.advance(minutes=1)
    (one,) = listed.newest([WebhookState.ALERT], most=10)
    assert (one.customer, one.ids) == ("Ona", ("scanRef s…1",))
    assert listed.retry(id_=None, now=ona.clock()) == 0  # only by its id
    assert listed.retry(id_=one.id, now=ona.clock()) == 1
    feed.work()
    assert (ona.row(SessionRow).state, ona.job("Ona").result) == (FAILED, "denied")
    assert (ona.row(Webhook).state, ona.row(Webhook).encrypted) == ("applied", None)
    assert listed.retry(id_=one.id, now=ona.clock()) == 0


@pytest.mark.both_databases
def test_a_contradicted_verdict_that_a_person_has_looked_at_is_listed_no_more_and_is_not_applied(ona, feed):
    listed = WebhookList(ona.database, ona.keyring)
    feed.receive(APPROVED)
    forgotten(feed)
    feed.receive(DENIED)
    assert webhooks_to_check(ona.database)[0] == 1
    (one,) = listed.newest([WebhookState.ALERT], most=10)
    assert listed.done([one.id, uuid.uuid4()], now=ona.clock()) == 1
    assert (webhooks_to_check(ona.database)[0], listed.newest(LISTED_WEBHOOKS, most=10)) == (0, [])
    assert ona.rows(Audit)[-1].subject == f"webhook {one.id}"
    assert listed.done([one.id], now=ona.clock()) == listed.retry(id_=one.id, now=ona.clock()) == 0
    feed.work()
    assert (ona.row(Webhook).state, ona.job("Ona").result) == ("seen", "approved")


def test_a_webhook_for_a_session_of_others_needs_no_person(ona, feed):
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, "of-another-system"),)))
    ona.set(Webhook, sa.true(), state="unknown", due_at=None)
    assert webhooks_to_check(ona.database) == (0, None)


def test_a_verdict_with_a_later_time_is_applied_however_late_it_comes(ona, feed):
    feed.receive(APPROVED)
    forgotten(feed)
    feed.receive(replace(DENIED, happened_at=ona.clock() - timedelta(hours=1)))
    assert (ona.row(SessionRow).state, ona.job("Ona").result) == (FAILED, "denied")
