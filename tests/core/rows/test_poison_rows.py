"""One row that raises an exception, whatever it is, stops only itself: it is held with the kind of the exception.

A sealed value of another shape stands for every exception: a newer release may have written it, or a person.
"""

from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import decrypt_line, decrypt_person
from onboarding_worker.core.database.tables import Attempt, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.endings import RetryPolicy
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rows.row_by_row import SAMPLE, Chunk, row_by_row
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep.expired_sessions import ExpiryPolicy, check
from onboarding_worker.core.work.store.job_context import JobPolicy
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.stored.shelf import WEEK, customer
from tests.stored.takeovers import add, stop, takeover

NAMES = ("Ona", "Jonas", "Rasa", "Petras", "Lina")
POISONS = [
    ({"date_of_birth": "yesterday"}, "ValueError"),
    ({"date_of_birth": 7}, "TypeError"),
    (["no", "object"], "AttributeError"),
]
TWO_ROWS = (SimpleNamespace(id=1), SimpleNamespace(id=2))
EXPIRY = ExpiryPolicy(
    ContactPolicy(Caps(3, 100), timedelta(days=1), 10_000), {"kyc": WEEK}, {"kyc": lambda expires_at: expires_at}
)


@pytest.fixture(params=POISONS, ids=[kind for _, kind in POISONS])
def poison(request):
    return request.param


def poison_customer(shelf, name, value):
    encrypted = shelf.keyring.encrypt(value, context=f"customer {name}")
    shelf.set(CustomerRow, CustomerRow.customer_id == name, encrypted=encrypted)


def held(shelf, name, kind):
    row = shelf.job(name)
    assert (row.state, row.reason, row.due_at) == (JobState.HELD, Reason.CANNOT_WORK, None)
    assert kind in row.detail


@pytest.mark.parametrize("bad", [{"Ona"}, {"Rasa", "Lina"}, set(NAMES)])
def test_jobs_of_customers_that_cannot_be_read_are_held_and_all_others_are_claimed(shelf, poison, bad):
    value, kind = poison
    batch = shelf.add(*map(customer, NAMES))
    for name in bad:
        poison_customer(shelf, name, value)

    claimed = shelf.claim()

    assert {job.customer.customer_id for job in claimed} == set(NAMES) - bad
    for name in bad:
        held(shelf, name, kind)
    assert shelf.facts.counts(batch).jobs.get(JobState.HELD) == len(bad)
    assert len(shelf.rows(Attempt)) == 0


def test_a_message_to_a_customer_that_cannot_be_read_is_held_and_all_others_are_claimed(shelf, poison):
    value, kind = poison
    shelf.add(*map(customer, NAMES))
    shelf.issue()
    poison_customer(shelf, "Rasa", value)

    claimed = shelf.claim_messages()

    assert {item.customer.customer_id for item in claimed} == set(NAMES) - {"Rasa"}
    row = shelf.row(InvitationRow, job_id=shelf.job("Rasa").id)
    assert (row.state, row.reason, row.due_at) == (InvitationState.HELD, Reason.CANNOT_WORK, None)
    held(shelf, "Rasa", kind)


def test_a_session_that_cannot_be_checked_is_set_aside_with_its_job_and_all_others_are_checked(shelf, poison, decide):
    value, kind = poison
    batch = shelf.add(*map(customer, NAMES))
    shelf.issue()
    shelf.send()
    poison_customer(shelf, "Rasa", value)
    shelf.clock.now += WEEK + SETTLES

    counts = check(shelf.database, shelf.keyring, EXPIRY, now=shelf.clock())

    assert counts.reissued == len(NAMES) - 1
    held(shelf, "Rasa", kind)
    assert check(shelf.database, shelf.keyring, EXPIRY, now=shelf.clock()).sessions == 0

    # Mended, and repeated by a person, it is served as the others are.
    poison_customer(shelf, "Rasa", {"email": "rasa@example.org"})
    decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    assert len(shelf.issue()) == len(NAMES)
    assert len(shelf.rows(SessionRow, state=SessionState.WAITING)) == len(NAMES)


class Well(tuple):
    """Accounts that are well. Asked for one account of a row, it raises."""

    def __contains__(self, account):
        return 1 / 0 if account == "odd" else super().__contains__(account)


def test_a_row_that_cannot_be_taken_over_is_held_and_all_others_are_taken_over(shelf, failover):
    add(shelf, customer("Ona"), customer("Jonas"))
    add(shelf, customer("Rasa"), fallback_accounts=("odd", "au"))
    stop(shelf)

    assert failover.move(takeover(well=Well(["au"])), now=shelf.clock()) == 2

    held(shelf, "Rasa", "ZeroDivisionError")


@dataclass(frozen=True)
class RaisesAtTheFourth(RetryPolicy):
    def after(self, failures, jitter):
        return 1 / 0 if failures == 4 else super().after(failures, jitter)


def test_a_lease_that_cannot_be_ended_is_held_with_its_call_and_all_others_are_ended(shelf, decide):
    batch = shelf.add(*map(customer, NAMES))
    opened = shelf.open(shelf.claim(), repeatable=True)
    shelf.set(Job, Job.customer_id == "Rasa", attempts=3)
    shelf.clock.advance(seconds=61)

    ended = shelf.expired_leases.end(RaisesAtTheFourth(), now=shelf.clock())

    assert ended.repeated == len(NAMES) - 1
    held(shelf, "Rasa", "ZeroDivisionError")
    (call,) = [item for item in opened if item.customer.customer_id == "Rasa"]
    assert shelf.job("Rasa").unknown_attempt == call.attempt_id
    decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    assert shelf.job("Rasa").unknown_attempt == call.attempt_id  # it is looked up, not made again


class OfAReleaseWithABug(JobPolicy):
    @property
    def permit_owner(self):
        return 1 / 0


def test_a_fault_of_no_row_holds_no_row(shelf):
    shelf.add(*map(customer, NAMES))
    with pytest.raises(ZeroDivisionError):
        shelf.claim(policy=OfAReleaseWithABug(**vars(shelf.policy)))
    assert {row.state for row in shelf.rows(Job)} == {JobState.WAITING}


def test_a_fault_that_every_row_of_a_large_chunk_meets_holds_none_of_them(shelf, caplog):
    """It is this release's: thousands of rows would wait for a person, though a corrected release could go on."""
    names = [f"C{number}" for number in range(SAMPLE + 5)]
    shelf.add(*map(customer, names))
    for name in names:
        poison_customer(shelf, name, {"date_of_birth": "yesterday"})
    with pytest.raises(ValueError, match="yesterday"):
        shelf.claim()
    assert {row.state for row in shelf.rows(Job)} == {JobState.WAITING}
    assert "yesterday" not in caplog.text


def test_an_outage_during_a_trial_holds_no_row(shelf):
    tried = []

    def work(_connection, chunk):
        chunk.of(TWO_ROWS)
        tried.append(chunk)
        if len(tried) == 1:
            raise ValueError
        raise sa.exc.OperationalError(None, None, Exception("gone"))

    with pytest.raises(sa.exc.OperationalError):
        row_by_row(shelf.database, "rows", work, lambda *_: pytest.fail("a row was set aside"))


def test_rows_that_raise_together_and_not_alone_are_not_set_aside(shelf):
    def work(_connection, chunk: Chunk):
        if len(chunk.of(TWO_ROWS)) == 2:
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 -- whatever it was
        row_by_row(shelf.database, "rows", work, lambda *_: pytest.fail("a row was set aside"))


def test_keys_of_a_newer_release_are_ignored(keyring):
    person = keyring.encrypt({"email": "ona@example.org", "pronoun": "she"}, context="customer Ona")
    assert decrypt_person(keyring, "Ona", person) == Person(email="ona@example.org")
    line = keyring.encrypt({"tags": ["vip"], "colour": "red"}, context="line 1:2")
    assert decrypt_line(keyring, 1, 2, line).tags == ("vip",)


def test_a_list_with_a_customer_whose_details_cannot_be_read_is_imported_and_its_details_count(shelf, poison):
    shelf.add(customer("Ona"), customer("Rasa"))
    poison_customer(shelf, "Ona", poison[0])

    shelf.add(*(customer(name, person=Person(email=f"{name}@new.example")) for name in ("Ona", "Rasa")))
    for name in ("Ona", "Rasa"):
        assert (
            decrypt_person(shelf.keyring, name, shelf.row(CustomerRow, customer_id=name).encrypted).email
            == f"{name}@new.example"
        )
