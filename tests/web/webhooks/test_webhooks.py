"""A webhook is stored once and processed until it is done or an operator should look at it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import SessionRow, Webhook
from onboarding_worker.core.model.states import Result, WebhookState
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.web.webhooks.store.webhook_list import WebhookList
from onboarding_worker.web.webhooks.store.webhooks import UNMATCHED_BACKOFF, Arrived, Webhooks
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, REVIEW, STARTED, update


def test_the_same_bytes_are_kept_once(ona, feed):
    assert [*feed.keep(APPROVED, body=b"x"), *feed.keep(APPROVED, body=b"x")] == [True, False]
    assert len(ona.rows(Webhook)) == 1
    assert feed.keep(APPROVED, REVIEW, body=b"x", account="other") == [True, False]


@pytest.mark.both_databases
def test_a_copy_is_recognised_by_the_digest_of_an_older_key(ona, feed):
    before = replace(feed.arrived(APPROVED), digests=("old",))
    after = replace(before, digests=("new", "old"))
    assert feed.webhooks.keep([before], now=ona.clock()) == [True]
    assert feed.webhooks.keep([after], now=ona.clock()) == [False]


def test_an_update_that_overtakes_our_own_commit_is_processed_soon_after(shelf, feed):
    feed.receive(REVIEW)
    assert (shelf.row(Webhook).state, shelf.row(Webhook).due_at) == ("waiting", shelf.clock() + UNMATCHED_BACKOFF.first)
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.clock.advance(seconds=5)
    feed.work()
    assert shelf.row(SessionRow).state is STARTED


def test_a_webhook_that_changes_nothing_says_that_its_session_is_not_known_here(ona, feed):
    news = replace(update(None), note="nothing that concerns a session")
    for match in (((Key.SCAN_REF, "of-nobody"),), (), ((Key.SCAN_REF, ona.row(SessionRow).reference),)):
        feed.receive(replace(news, match=match))
    kept = sorted((row.state, row.detail) for row in ona.rows(Webhook))
    said = "nothing that concerns a session"
    assert kept == [("ignored", said), ("ignored", said), ("ignored", f"{said}; no session here matches it")]


def test_an_unmatched_webhook_is_tried_for_a_day_then_kept_and_listed(shelf, feed):
    feed.keep(REVIEW)
    listed = []
    for wait in (timedelta(), *UNMATCHED_BACKOFF.waits):
        assert shelf.row(Webhook).state == "waiting"
        shelf.clock.now += wait
        listed += feed.work().listed
    row = shelf.row(Webhook)
    assert (row.state, row.due_at, row.encrypted is None) == ("unknown", None, False)
    assert [(source, state.value) for source, _, state, _ in listed] == [("account/kyc", "unknown")]
    in_all = sum(UNMATCHED_BACKOFF.waits, timedelta())
    assert timedelta(hours=23) < in_all < timedelta(hours=25)


@pytest.mark.both_databases
def test_an_unmatched_webhook_is_listed_with_masked_ids_and_processed_again_on_demand(shelf, feed):
    listed = WebhookList(shelf.database, shelf.keyring)
    match = ((Key.SCAN_REF, "3f2a9c1d-7e66-4b12"), (Key.CLIENT_ID, "Ona"), (Key.TOKEN, "secret-token"))
    feed.keep(replace(REVIEW, match=match))
    shelf.set(Webhook, state="unknown", due_at=None)
    (one,) = listed.newest([WebhookState.UNKNOWN], most=10)
    assert (one.customer, one.ids) == (None, ("scanRef 3f2a…4b12", "clientId …"))
    assert listed.count() == {WebhookState.UNKNOWN: 1, WebhookState.ALERT: 0, WebhookState.BROKEN: 0}
    shelf.add(customer("Ona"))
    shelf.issue()
    assert listed.retry(id_=one.id, now=shelf.clock()) == 1
    feed.work()
    assert shelf.row(SessionRow).state is STARTED
    (one,) = listed.newest([WebhookState.APPLIED], most=10)
    assert (one.customer, one.ids) == ("Ona", ())
    assert listed.retry(id_=None, now=shelf.clock()) == 0


def test_an_alert_is_listed_once(ona, feed):
    worked = feed.receive(update(alert=True, note="the company is due to be verified again"))
    assert worked.listed[0][3] == "the company is due to be verified again"
    assert ona.row(Webhook).state == "alert"
    assert feed.work().listed == []


def test_a_senders_update_without_a_match_is_not_stored(shelf):
    unread = Webhooks(shelf.database, shelf.keyring, {})
    unread.keep([Arrived("sender/sms", ("d",), "delivered", {"address": "+37060000001"})], now=shelf.clock())
    for wait in (timedelta(), *UNMATCHED_BACKOFF.waits):
        shelf.clock.now += wait
        unread.process(now=shelf.clock())
    assert (shelf.row(Webhook).state, shelf.row(Webhook).encrypted) == ("unknown", None)


def test_a_webhook_that_uncovers_a_bug_delays_no_other_and_is_broken_in_the_end(ona, feed):
    feed.keep(update(STARTED, Result.REVIEW), REVIEW)
    bad, good = ona.rows(Webhook)
    ona.set(Webhook, Webhook.id == bad.id, encrypted=b"\x01nonsense")
    feed.work()
    assert {row.id: row.state for row in ona.rows(Webhook)} == {bad.id: "waiting", good.id: "applied"}
    for _ in range(4):
        ona.clock.advance(hours=1)
        worked = feed.work()
    row = ona.row(Webhook, id=bad.id)
    assert (row.state, row.due_at, row.detail) == ("broken", None, "processing it ended with CannotDecrypt")
    assert len(worked.listed) == 1


@pytest.mark.postgresql_alone
def test_of_two_processes_at_once_one_skips_the_webhooks_that_the_other_has_locked(ona, feed, in_parallel):
    feed.keep(*(replace(REVIEW, match=((Key.SCAN_REF, f"scan-{n}"),)) for n in range(250)))
    done = in_parallel(lambda: feed.work().count, times=3)
    while done[-1]:
        done.append(feed.work().count)
    assert sum(done) == 250
