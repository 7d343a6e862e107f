"""What providers tell is applied to sessions, jobs and messages, in whatever order it comes; and kept once."""

import uuid
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
import sqlalchemy as sa

from worker.customers import Channel
from worker.ids import new_id
from worker.models import InvitationRow, Job, Outbox, SessionRow, Webhook
from worker.news import Key, Result, SessionNews
from worker.states import InvitationState, JobState, SessionState
from worker.store.finding import Asked, find
from worker.store.hearing import Hears
from worker.store.inviting import move_jobs
from worker.store.webhook_list import WebhookList
from worker.store.webhooks import ACCOUNT, UNKNOWN_WAITS, Arrived, Webhooks, WebhookState

from .beside import on_postgresql, waiting
from .shelf import customer

STARTED, COMPLETED, FAILED = SessionState.STARTED, SessionState.COMPLETED, SessionState.FAILED
EXPIRED, SUPERSEDED = SessionState.EXPIRED, SessionState.SUPERSEDED


class Ear:
    """Tells the shelf what a provider says."""

    def __init__(self, shelf):
        self.shelf = shelf
        hears = Hears(
            shelf.keyring, {"kyc": frozenset({"kyc", "kyc-narrow"}), "au": frozenset({"au"})}, most_reissues=3
        )
        self.webhooks = Webhooks(shelf.database, shelf.keyring, {ACCOUNT: hears})
        self.number = 0

    def arrived(self, news, *, account="kyc", body=None):
        self.number += 1
        digests = self.shelf.keyring.digests(sha256(body or str(self.number).encode()).hexdigest())
        return Arrived(f"account/{account}", digests, news.event, news.as_json())

    def keep(self, *news, **how):
        return self.webhooks.keep([self.arrived(one, **how) for one in news], now=self.shelf.clock()).receipts

    def work(self):
        return self.webhooks.work(now=self.shelf.clock())

    def tell(self, *news, **how):
        self.keep(*news, **how)
        return self.work()


@pytest.fixture
def ear(shelf):
    return Ear(shelf)


def news(state=None, result=None, *, match=((Key.SCAN_REF, "scan-1"),), **more):
    final = state in (COMPLETED, FAILED) and result is not None
    return SessionNews("EVENT", match, state, final=more.pop("final", final), result=result, **more)


APPROVED = news(COMPLETED, Result.APPROVED)
DENIED = news(FAILED, Result.DENIED)
REVIEW = news(STARTED, Result.REVIEW)
OVER = news(EXPIRED)
GONE = news(FAILED, gone=True, note="deleted at the provider")


@pytest.fixture
def ona(shelf):
    """Ona was invited."""
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=1)
    return shelf


ENDS = {
    "Approved": (APPROVED, COMPLETED, JobState.COMPLETED, "approved"),
    "Denied": (DENIED, FAILED, JobState.COMPLETED, "denied"),
    "Suspected": (news(COMPLETED, Result.SUSPECTED), COMPLETED, JobState.COMPLETED, "suspected"),
    "Unknown": (news(COMPLETED, Result.UNKNOWN), COMPLETED, JobState.COMPLETED, "unknown"),
    "Review": (REVIEW, STARTED, JobState.INVITED, "review"),
    "Over": (OVER, EXPIRED, JobState.INVITED, ""),
    "Gone": (GONE, FAILED, JobState.FAILED, ""),
}


def test_each_end_of_a_session_is_its_jobs_end_or_not(shelf, ear):
    shelf.add(*(customer(name) for name in ENDS))
    shelf.issue()
    shelf.send()
    sessions = {row.customer_id: row for row in shelf.rows(SessionRow)}
    ear.tell(*(replace(end[0], match=((Key.SCAN_REF, sessions[name].reference),)) for name, end in ENDS.items()))
    for name, (_, state, job, result) in ENDS.items():
        row, of = shelf.row(SessionRow, customer_id=name), shelf.job(name)
        assert (row.state, of.state, of.result) == (state, job, result)
        assert row.look_at == (shelf.clock() if name == "Over" else None)
        failed = ("session_failed", "deleted at the provider") if name == "Gone" else ("", "")
        assert (of.reason, of.detail) == failed
        kept = shelf.row(Webhook, session_id=row.id)
        assert (kept.state, kept.due_at, kept.sealed) == ("applied", None, None)


def test_others_are_told_of_a_verdict_and_again_where_it_changes(ona, ear):
    ear.tell(APPROVED)
    ona.clock.advance(hours=1)
    ear.tell(DENIED)
    told = [(row.kind, row.data.get("result")) for row in ona.rows(Outbox)][-2:]
    assert told == [("session.completed", "approved"), ("session.completed", "denied")]
    assert ona.job("Ona").result == "denied"


def test_the_same_bytes_are_kept_once(ona, ear):
    assert [*ear.keep(APPROVED, body=b"x"), *ear.keep(APPROVED, body=b"x")] == [True, False]
    assert len(ona.rows(Webhook)) == 1
    assert ear.keep(APPROVED, REVIEW, body=b"x", account="other") == [True, False]


def test_what_an_older_key_of_the_ring_made_of_the_bytes_is_known_too(ona, ear):
    before = replace(ear.arrived(APPROVED), digests=("old",))
    after = replace(before, digests=("new", "old"))
    assert ear.webhooks.keep([before], now=ona.clock()).receipts == [True]
    assert ear.webhooks.keep([after], now=ona.clock()).receipts == [False]


def test_a_message_that_has_not_left_is_of_no_use_once_the_customer_has_finished(shelf, ear):
    shelf.add(customer("Ona"))
    shelf.issue()
    ear.tell(APPROVED)
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.SUPERSEDED, JobState.COMPLETED)
    assert shelf.take_letters() == []


def test_nobody_who_has_handed_everything_in_is_asked_to_or_given_another_link(shelf, ear):
    shelf.add(customer("Ona"))
    shelf.issue()
    ear.tell(REVIEW)
    for _ in range(8):  # until the link has ended, too
        assert shelf.take_letters() == []
        shelf.clock.advance(days=1)
    assert shelf.row(InvitationRow).reason == "in_review"
    assert (shelf.job("Ona").state, shelf.job("Ona").result) == (JobState.ISSUED, "review")
    ear.tell(OVER)  # a review that ended without a verdict
    shelf.issue()
    (letter,) = shelf.take_letters()
    assert letter.session_id == shelf.row(SessionRow, state=SessionState.WAITING).id


def test_a_link_that_expired_before_its_message_left_is_replaced(shelf, ear):
    shelf.add(customer("Ona"))
    shelf.issue()
    ear.tell(OVER)
    job = shelf.job("Ona")
    assert (job.state, job.reason, job.due_at, job.attempts) == (JobState.WAITING, "session_expired", shelf.clock(), 0)
    shelf.clock.advance(seconds=1)
    shelf.issue()
    assert [row.state for row in shelf.rows(SessionRow)] == [EXPIRED, SessionState.WAITING]
    assert shelf.job("Ona").reissues == 1


def test_nobody_is_issued_a_new_link_for_one_that_they_were_never_sent_beyond_the_cap(shelf, ear):
    shelf.add(customer("Ona"), customer("Vita", channel=Channel.NONE))
    shelf.issue()
    with shelf.database.write() as connection:
        now = connection.execute(sa.select(SessionRow.__table__).where(SessionRow.customer_id == "Ona")).one()
        for number in range(3):
            over = {"id": new_id(shelf.clock()), "reference": f"before-{number}", "state": EXPIRED, "look_at": None}
            over |= {"issued_at": now.issued_at - timedelta(days=9)}
            connection.execute(sa.insert(SessionRow).values(dict(now._mapping) | over))
    ear.tell(OVER, news(EXPIRED, match=((Key.SCAN_REF, "scan-2"),)))
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.LAPSED, "reissues_spent")
    assert shelf.job("Vita").state is JobState.ISSUED  # no message was asked for: nothing is replaced


def test_a_verdict_on_an_old_link_ends_the_job_that_waits_for_a_new_one(ona, ear):
    ona.set(SessionRow, state=EXPIRED)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    ear.tell(DENIED)
    job = ona.job("Ona")
    assert (job.state, job.due_at, job.result, job.reason) == (JobState.COMPLETED, None, "denied", "")
    assert ona.take() == []


def test_a_verdict_ends_the_job_that_is_called_for_and_what_the_call_opens_is_nobodys(ona, ear):
    ona.set(SessionRow, state=EXPIRED)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock())
    (opened,) = ona.open(ona.take())
    ear.tell(APPROVED)
    ona.finish(ona.got(opened))
    job = ona.job("Ona")
    assert (job.state, job.result, job.lease_until) == (JobState.COMPLETED, "approved", None)
    assert len(ona.rows(SessionRow)) == 1
    assert ona.facts.counts(job.batch_id).accounts["kyc"].late == 1  # which the report names


def test_a_verdict_on_an_old_link_ends_the_one_that_replaced_it(ona, ear):
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock())
    ona.set(SessionRow, state=EXPIRED)
    ona.issue()
    old, new = ona.rows(SessionRow)
    ear.tell(REVIEW)  # of a link that was replaced only a verdict counts
    assert [row.state for row in ona.rows(SessionRow)] == [EXPIRED, SessionState.WAITING]
    ear.tell(APPROVED)
    assert [row.state for row in ona.rows(SessionRow)] == [COMPLETED, SUPERSEDED]
    assert (ona.job("Ona").session_id, ona.job("Ona").result) == (old.id, "approved")
    assert ona.take_letters() == []
    ona.clock.advance(hours=1)
    ear.tell(news(FAILED, Result.DENIED, match=((Key.SCAN_REF, "scan-2"),)))
    assert (ona.job("Ona").session_id, ona.job("Ona").result) == (new.id, "denied")  # the provider's last word


def test_who_hands_in_on_a_link_that_our_clock_called_dead_is_not_asked_for_a_new_one(ona, ear):
    ona.set(SessionRow, state=EXPIRED, look_at=None)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    ear.tell(REVIEW)
    assert (ona.row(SessionRow).state, ona.job("Ona").state, ona.job("Ona").result) == (
        STARTED,
        JobState.INVITED,
        "review",
    )
    ona.clock.advance(hours=1)
    # The provider asks for more after all: the link's end is looked at again.
    ear.tell(news(STARTED))
    assert ona.row(SessionRow).look_at == max(ona.clock(), ona.row(SessionRow).expires_at + timedelta(minutes=15))
    assert ona.job("Ona").result == ""


def test_who_waits_for_a_new_link_gets_it_though_the_old_session_is_cleared_away(ona, ear):
    ona.clock.advance(days=8)
    ona.set(SessionRow, state=EXPIRED, look_at=None)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    ear.tell(GONE)
    assert (ona.job("Ona").state, ona.job("Ona").due_at) == (JobState.WAITING, ona.clock())
    assert len(ona.issue()) == 1
    assert ona.job("Ona").state is JobState.ISSUED


def test_a_later_end_that_is_a_reason_to_reissue_revives_a_job_that_failed_with_its_session(ona, ear):
    ear.tell(GONE)
    ear.tell(OVER)
    assert (ona.row(SessionRow).state, ona.job("Ona").state, ona.job("Ona").reason) == (EXPIRED, JobState.INVITED, "")


def test_a_list_that_joined_follows_and_one_that_comes_later_is_skipped(ona, ear):
    second = ona.add(customer("Ona"))
    ear.tell(APPROVED)
    assert ona.facts.counts(second).results == {"approved": 1}
    third = ona.add(customer("Ona"))
    assert ona.job("Ona", batch_id=third).reason == "already_finished"


def test_one_that_was_cancelled_stays_so_and_its_session_keeps_the_verdict(ona, ear):
    ona.set(Job, state=JobState.CANCELLED)
    second = ona.add(customer("Ona"))
    ear.tell(APPROVED)
    assert ona.row(SessionRow).state is COMPLETED
    jobs = {row.batch_id: row.state for row in ona.rows(Job)}
    assert jobs.pop(second) is JobState.COMPLETED  # who is served now has finished
    assert set(jobs.values()) == {JobState.CANCELLED}


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


def test_a_session_is_found_by_the_first_id_that_tells(ona):
    job = ona.job("Ona").id
    for match, found in MATCHES:
        match = tuple((key, value.replace("{job}", str(job))) for key, value in match)
        asked = Asked(uuid.uuid4(), replace(APPROVED, match=match), frozenset({"kyc"}))
        with ona.database.read() as connection:
            assert (asked.id in find(connection, ona.keyring, [asked])) is found, match


def test_what_is_no_verdict_is_not_taken_for_another_session_than_it_names(ona, ear):
    ona.set(SessionRow, references={"scanRef": "scan-1"})
    stray = ((Key.SCAN_REF, "stray"), (Key.CLIENT_ID, "Ona"))
    ear.tell(replace(OVER, match=stray))
    assert ona.row(SessionRow).state is SessionState.WAITING
    ear.tell(replace(APPROVED, match=stray))
    assert ona.row(SessionRow).state is COMPLETED


def test_an_account_speaks_for_those_that_share_its_address_alone(ona, ear):
    ear.tell(APPROVED, account="au")
    assert ona.job("Ona").state is JobState.INVITED
    ona.set(SessionRow, account="kyc-narrow")
    ear.tell(APPROVED)
    assert ona.job("Ona").state is JobState.COMPLETED


def test_a_copy_of_what_another_account_was_told_says_nothing_of_the_customers_session_here(ona, ear):
    """Both may have one key; and the customer, whom the one account did not take, a session of each."""
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
    ear.tell(replace(APPROVED, match=((Key.SCAN_REF, "scan-there"), (Key.CLIENT_ID, "Ona"))))
    assert ona.row(SessionRow, id=kept.id).state is SessionState.WAITING
    assert ona.job("Ona").state is JobState.INVITED


def test_a_companys_later_events_name_it_by_an_id_that_an_earlier_one_brought(ona, ear):
    ear.tell(news(STARTED, Result.REVIEW, company_id="company-7"))
    ear.tell(news(EXPIRED, match=((Key.COMPANY_ID, "company-7"),)))
    assert ona.row(SessionRow).state is EXPIRED


def test_news_that_overtakes_our_own_commit_is_worked_off_soon_after(shelf, ear):
    ear.tell(REVIEW)
    assert (shelf.row(Webhook).state, shelf.row(Webhook).due_at) == ("waiting", shelf.clock() + UNKNOWN_WAITS[0])
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.clock.advance(seconds=5)
    ear.work()
    assert shelf.row(SessionRow).state is STARTED


def test_what_is_nobodys_is_looked_at_for_a_day_then_kept_and_listed(shelf, ear):
    ear.keep(REVIEW)
    listed = []
    for wait in (timedelta(), *UNKNOWN_WAITS):
        assert shelf.row(Webhook).state == "waiting"
        shelf.clock.now += wait
        listed += ear.work().listed
    row = shelf.row(Webhook)
    assert (row.state, row.due_at, row.sealed is None) == ("unknown", None, False)
    assert [(source, state.value) for source, _, state, _ in listed] == [("account/kyc", "unknown")]
    assert timedelta(days=1) - timedelta(hours=1) < sum(UNKNOWN_WAITS, timedelta()) < timedelta(days=1, hours=1)


def test_what_a_person_should_look_at_is_said_once(ona, ear):
    worked = ear.tell(news(alert=True, note="the company is due to be verified again"))
    assert worked.listed[0][3] == "the company is due to be verified again"
    assert ona.row(Webhook).state == "alert"
    assert ear.work().listed == []


def test_one_that_uncovers_a_bug_keeps_no_other_waiting_and_is_broken_in_the_end(ona, ear):
    ear.keep(news(STARTED, Result.REVIEW), REVIEW)
    bad, good = ona.rows(Webhook)
    ona.set(Webhook, Webhook.id == bad.id, sealed=b"\x01nonsense")
    ear.work()
    assert {row.id: row.state for row in ona.rows(Webhook)} == {bad.id: "waiting", good.id: "applied"}
    for _ in range(4):
        ona.clock.advance(hours=1)
        worked = ear.work()
    row = ona.row(Webhook, id=bad.id)
    assert (row.state, row.due_at, row.detail) == ("broken", None, "working it off ended with CannotOpen")
    assert len(worked.listed) == 1


@on_postgresql
def test_of_two_that_work_off_at_once_one_passes_by_what_the_other_is_at(ona, ear, beside):
    ear.keep(*(replace(REVIEW, match=((Key.SCAN_REF, f"scan-{n}"),)) for n in range(250)))
    done = beside(lambda: ear.work().count, times=3)
    while done[-1]:
        done.append(ear.work().count)
    assert sum(done) == 250


@on_postgresql
def test_news_waits_for_whoever_has_the_job_and_then_sees_what_it_did(ona, ear):
    ear.keep(OVER)
    with waiting(ona.database, ear.work) as connection:
        connection.execute(sa.update(Job).values(state=JobState.CANCELLED))
    assert (ona.row(SessionRow).state, ona.job("Ona").state) == (EXPIRED, JobState.CANCELLED)


def test_what_is_nobodys_is_listed_with_what_it_names_shortened_and_worked_off_again_on_demand(shelf, ear):
    listed = WebhookList(shelf.database, shelf.keyring)
    match = ((Key.SCAN_REF, "3f2a9c1d-7e66-4b12"), (Key.CLIENT_ID, "Ona"), (Key.TOKEN, "secret-token"))
    ear.keep(replace(REVIEW, match=match))
    shelf.set(Webhook, state="unknown", due_at=None)
    (one,) = listed.newest([WebhookState.UNKNOWN], most=10)
    assert (one.customer, one.ids) == (None, ("scanRef 3f2a…4b12", "clientId …"))
    assert listed.count() == {WebhookState.UNKNOWN: 1, WebhookState.ALERT: 0, WebhookState.BROKEN: 0}
    shelf.add(customer("Ona"))
    shelf.issue()
    assert listed.again(id_=one.id, now=shelf.clock()) == 1
    ear.work()
    assert shelf.row(SessionRow).state is STARTED
    (one,) = listed.newest([WebhookState.APPLIED], most=10)
    assert (one.customer, one.ids) == ("Ona", ())
    assert listed.again(id_=None, now=shelf.clock()) == 0


def test_what_a_sender_told_is_not_kept_once_nothing_can_be_made_of_it(shelf):
    unread = Webhooks(shelf.database, shelf.keyring, {})
    unread.keep([Arrived("sender/sms", ("d",), "delivered", {"address": "+37060000001"})], now=shelf.clock())
    for wait in (timedelta(), *UNKNOWN_WAITS):
        shelf.clock.now += wait
        unread.work(now=shelf.clock())
    assert (shelf.row(Webhook).state, shelf.row(Webhook).sealed) == ("unknown", None)


def test_a_customer_who_finishes_though_the_message_came_back_has_finished(ona, ear):
    ona.set(InvitationRow, state=InvitationState.BOUNCED, reason="bounced")
    with ona.database.write() as connection:
        move_jobs(connection, [ona.job("Ona").id], now=ona.clock())
    assert (ona.job("Ona").state, ona.job("Ona").reason) == (JobState.FAILED, "bounced")
    ear.tell(APPROVED)
    job = ona.job("Ona")
    assert (job.state, job.result, job.reason) == (JobState.COMPLETED, "approved", "")
