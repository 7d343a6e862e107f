"""No session is asked for where nobody could be told of its link: its job ends as if its messages had."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.store.maintenance.test_expired_sessions import TERMS, invited, let_expire
from tests.store.shelf import Shelf, customer
from tests.store.statements import statements
from worker.domain.contact.contact_times import Hours
from worker.domain.contact.quiet_hours import QuietHours
from worker.domain.contact.suppression import Reason
from worker.domain.limits.rate_limits import Limit
from worker.domain.model.customers import Channel, Person
from worker.domain.model.endings import Kind, Reconcile, Retry
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.foundation.keyring import Keyring, new_key
from worker.store.base.priorities import EVENT
from worker.store.maintenance.expired_sessions import Expiring
from worker.store.messages.suppressions import release, suppress
from worker.store.operators.decisions import Decisions, Which
from worker.store.tables import Attempt, Budget, InvitationRow, Job, SessionRow, Suppression

EMAIL, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")
JONAS = customer("Jonas", person=Person(email="jonas@example.org", phone="+37060000002"))


@pytest.fixture
def keep(shelf):
    """Keep addresses from being written to: `keep(email=…, sms=…)`."""

    def put(**reasons):
        with shelf.database.write() as connection:
            for address in (EMAIL, TEXT):
                if (reason := reasons.get(address[0])) is not None:
                    suppress(connection, shelf.keyring, *address, reason, "vita", now=shelf.clock())

    return put


def let_go(shelf, *addresses):
    with shelf.database.write() as connection:
        for address in addresses:
            release(connection, shelf.keyring, *address)


def ids(jobs):
    return [job.request.customer.customer_id for job in jobs]


def end(shelf, name="Ona"):
    row = shelf.job(name)
    return row.state, row.reason


FAILED, LAPSED = (JobState.FAILED, "suppressed"), (JobState.LAPSED, "suppressed")


def test_a_customer_who_may_not_be_written_to_is_not_called_for_and_the_others_are(shelf, keep):
    keep(email=Reason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (ids(claimed.jobs), claimed.adopted_channels) == (["Jonas"], frozenset())
    row = shelf.job("Ona")
    assert (end(shelf), row.detail) == (FAILED, "an operator put the address on the list")
    assert (row.due_at, row.lease_until, row.attempts, row.waits) == (None, None, 0, 0)
    assert shelf.rows(Attempt) == []
    assert shelf.claim() == []


BOTH = customer("Ona", channel=Channel.BOTH)
BOTH_SUPPRESSED = customer("Rasa", channel=Channel.BOTH, person=Person(email=EMAIL[1], phone=TEXT[1]))
NO_PHONE = customer("Ona", person=Person(email=EMAIL[1]))


@pytest.mark.parametrize(
    ("who", "fallback", "reasons"),
    [
        (customer("Ona"), None, {"email": Reason.BOUNCE}),
        (customer("Ona"), "sms", {"email": Reason.STOP}),
        (customer("Ona"), "sms", {"email": Reason.BOUNCE, "sms": Reason.STOP}),
        (NO_PHONE, "sms", {"email": Reason.BOUNCE}),
        (customer("Ona", channel=Channel.SMS), "sms", {"sms": Reason.BOUNCE}),
        (BOTH, None, {"email": Reason.BOUNCE, "sms": Reason.STOP}),
    ],
    ids=["no fallback", "she asked for it", "nor the fallback", "no phone", "the fallback itself", "both"],
)
def test_nobody_could_be_told_where_no_channel_is_left(shelf, keep, who, fallback, reasons):
    keep(**reasons)
    shelf.add(who)
    assert shelf.claim(policy=replace(shelf.policy, fallback=fallback)) == []
    assert end(shelf) == FAILED


@pytest.mark.parametrize(
    ("who", "fallback", "reasons"),
    [
        (customer("Ona"), "sms", {"email": Reason.BOUNCE}),
        (customer("Ona"), None, {"sms": Reason.STOP}),
        (BOTH, None, {"email": Reason.STOP}),
        (customer("Ona", channel=Channel.NONE), None, {"email": Reason.STOP, "sms": Reason.STOP}),
    ],
    ids=["a text instead", "not on her channel", "one of both", "none is asked for"],
)
def test_who_may_be_told_is_called_for(shelf, keep, who, fallback, reasons):
    keep(**reasons)
    shelf.add(who)
    assert ids(shelf.claim(policy=replace(shelf.policy, fallback=fallback))) == ["Ona"]


def test_who_is_in_the_app_is_to_have_the_link_there(shelf, keep):
    keep(email=Reason.BOUNCE)
    shelf.add(customer("Ona"), priority=EVENT)
    shelf.set(Job, invite_at=shelf.clock() + timedelta(hours=1))
    assert ids(shelf.claim()) == ["Ona"]


def test_the_first_session_of_an_event_may_be_what_its_sender_waits_for_and_another_is_not(shelf, keep):
    keep(email=Reason.BOUNCE)
    shelf.add(customer("Ona"), priority=EVENT)
    assert len(shelf.issue(lifetime=timedelta(days=1))) == 1
    assert shelf.claim_messages() == []
    assert end(shelf) == FAILED
    shelf.clock.advance(days=2)
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="")
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_a_call_in_doubt_is_looked_up_all_the_same_and_not_made_again(shelf, keep):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.UNKNOWN, Reconcile(shelf.clock(), "unknown", "")))
    keep(email=Reason.MANUAL)
    (job,) = shelf.claim()
    assert job.unknown_call.attempt_id == opened.attempt_id
    (look_up,) = shelf.open([job])
    shelf.finish(shelf.failed(look_up, Kind.TRANSIENT, Retry(shelf.clock(), "unknown", "")))
    shelf.set(Job, unknown_attempt=None)  # it was found not to have been carried out
    assert shelf.claim() == []
    assert end(shelf) == FAILED


@pytest.fixture
def quiet(shelf):
    """The account's terms, in the middle of quiet hours."""
    night = QuietHours.parse("00:00-23:00")
    return replace(shelf.policy, hours=Hours({"email": night}, "UTC"))


def test_it_does_not_wait_for_the_morning_to_say_so(shelf, keep, quiet):
    keep(email=Reason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    assert shelf.claim(policy=quiet) == []
    assert (end(shelf), end(shelf, "Jonas")) == (FAILED, (JobState.WAITING, "quiet_hours"))


def test_it_takes_no_slot_and_no_credit(shelf, keep):
    keep(email=Reason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    policy = shelf.ruled(limits=(Limit.parse("10/second"),), credits=5)
    (job,) = shelf.claim(policy=policy)
    assert job.slot == shelf.clock()
    budget = shelf.row(Budget, name="kyc")
    assert (budget.next_at, budget.credits_used) == (shelf.clock() + timedelta(milliseconds=100), 0)


def test_the_call_that_goes_first_after_a_pause_is_anothers(shelf, keep):
    keep(email=Reason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    shelf.set(Budget, pauses=1)
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.again_at) == ([], shelf.clock())
    assert ids(shelf.claim()) == ["Jonas"]


def test_a_link_that_ended_unused_is_not_replaced_once_nobody_could_be_told_of_a_new_one(shelf, keep, keyring):
    invited(shelf, customer("Ona"))
    let_expire(shelf)
    Expiring(shelf.database, keyring).look(TERMS, now=shelf.clock())
    assert shelf.job("Ona").state is JobState.WAITING
    keep(email=Reason.STOP)  # while it waits for its new session
    shelf.clock.advance(days=2)
    assert shelf.claim() == []
    assert (end(shelf), shelf.job("Ona").detail) == (LAPSED, "none of the customer's addresses may be written to")
    assert len(shelf.rows(SessionRow)) == 1


def test_one_who_was_never_told_of_the_link_that_ended_has_failed(shelf, keep):
    shelf.add(customer("Ona"))
    shelf.issue()
    session = shelf.row(SessionRow)
    shelf.set(SessionRow, state="expired")
    shelf.set(InvitationRow, state=InvitationState.SUPERSEDED, due_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), session_id=session.id)
    keep(email=Reason.MANUAL)
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_one_whom_a_person_puts_back_once_more_may_be_put_back_again(shelf, keep):
    batch = invited(shelf, customer("Ona"))
    shelf.set(SessionRow, state="failed", check_at=None)
    shelf.set(Job, state=JobState.FAILED, reason="session_failed")
    keep(email=Reason.MANUAL)
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_a_session_that_lives_already_is_told_of_or_not_as_its_message_leaves(shelf, keep):
    first = shelf.add(customer("Ona"))
    shelf.issue()
    Decisions(shelf.database).cancel(first, now=shelf.clock())
    keep(email=Reason.MANUAL)
    second = shelf.add(customer("Ona"))
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.adopted_channels) == ([], {"email"})
    assert shelf.claim_messages() == []
    assert shelf.job("Ona", batch_id=second).reason == "suppressed"


def test_once_the_address_is_released_a_retry_asks_for_the_session(shelf, keep):
    keep(email=Reason.MANUAL)
    batch = shelf.add(customer("Ona"))
    shelf.claim()
    decisions = Decisions(shelf.database)
    assert decisions.retry(Which(batch), now=shelf.clock()).rows == 1
    assert shelf.claim() == []  # not before it is
    assert end(shelf) == FAILED
    let_go(shelf, EMAIL)
    assert decisions.retry(Which(batch), now=shelf.clock()).accounts == {"kyc"}
    shelf.issue()
    assert ids_of_letters(shelf.send()) == ["Ona"]
    assert shelf.job("Ona").state is JobState.INVITED


def ids_of_letters(messages):
    return [message.customer.customer_id for message in messages]


def test_whom_no_key_opens_is_held_and_not_given_up(shelf, keep, database, clock):
    keep(email=Reason.MANUAL)
    shelf.add(customer("Ona"))
    other = Shelf(database, Keyring([new_key()]), clock)
    assert other.claim() == []
    assert end(shelf) == (JobState.HELD, "cannot_open")


@contextmanager
def taking(shelf):
    with statements(shelf.database) as made:
        yield made
    made[:] = [one for one in made if not one.startswith(("BEGIN", "COMMIT", "SELECT 1"))]


def test_as_long_as_nothing_is_suppressed_nothing_is_asked_and_then_one_statement_a_taking(shelf, keep):
    shelf.claim()
    shelf.add(*(customer(f"C{number}") for number in range(3)))
    with taking(shelf) as without:
        assert len(shelf.claim()) == 3
    keep(email=Reason.MANUAL)
    shelf.add(*(customer(f"D{number}") for number in range(3)))
    with taking(shelf) as asked:
        assert len(shelf.claim()) == 3
    assert len(asked) == len(without) + 1
    assert not any("FROM suppression WHERE" in one for one in without)


def test_an_address_that_an_older_key_hashed_is_known_and_kept_by_the_newest(shelf, keep, database, clock):
    old = new_key()
    before, after = Shelf(database, Keyring([old]), clock), Shelf(database, Keyring([new_key(), old]), clock)
    before.add(customer("Ona"))
    with database.write() as connection:
        suppress(connection, before.keyring, *EMAIL, Reason.STOP, "vita", now=clock())
    assert after.claim() == []
    with database.read() as connection:
        (row,) = connection.execute(sa.select(Suppression.__table__))
    assert row.key_id == after.keyring.digest_ids[0]


def test_it_is_reported_and_counted_as_suppressed_once_whichever_way_it_ended(shelf, keep, keyring):
    batch = shelf.add(customer("Ona"), JONAS)
    shelf.issue()
    other = shelf.add(customer("Ona"))
    keep(email=Reason.MANUAL)
    late = shelf.add(customer("Vita", person=Person(email=EMAIL[1])), BOTH_SUPPRESSED, batch=batch, first_row=4)
    keep(sms=Reason.STOP)
    assert late == batch
    assert shelf.claim() == []
    shelf.send()
    counts = shelf.facts.counts(batch)
    assert counts.jobs == {JobState.FAILED: 3, JobState.INVITED: 1}
    # Ona's own was kept back as it was about to leave; of the others', one and two, none was written.
    assert counts.invitations == {InvitationState.SENT: 1, InvitationState.SUPPRESSED: 4}
    said = {line.customer_id: (line.invitation, line.reason) for line in shelf.facts.lines(batch)}
    assert said.pop("Jonas") == ("sent", "")
    assert set(said.values()) == {("suppressed", "suppressed")}
    (joined,) = shelf.facts.lines(other)
    assert (joined.state, joined.invitation) == ("failed", "suppressed")


def test_who_joined_one_of_whom_nothing_was_written_is_reported_alike(shelf, keep):
    shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    keep(email=Reason.MANUAL)
    shelf.claim()
    (joined,) = shelf.facts.lines(second)
    assert (joined.state, joined.invitation) == ("failed", "suppressed")
    assert shelf.facts.counts(second).invitations == {}  # it is the other list's
