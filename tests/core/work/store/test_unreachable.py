"""No session is opened if its link could not be sent to any address: the job ends as if its messages had ended."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job, SessionRow, Suppression
from onboarding_worker.core.foundation.keyring import Keyring, key_id_of, new_key
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Kind, Reconcile, Retry
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.suppressions import release, suppress
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.upkeep.expired_sessions import check
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.settings.policies import fallbacks
from tests.core.upkeep.test_expired_sessions import TERMS, invited, let_expire
from tests.stored.shelf import Shelf, changed, customer
from tests.stored.statements import statements

EMAIL, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")
JONAS = customer("Jonas", person=Person(email="jonas@example.org", phone="+37060000002"))


@pytest.fixture
def keep(shelf):
    """Suppress addresses: `keep(email=…, sms=…)`."""

    def put(**reasons):
        with shelf.database.write() as connection:
            for address in (EMAIL, TEXT):
                if (reason := reasons.get(address[0])) is not None:
                    suppress(connection, shelf.keyring, *address, reason, "vita", now=shelf.clock())

    return put


def unsuppress(shelf, *addresses):
    with shelf.database.write() as connection:
        for address in addresses:
            release(connection, shelf.keyring, *address)


def ids(jobs):
    return [job.customer.customer_id for job in jobs]


def end(shelf, name="Ona"):
    row = shelf.job(name)
    return row.state, row.reason


FAILED, LAPSED = (JobState.FAILED, "suppressed"), (JobState.LAPSED, "suppressed")


def test_no_call_is_made_for_a_suppressed_customer_and_calls_for_other_customers_are_made(shelf, keep):
    keep(email=SuppressionReason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (ids(claimed.jobs), claimed.reused_channels) == (["Jonas"], frozenset())
    row = shelf.job("Ona")
    assert (end(shelf), row.detail) == (FAILED, "an operator put the address on the list")
    assert (row.due_at, row.lease_until, row.attempts, row.waits) == (None, None, 0, 0)
    assert shelf.rows(Attempt) == []
    assert shelf.claim() == []


BOTH = customer("Ona", channel=Channel.BOTH)
BOTH_SUPPRESSED = customer("Rasa", channel=Channel.BOTH, person=Person(email=EMAIL[1], phone=TEXT[1]))
NO_PHONE = customer("Ona", person=Person(email=EMAIL[1]))


@pytest.mark.parametrize(
    ("person", "fallback", "reasons"),
    [
        (customer("Ona"), None, {"email": SuppressionReason.BOUNCE}),
        (customer("Ona"), "sms", {"email": SuppressionReason.STOP}),
        (customer("Ona"), "sms", {"email": SuppressionReason.BOUNCE, "sms": SuppressionReason.STOP}),
        (NO_PHONE, "sms", {"email": SuppressionReason.BOUNCE}),
        (customer("Ona", channel=Channel.SMS), "sms", {"sms": SuppressionReason.BOUNCE}),
        (BOTH, None, {"email": SuppressionReason.BOUNCE, "sms": SuppressionReason.STOP}),
    ],
    ids=["no fallback", "opted out", "the fallback is suppressed too", "no phone", "the fallback itself", "both"],
)
def test_a_job_without_a_usable_channel_fails(shelf, keep, person, fallback, reasons):
    keep(**reasons)
    shelf.add(person)
    assert shelf.claim(policy=changed(shelf.policy, fallbacks=fallbacks(fallback, CHANNELS))) == []
    assert end(shelf) == FAILED


@pytest.mark.parametrize(
    ("person", "fallback", "reasons"),
    [
        (customer("Ona"), "sms", {"email": SuppressionReason.BOUNCE}),
        (customer("Ona"), None, {"sms": SuppressionReason.STOP}),
        (BOTH, None, {"email": SuppressionReason.STOP}),
        (customer("Ona", channel=Channel.NONE), None, {"email": SuppressionReason.STOP, "sms": SuppressionReason.STOP}),
    ],
    ids=["a text instead", "suppressed on another channel", "one of both", "no message wanted"],
)
def test_a_job_with_a_usable_channel_is_called_for(shelf, keep, person, fallback, reasons):
    keep(**reasons)
    shelf.add(person)
    assert ids(shelf.claim(policy=changed(shelf.policy, fallbacks=fallbacks(fallback, CHANNELS)))) == ["Ona"]


def test_a_customer_in_the_app_gets_a_session_all_the_same(shelf, keep):
    keep(email=SuppressionReason.BOUNCE)
    shelf.add(customer("Ona"), priority=EVENT)
    shelf.set(Job, invite_at=shelf.clock() + timedelta(hours=1))
    assert ids(shelf.claim()) == ["Ona"]


def test_the_first_session_of_an_event_is_opened_for_its_sender_and_a_second_session_is_not(shelf, keep):
    keep(email=SuppressionReason.BOUNCE)
    shelf.add(customer("Ona"), priority=EVENT)
    assert len(shelf.issue(lifetime=timedelta(days=1))) == 1
    assert shelf.claim_messages() == []
    assert end(shelf) == FAILED
    shelf.clock.advance(days=2)
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="")
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_a_call_with_an_unknown_outcome_is_looked_up_all_the_same_and_not_repeated(shelf, keep):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.UNKNOWN, Reconcile(shelf.clock(), "unknown", "")))
    keep(email=SuppressionReason.MANUAL)
    (job,) = shelf.claim()
    assert job.unknown_call.attempt_id == opened.attempt_id
    (look_up,) = shelf.open([job])
    shelf.finish(shelf.failed(look_up, Kind.TRANSIENT, Retry(shelf.clock(), "unknown", "")))
    shelf.set(Job, unknown_attempt=None)  # the look-up found that the call was not carried out
    assert shelf.claim() == []
    assert end(shelf) == FAILED


@pytest.fixture
def quiet(shelf):
    """The account's policy, in the middle of quiet hours."""
    night = QuietHours.parse("00:00-23:00")
    return changed(shelf.policy, hours=Hours({"email": night}, "UTC"))


def test_an_unreachable_job_ends_during_quiet_hours_too(shelf, keep, quiet):
    keep(email=SuppressionReason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    assert shelf.claim(policy=quiet) == []
    assert (end(shelf), end(shelf, "Jonas")) == (FAILED, (JobState.WAITING, "quiet_hours"))


def test_an_unreachable_job_takes_no_slot_and_no_credit(shelf, keep):
    keep(email=SuppressionReason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    policy = shelf.ruled(limits=(Limit.parse("10/second"),), credits=5)
    assert len(shelf.claim(policy=policy)) == 1
    assert shelf.slots == [0]
    budget = shelf.row(Budget, name="kyc")
    assert (budget.next_at, budget.credits_used) == (shelf.clock() + timedelta(milliseconds=100), 0)


def test_the_call_that_goes_first_after_a_pause_is_for_another_job(shelf, keep):
    keep(email=SuppressionReason.MANUAL)
    shelf.add(customer("Ona"), JONAS)
    shelf.set(Budget, pauses=1)
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.again_at) == ([], shelf.clock())
    assert ids(shelf.claim()) == ["Jonas"]


def test_a_link_that_ended_unused_is_not_replaced_once_all_addresses_are_suppressed(shelf, keep, keyring):
    invited(shelf, customer("Ona"))
    let_expire(shelf)
    check(shelf.database, keyring, TERMS, now=shelf.clock())
    assert shelf.job("Ona").state is JobState.WAITING
    keep(email=SuppressionReason.STOP)  # while the job waits for its new session
    shelf.clock.advance(days=2)
    assert shelf.claim() == []
    assert (end(shelf), shelf.job("Ona").detail) == (LAPSED, "none of the customer's addresses may be written to")
    assert len(shelf.rows(SessionRow)) == 1


@pytest.mark.both_databases
def test_a_job_whose_expired_link_was_never_sent_has_failed(shelf, keep):
    shelf.add(customer("Ona"))
    shelf.issue()
    session = shelf.row(SessionRow)
    shelf.set(SessionRow, state="expired")
    shelf.set(InvitationRow, state=InvitationState.SUPERSEDED, due_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), session_id=session.id)
    keep(email=SuppressionReason.MANUAL)
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_a_job_that_an_operator_retries_fails_again_and_can_be_retried_again(shelf, keep):
    batch = invited(shelf, customer("Ona"))
    shelf.set(SessionRow, state="failed", check_at=None)
    shelf.set(Job, state=JobState.FAILED, reason="session_failed")
    keep(email=SuppressionReason.MANUAL)
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    assert shelf.claim() == []
    assert end(shelf) == FAILED


def test_the_message_of_an_adopted_live_session_is_checked_when_it_is_sent(shelf, keep):
    first = shelf.add(customer("Ona"))
    shelf.issue()
    Decisions(shelf.database).cancel(first, now=shelf.clock())
    keep(email=SuppressionReason.MANUAL)
    second = shelf.add(customer("Ona"))
    claimed = shelf.jobs.claim(shelf.policy, most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.reused_channels) == ([], {"email"})
    assert shelf.claim_messages() == []
    assert shelf.job("Ona", batch_id=second).reason == "suppressed"


def test_once_the_address_is_released_a_retry_opens_the_session(shelf, keep):
    keep(email=SuppressionReason.MANUAL)
    batch = shelf.add(customer("Ona"))
    shelf.claim()
    decisions = Decisions(shelf.database)
    assert decisions.retry(Which(batch), now=shelf.clock()).rows == 1
    assert shelf.claim() == []  # the address is still suppressed
    assert end(shelf) == FAILED
    unsuppress(shelf, EMAIL)
    assert decisions.retry(Which(batch), now=shelf.clock()).accounts == {"kyc"}
    shelf.issue()
    assert ids_of_messages(shelf.send()) == ["Ona"]
    assert shelf.job("Ona").state is JobState.INVITED


def ids_of_messages(messages):
    return [message.customer.customer_id for message in messages]


def test_a_customer_whom_no_key_decrypts_is_held_and_does_not_fail(shelf, keep, database, clock):
    keep(email=SuppressionReason.MANUAL)
    shelf.add(customer("Ona"))
    other = Shelf(database, Keyring([new_key()]), clock)
    assert other.claim() == []
    assert end(shelf) == (JobState.HELD, "cannot_open")


@contextmanager
def claiming(shelf):
    with statements(shelf.database) as made:
        yield made
    made[:] = [statement for statement in made if not statement.startswith(("BEGIN", "COMMIT", "SELECT 1"))]


def test_suppressions_cost_no_statement_while_there_are_none_and_then_one_for_each_claim(shelf, keep):
    shelf.claim()
    shelf.add(*(customer(f"C{number}") for number in range(3)))
    with claiming(shelf) as without:
        assert len(shelf.claim()) == 3
    keep(email=SuppressionReason.MANUAL)
    shelf.add(*(customer(f"D{number}") for number in range(3)))
    with claiming(shelf) as checked:
        assert len(shelf.claim()) == 3
    assert len(checked) == len(without) + 1
    assert not any("FROM suppression WHERE" in statement for statement in without)


def test_an_address_that_an_older_key_hashed_is_found_and_hashed_again_by_the_newest(shelf, keep, database, clock):
    old = new_key()
    before, after = Shelf(database, Keyring([old]), clock), Shelf(database, Keyring([new_key(), old]), clock)
    before.add(customer("Ona"))
    with database.write() as connection:
        suppress(connection, before.keyring, *EMAIL, SuppressionReason.STOP, "vita", now=clock())
    assert after.claim() == []
    with database.read() as connection:
        (row,) = connection.execute(sa.select(Suppression.__table__))
    assert key_id_of(row.digest) == after.keyring.digest_ids[0]


def test_a_suppressed_job_is_reported_and_counted_once_however_it_ended(shelf, keep, keyring):
    batch = shelf.add(customer("Ona"), JONAS)
    shelf.issue()
    other = shelf.add(customer("Ona"))
    keep(email=SuppressionReason.MANUAL)
    late = shelf.add(customer("Vita", person=Person(email=EMAIL[1])), BOTH_SUPPRESSED, batch=batch, first_row=4)
    keep(sms=SuppressionReason.STOP)
    assert late == batch
    assert shelf.claim() == []
    shelf.send()
    counts = shelf.facts.counts(batch)
    assert counts.jobs == {JobState.FAILED: 3, JobState.INVITED: 1}
    # Ona's message was suppressed when it was about to be sent. Vita (one) and Rasa (two) never got a message row.
    assert counts.invitations == {InvitationState.SENT: 1, InvitationState.SUPPRESSED: 4}
    lines = {line.customer_id: (line.invitation, line.reason) for line in shelf.facts.lines(batch)}
    assert lines.pop("Jonas") == ("sent", "")
    assert set(lines.values()) == {("suppressed", "suppressed")}
    (joined,) = shelf.facts.lines(other)
    assert (joined.state, joined.invitation) == ("failed", "suppressed")


def test_a_job_that_joined_a_suppressed_job_is_reported_alike(shelf, keep):
    shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    keep(email=SuppressionReason.MANUAL)
    shelf.claim()
    (joined,) = shelf.facts.lines(second)
    assert (joined.state, joined.invitation) == ("failed", "suppressed")
    assert shelf.facts.counts(second).invitations == {}  # the invitation belongs to the other list
