"""Personal data is erased once a customer's jobs are over, and no call or message uses the rest."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import Attempt, Audit, CustomerRow, InvitationRow, Job, Outbox, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import InvitationState, JobState, Result, SessionState
from onboarding_worker.events.store.event_customers import erase as erase_now
from onboarding_worker.features.privacy.store.removals import CHUNK, erase_next
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.core.database.test_at_rest import everything
from tests.stored.shelf import customer
from tests.suite.of_features import needs

QUARTER = timedelta(days=90)


@pytest.fixture
def erase(shelf):
    """Erase the customers who are due, as the timer does; returns how many."""

    def run(kept_for=QUARTER):
        after, erased = None, 0
        while True:
            number, after = erase_next(shelf.database, after=after, since=shelf.clock() - kept_for, now=shelf.clock())
            erased += number
            if after is None:
                return erased

    return run


def end(shelf, name, state=JobState.COMPLETED, **values):
    shelf.set(Job, Job.customer_id == name, state=state, changed_at=shelf.clock(), due_at=None, **values)


def end_long_ago(shelf, name="Ona", state=JobState.COMPLETED, **values):
    end(shelf, name, state, **values)
    shelf.clock.advance(days=91)


def sent(shelf, *customers, **session):
    """Customers who were sent their links."""
    batch = shelf.add(*customers)
    shelf.issue(**session)
    shelf.send()
    return batch


def kept(shelf):
    return {row.customer_id for row in shelf.rows(CustomerRow) if row.encrypted is not None}


def test_a_customer_is_erased_once_the_job_has_ended_for_long_enough(shelf, erase):
    sent(shelf, customer("Ona", tags=("vip",)), customer("Jonas"))
    for name in ("Ona", "Jonas"):
        end(shelf, name)
    shelf.clock.advance(days=89)
    assert erase() == 0
    assert shelf.rows(Audit, actor="retention") == []
    shelf.clock.advance(days=2)
    assert erase() == 2
    assert [(row.action, row.count) for row in shelf.rows(Audit, actor="retention")] == [("customer.erased", 2)]
    assert kept(shelf) == set()
    assert {row.encrypted for row in shelf.rows(SessionRow)} == {ERASED}
    assert shelf.job("Ona").encrypted == ERASED
    assert shelf.job("Jonas").encrypted is None  # there never was anything
    assert erase() == 0


def test_country_language_and_time_zone_go_with_the_person(shelf, erase):
    shelf.add(customer("Ona", locale="lt", timezone="Europe/Vilnius"))
    before = shelf.row(CustomerRow)
    assert all((before.country, before.locale, before.timezone))
    end_long_ago(shelf)
    erase()
    after = shelf.row(CustomerRow)
    assert (after.country, after.locale, after.timezone, after.email_digest) == ("", "", "", None)


def test_data_that_identifies_no_person_stays(shelf, erase):
    batch = sent(shelf, customer("Ona"), reference="scan-7")
    end_long_ago(shelf, result="approved")
    before = shelf.facts.counts(batch)
    erase()
    assert shelf.facts.counts(batch) == before
    (line,) = shelf.facts.lines(batch, with_links=True)
    assert (line.customer_id, line.state, line.result, line.reference) == ("Ona", "completed", "approved", "scan-7")
    assert line.opening.link == ""


@pytest.mark.both_databases
def test_an_external_ref_that_names_a_session_is_erased(shelf, erase):
    shelf.add(customer("Ona", external_ref="Ona-Ltd"))
    shelf.issue(reference="Ona-Ltd")
    shelf.set(SessionRow, SessionRow.reference == "Ona-Ltd", references={"externalRef": "Ona-Ltd", "clientId": "Ona"})
    end_long_ago(shelf)
    assert erase() == 1
    (session,) = shelf.rows(SessionRow)
    assert (session.reference, session.references) == (str(session.job_id), {"clientId": "Ona"})


@needs("outbox")
def test_an_external_ref_that_names_a_session_is_erased_from_events_that_wait(shelf):
    for name in ("Ona", "Jonas"):
        shelf.add(customer(name, external_ref=f"{name}-Ltd"))
        references = {"externalRef": f"{name}-Ltd", "clientId": name}
        shelf.issue(reference=f"{name}-Ltd", references=references)
    shelf.send()
    with shelf.database.write() as connection:
        erase_now(connection, ["Ona"], now=shelf.clock())
    job = str(shelf.job("Ona").id)
    events = [(row.customer_id, row.data["session"]) for row in shelf.rows(Outbox)]
    assert sorted(events) == sorted([("Ona", job), ("Jonas", "Jonas-Ltd")] * 2)  # issued, and sent


def named_by_the_list(shelf, opened):
    references = {"externalRef": "Ona Ltd-2", "clientId": "Ona"}
    return shelf.got(opened, shelf.session(reference="Ona Ltd-2", references=references))


def test_an_external_ref_that_names_a_second_session_stands_in_no_text(shelf):
    shelf.add(customer("Ona", external_ref="Ona Ltd"))
    (opened,) = shelf.open(shelf.claim())
    shelf.add(customer("Jonas"))
    shelf.issue()
    shelf.set(SessionRow, customer_id="Ona")  # by an operator's repair
    shelf.finish(named_by_the_list(shelf, opened))
    assert shelf.job("Ona").detail == "the provider opened Ona next to a session that is still live"
    assert "Ltd" not in everything(shelf)


def test_an_external_ref_that_names_a_late_session_stands_in_no_column(shelf):
    batch = shelf.add(customer("Ona", external_ref="Ona Ltd"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(Job, fence=Job.fence + 1, state=JobState.HELD, due_at=None, lease_until=None)
    shelf.finish(named_by_the_list(shelf, opened))
    (late,) = shelf.rows(Attempt)
    assert (late.outcome, late.found) == ("late", "Ona")
    assert "Ltd" not in everything(shelf)
    (line,) = shelf.facts.lines(batch)
    assert line.late == "Ona"


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.WORKING, JobState.HELD, JobState.ISSUED])
def test_a_customer_whose_job_is_not_over_keeps_everything(shelf, erase, state):
    shelf.add(customer("Ona"))
    end(shelf, "Ona", state)
    shelf.clock.advance(days=900)
    assert erase() == 0
    assert kept(shelf) == {"Ona"}


@pytest.mark.both_databases
def test_one_job_that_is_not_over_keeps_the_customer_of_many(shelf, erase):
    shelf.add(customer("Ona"))
    end(shelf, "Ona")
    shelf.add(customer("Ona", purpose="renewal"))
    shelf.clock.advance(days=900)
    assert erase() == 0
    end_long_ago(shelf)
    assert erase() == 1


def test_an_invited_customer_is_erased_when_the_link_has_been_dead_for_long_enough(shelf, erase):
    sent(shelf, customer("Ona"), customer("Jonas", channel=Channel.NONE), lifetime=timedelta(days=30))
    assert {row.state for row in shelf.rows(Job)} == {JobState.INVITED, JobState.ISSUED}
    shelf.clock.advance(days=119)
    assert erase() == 0
    shelf.clock.advance(days=2)
    assert erase() == 2


def test_an_invited_customer_in_review_keeps_everything_until_the_verdict(shelf, erase):
    sent(shelf, customer("Ona"), lifetime=timedelta(days=30))
    shelf.set(SessionRow, result=Result.REVIEW)
    shelf.clock.advance(days=900)
    assert erase() == 0
    shelf.set(SessionRow, result=Result.UNKNOWN)
    assert erase() == 1


def test_a_session_that_still_opens_keeps_its_customer(shelf, erase):
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(days=2))
    end(shelf, "Ona", JobState.CANCELLED)
    shelf.clock.advance(days=1)
    assert erase(kept_for=timedelta(hours=1)) == 0
    shelf.clock.advance(days=1)
    assert erase(kept_for=timedelta(hours=1)) == 1


def test_a_newer_list_keeps_its_customer_however_old_the_first_is(shelf, erase):
    shelf.add(customer("Ona"))
    end_long_ago(shelf)
    shelf.add(customer("Ona"))  # Ona has finished: the row is skipped
    assert erase() == 0


def test_more_customers_than_a_chunk_are_all_checked_past_those_who_stay(shelf, erase):
    names = [f"C{number:04}" for number in range(CHUNK + 20)]
    shelf.add(*[customer(name) for name in names])
    shelf.set(Job, Job.customer_id.in_(names[CHUNK - 5 :]), state=JobState.COMPLETED)
    shelf.clock.advance(days=91)
    assert erase() == 25
    assert kept(shelf) == set(names[: CHUNK - 5])


@pytest.mark.both_databases
def test_two_sweeps_at_once_erase_each_customer_once(shelf, in_parallel):
    for name in ("Ona", "Jonas"):
        shelf.add(customer(name))
        end(shelf, name)
    later = shelf.clock.advance(days=91)
    bulk = in_parallel(lambda: erase_next(shelf.database, after=None, since=later - QUARTER, now=later), times=2)
    assert sum(number for number, _ in bulk) == 2
    assert kept(shelf) == set()


# Rows that still ask for something.


def test_a_row_of_an_erased_customer_that_is_retried_fails_and_no_call_is_made(shelf, erase):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    end_long_ago(shelf, "Ona", JobState.FAILED)
    assert erase() == 1
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    assert [job.customer.customer_id for job in shelf.claim()] == ["Jonas"]
    row = shelf.job("Ona")
    assert (row.state, row.reason, row.due_at, row.lease_until) == (JobState.FAILED, "erased", None, None)
    assert shelf.rows(Attempt) == []


def test_a_line_that_was_erased_is_not_called_for_with_a_newer_lists_person(shelf, erase):
    batch = shelf.add(customer("Ona", external_ref="R-1"))
    end_long_ago(shelf, "Ona", JobState.FAILED)
    erase()
    shelf.add(customer("Ona"))
    end(shelf, "Ona", JobState.FAILED)
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    assert shelf.claim() == []
    assert shelf.job("Ona", batch_id=batch).reason == "erased"


def test_a_message_to_an_erased_customer_is_not_sent(shelf, erase):
    shelf.add(customer("Ona"))
    shelf.issue()
    end(shelf, "Ona", JobState.INVITED)
    shelf.clock.advance(days=98)
    assert erase() == 1
    shelf.set(Job, state=JobState.ISSUED)
    assert shelf.claim_messages() == []
    message = shelf.row(InvitationRow)
    assert (message.state, message.reason, message.lease_until) == (InvitationState.FAILED, "erased", None)
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.FAILED, "erased")


def test_a_message_with_an_erased_link_is_not_sent_to_a_newer_lists_person(shelf, erase):
    shelf.add(customer("Ona"))
    shelf.issue()
    end(shelf, "Ona", JobState.INVITED)
    shelf.clock.advance(days=98)
    erase()
    shelf.add(customer("Ona"))
    shelf.set(SessionRow, state=SessionState.WAITING)
    assert shelf.claim_messages() == []
    assert shelf.row(InvitationRow).reason == "erased"


def test_an_erased_customer_of_a_new_list_is_served_with_what_it_says(shelf, erase):
    shelf.add(customer("Ona"))
    end_long_ago(shelf, "Ona", JobState.CANCELLED)
    erase()
    shelf.add(customer("Ona"))
    (job,) = shelf.claim()
    assert job.customer.person.first_name == "Ona"


def test_erased_values_are_nowhere_in_the_tables(shelf, erase):
    sent(shelf, customer("Ona"))
    before = {shelf.row(CustomerRow).encrypted, shelf.row(SessionRow).encrypted}
    end_long_ago(shelf)
    erase()
    with shelf.database.read() as connection:
        for table in (CustomerRow, SessionRow, Job):
            rows = connection.execute(sa.select(table.__table__)).all()
            assert rows
            for row in rows:
                assert before.isdisjoint(value for value in row if isinstance(value, bytes))
