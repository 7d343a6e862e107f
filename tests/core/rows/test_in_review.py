"""A customer is in review through an earlier link: no session is bought, no link leaves, however many followed it."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, SessionRow
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep.expired_sessions import ExpiryCounts, ExpiryPolicy, check
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.stored.own_link import say_not_me
from tests.stored.shelf import WEEK, customer
from tests.stored.webhook_feed import APPROVED

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def ona(shelf, keyring):
    """A shelf with a customer whose second link has ended too: her third session is to be asked for."""
    policy = ExpiryPolicy(
        ContactPolicy(Caps(9, 100), DAY, 10_000), {"kyc": WEEK}, {"kyc": lambda expires_at: expires_at}
    )
    shelf.scan = lambda: check(shelf.database, keyring, policy, now=shelf.clock())
    shelf.add(customer("Ona"))
    for _ in range(2):
        shelf.issue()
        assert shelf.send()
        shelf.clock.now += WEEK + SETTLES
        assert shelf.scan() == ExpiryCounts(reissued=1)
        shelf.clock.now += DAY
    return shelf


def reviewed(shelf, result="review"):
    """What the provider says of the first link: the customer submitted late, and is reviewed."""
    first = min(shelf.rows(SessionRow), key=lambda session: session.issued_at)
    shelf.set(SessionRow, SessionRow.id == first.id, result=result)


def test_the_third_session_waits_for_the_review(ona):
    reviewed(ona)
    assert ona.claim() == []
    job = ona.job("Ona")
    assert (job.state, job.reason, job.due_at) == (JobState.WAITING, "in_review", ona.clock() + HOUR)
    reviewed(ona, "")  # it ended without a verdict
    ona.clock.now += HOUR
    assert len(ona.issue()) == 1
    assert len(ona.send()) == 1


@pytest.mark.both_databases
def test_a_row_whose_review_began_during_its_call_is_invited_and_its_review_is_looked_at_again(ona):
    """The call failed and is to be made again; the provider's update found the row leased."""
    last = max(ona.rows(SessionRow), key=lambda session: session.issued_at)
    ona.set(SessionRow, SessionRow.id == last.id, result="review", check_at=None)
    assert ona.claim() == []
    job = ona.job("Ona")
    assert (job.state, job.due_at, job.session_id) == (JobState.INVITED, None, last.id)
    assert ona.row(SessionRow, id=last.id).check_at is not None


def test_the_row_of_another_list_waits_for_the_review_too(ona, decide):
    first = ona.job("Ona").batch_id
    second = ona.add(customer("Ona"))
    reviewed(ona)
    assert ona.claim() == []
    decide.cancel(first, now=ona.clock())
    assert ona.claim() == []
    job = ona.job("Ona", batch_id=second)
    assert (job.state, job.reason, job.due_at) == (JobState.WAITING, "in_review", ona.clock() + HOUR)
    reviewed(ona, "")
    ona.clock.now += HOUR
    assert [job.batch_id for job in ona.issue()] == [second]


def test_a_list_that_comes_after_the_first_was_cancelled_waits_for_the_review_and_is_served_by_it(ona, decide, feed):
    decide.cancel(ona.job("Ona").batch_id, now=ona.clock())
    reviewed(ona)
    second = ona.add(customer("Ona"))
    assert ona.claim() == []
    job = ona.job("Ona", batch_id=second)
    assert (job.state, job.reason, job.due_at) == (JobState.WAITING, "in_review", ona.clock() + HOUR)
    assert ona.claim() == []
    feed.receive(APPROVED)
    assert ona.job("Ona", batch_id=second).state is JobState.COMPLETED


def test_the_link_of_a_later_list_waits_for_a_review_that_began_after_it_was_bought(ona, decide):
    decide.cancel(ona.job("Ona").batch_id, now=ona.clock())
    second = ona.add(customer("Ona"))
    assert [job.batch_id for job in ona.issue()] == [second]
    reviewed(ona)
    assert ona.send() == []
    ona.clock.now += WEEK + SETTLES
    assert ona.scan() == ExpiryCounts(unchanged=1)


def test_the_third_link_is_not_sent(ona):
    ona.issue()
    reviewed(ona)
    assert ona.send() == []
    assert ona.row(InvitationRow, state=InvitationState.WAITING).reason == "in_review"


def test_a_third_link_that_ends_is_not_followed_by_a_fourth(ona):
    ona.issue()
    ona.send()
    reviewed(ona)
    ona.clock.now += WEEK + SETTLES
    assert ona.scan() == ExpiryCounts(unchanged=1)
    reviewed(ona, "")
    ona.clock.now += HOUR
    assert ona.scan() == ExpiryCounts(reissued=1)


def test_a_row_whose_link_was_another_persons_waits_for_the_review_of_that_link(shelf, keyring):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    reviewed(shelf)
    say_not_me(shelf, keyring)
    Decisions(shelf.database).resolve(Which(batch, rows=read_rows("2")), Verdict.REPEAT, now=shelf.clock())
    assert shelf.claim() == []
    job = shelf.job("Ona")
    assert (job.state, job.reason, job.due_at) == (JobState.WAITING, "in_review", shelf.clock() + HOUR)
    reviewed(shelf, "")  # it ended without a verdict
    shelf.clock.now += HOUR
    assert len(shelf.claim()) == 1
