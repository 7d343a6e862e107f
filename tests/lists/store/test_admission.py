"""One customer in several lists: one job leads, the other jobs join it or are skipped."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import CUSTOMER, contact_digests, decrypt_person
from onboarding_worker.core.database.tables import (
    Batch,
    CustomerRow,
    InvitationRow,
    Job,
    SessionRow,
    SkippedLine,
    Tombstone,
)
from onboarding_worker.core.model.customers import FieldProblem, Person
from onboarding_worker.core.model.states import ENDED_JOBS, JobState, LineState, state_of_line
from onboarding_worker.lists.known_customers import KnownChoices, KnownRule
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.added_lines import all_added
from tests.stored.shelf import add_lines, customer, line


def states(shelf, batch):
    return [(item.customer_id, item.state, item.reason) for item in shelf.facts.lines(batch)]


def test_a_second_job_for_a_customer_joins_the_first_without_a_call_or_a_message(shelf):
    first = shelf.add(customer("Ona"), batch=shelf.batch("first.csv"))
    second = shelf.add(customer("Ona"), batch=shelf.batch("second.csv"), first_row=9)
    shelf.issue()
    shelf.send()
    assert (len(shelf.rows(SessionRow)), len(shelf.rows(InvitationRow))) == (1, 1)
    joined = shelf.job("Ona", batch_id=second)
    assert (joined.leader_id, joined.due_at, joined.fence) == (shelf.job("Ona", batch_id=first).id, None, 0)
    assert joined.detail == f"joined batch {first}, row 2"


@pytest.mark.parametrize("state", [JobState.HELD, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED])
def test_the_line_of_a_joined_job_that_ended_badly_says_why_and_who_served_it(shelf, state):
    first = shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    shelf.set(Job, Job.leader_id.is_(None), state=state, reason="unknown", detail="no answer came")
    (reported,) = shelf.facts.lines(second)
    assert (reported.reason, reported.served_by) == ("unknown", first)
    assert reported.detail == f"no answer came; joined batch {first}, row 2"


def test_the_line_of_a_joined_job_names_the_account_that_its_session_is_of(shelf):
    shelf.add(customer("Ona"), account="kyc")
    second = shelf.add(customer("Ona"), account="au")
    shelf.issue()
    (reported,) = shelf.facts.lines(second)
    assert (reported.account, reported.state) == ("kyc", "issued")
    assert list(shelf.facts.counts(second).accounts) == ["kyc"]


def again(shelf, *customers, **choices):
    """The rows that the same file's next import takes, and what becomes of the others."""
    batch = shelf.batches.open(name="list.csv", digest="the same", again=True, now=shelf.clock())[0].id
    lines = [line(row, one) for row, one in enumerate(customers, 2)]
    add_lines(shelf.batches, batch, lines, priority=0, now=shelf.clock(), choices=KnownChoices(**choices))
    return [job.row for job in shelf.rows(Job, batch_id=batch)], [
        (skipped.row, skipped.known) for skipped in shelf.rows(SkippedLine, batch_id=batch)
    ]


@pytest.mark.parametrize("state", [JobState.INVITED, JobState.COMPLETED])
def test_a_row_that_is_read_otherwise_than_at_the_first_import_of_its_file_is_left_out(shelf, state):
    again(shelf, customer("'1"), customer("2", purpose="null"), customer("3"))
    shelf.set(Job, state=state)
    taken, others = again(shelf, customer("1"), customer("2"), customer("3"), customer("4"))
    assert taken == [4, 5]
    assert others == [
        (2, "'1, onboarding in batch 1 of the same file; left out"),
        (3, "2, null in batch 1 of the same file; left out"),
    ]
    assert again(shelf, customer("1"), customer("2"), customer("3"), customer("4"))[0] == [4, 5]


def test_a_row_that_is_read_otherwise_is_taken_once_nobody_serves_the_first_one(shelf):
    again(shelf, customer("mail-1"), customer("mail-2"))
    shelf.set(Job, state=JobState.CANCELLED)
    assert again(shelf, customer("1"), customer("2")) == ([2, 3], [])


def test_a_customer_who_was_erased_does_not_come_back_as_another_one_by_the_same_file(shelf):
    again(shelf, customer("'1"), customer("'2"))
    shelf.set(Job, state=JobState.CANCELLED)
    with shelf.database.write() as connection:
        digest = shelf.keyring.digests(CUSTOMER, "'1")[0]
        gone = {"digest": digest, "erased_at": shelf.clock(), "final": True}
        connection.execute(sa.insert(Tombstone).values(gone))
    assert again(shelf, customer("1"), customer("2"))[0] == [3]
    assert again(shelf, customer("1"), allow_erased=True)[0] == [2]


def test_another_file_may_have_the_same_rows_under_other_ids(shelf):
    shelf.add(customer("'1"))
    assert again(shelf, customer("1")) == ([2], [])


@pytest.mark.parametrize("state", JobState)
def test_a_joined_job_has_the_state_of_the_job_that_it_joins(shelf, state):
    shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    shelf.set(Job, Job.leader_id.is_(None), state=state, result="approved" if state is JobState.COMPLETED else "")
    assert states(shelf, second)[0][:2] == ("Ona", state_of_line(state, joined=True))
    counts = shelf.facts.counts(second)
    assert counts.jobs == {state: 1}
    assert counts.results == ({"approved": 1} if state is JobState.COMPLETED else {})


def test_a_joined_jobs_line_shows_the_session_that_serves_it(shelf):
    shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    shelf.issue(reference="scan-9")
    shelf.send()
    (reported,) = shelf.facts.lines(second, with_links=True)
    assert (reported.reference, reported.invitation, reported.state) == ("scan-9", "sent", "joined")
    assert reported.opening.link.startswith("https://verify.test/")


def test_another_purpose_is_another_job(shelf):
    shelf.add(customer("Ona"))
    shelf.add(customer("Ona", purpose="renewal"))
    assert len(shelf.issue()) == 2
    assert len(shelf.rows(SessionRow)) == 2


@pytest.mark.parametrize(
    "state", [JobState.WAITING, JobState.WORKING, JobState.ISSUED, JobState.INVITED, JobState.HELD]
)
def test_any_job_that_is_still_open_is_joined(shelf, state):
    shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    second = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=second).leader_id is not None


@pytest.mark.parametrize("state", sorted(ENDED_JOBS - {JobState.COMPLETED}))
def test_a_job_that_ended_without_the_customers_finishing_is_not_joined(shelf, state):
    shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    second = shelf.add(customer("Ona"))
    assert (shelf.job("Ona", batch_id=second).leader_id, shelf.job("Ona", batch_id=second).state) == (None, "waiting")


def test_a_customer_who_has_finished_is_skipped_with_the_result(shelf):
    first = shelf.add(customer("Ona"))
    shelf.set(Job, state=JobState.COMPLETED, result="approved")
    second = shelf.add(customer("Ona"))
    row = shelf.job("Ona", batch_id=second)
    assert (row.state, row.result, row.reason) == (JobState.COMPLETED, "approved", "already_finished")
    assert row.detail == f"the customer finished in batch {first}, row 2"
    assert shelf.claim() == []


def test_a_customer_with_an_open_job_and_a_finished_one_joins_the_open_one(shelf):
    shelf.add(customer("Ona"))
    shelf.set(Job, state=JobState.LAPSED)
    opened = shelf.add(customer("Ona"))
    shelf.set(Job, Job.batch_id != opened, state=JobState.COMPLETED)
    third = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=third).leader_id == shelf.job("Ona", batch_id=opened).id


def test_a_third_list_joins_the_leader_not_the_joiner(shelf):
    leader = shelf.add(customer("Ona"))
    shelf.add(customer("Ona"))
    third = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=third).leader_id == shelf.job("Ona", batch_id=leader).id


def test_the_details_of_the_newest_list_are_used(shelf):
    shelf.add(customer("Ona"))
    shelf.clock.advance(hours=1)
    person = Person(email="new@example.org", phone="+37060000001", first_name="Ona", last_name="Kita")
    shelf.add(customer("Ona", person=person, locale="en", country="EE"))
    row = shelf.row(CustomerRow)
    assert decrypt_person(shelf.keyring, "Ona", row.encrypted) == person
    assert (row.locale, row.country, row.changed_at) == ("en", "EE", shelf.clock())
    assert row.created_at == shelf.clock() - timedelta(hours=1)


@pytest.mark.parametrize("rule", [KnownRule.REFRESH, KnownRule.INVITE])
def test_an_empty_cell_of_a_newer_list_keeps_what_is_stored(shelf, rule):
    person = Person(email="ona@example.org", phone="+37060000000", first_name="Ona", date_of_birth=date(1990, 5, 1))
    person.message = {"branch": "Vilnius", "floor": "3"}
    shelf.add(customer("Ona", person=person, locale="lt", country="LT", timezone="Europe/Vilnius"))
    given = Person(email="new@example.org", last_name="Petraitė", message={"branch": "Kaunas"})
    newer = customer("Ona", person=given, locale="en", country="")
    batch = shelf.batch("newer.csv")
    add_lines(
        shelf.batches,
        batch,
        [line(2, newer), line(3, customer("Jonas"))],
        priority=0,
        now=shelf.clock(),
        choices=KnownChoices(rule=rule),
    )

    row = shelf.row(CustomerRow, customer_id="Ona")
    stored = decrypt_person(shelf.keyring, "Ona", row.encrypted)
    assert stored == replace(
        person, email="new@example.org", last_name="Petraitė", message={"branch": "Kaunas", "floor": "3"}
    )
    assert (row.locale, row.country, row.timezone) == ("en", "LT", "Europe/Vilnius")
    assert row.email_digest == contact_digests(shelf.keyring, stored)["email_digest"]


@pytest.mark.both_databases
def test_for_lists_that_are_imported_at_once_one_job_leads_for_each_customer_and_the_other_jobs_join_it(shelf):
    names = [f"C{number}" for number in range(30)]

    def bring_in(order):
        return shelf.add(*(customer(name) for name in names[::order]), batch=shelf.batch())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(bring_in, [1, -1, 1, -1]))
    leaders = {row.customer_id: row.id for row in shelf.rows(Job, leader_id=None)}
    assert sorted(leaders) == sorted(names)
    joined = [row for row in shelf.rows(Job) if row.leader_id is not None]
    assert len(joined) == 90
    assert all(row.leader_id == leaders[row.customer_id] for row in joined)
    assert len(shelf.claim()) == 30


# Batches.


def test_the_same_list_is_the_same_batch_and_again_makes_a_new_one(shelf):
    def open_(again=False):
        batch, new = shelf.batches.open(name="a.csv", digest="d" * 64, again=again, now=shelf.clock())
        return batch.id, new

    first, new = open_()
    assert new
    shelf.clock.advance(days=3)
    assert open_() == (first, False)
    second, new = open_(again=True)
    assert (new, second != first) == (True, True)
    assert open_() == (second, False)  # the newest of the same bytes
    assert [row.generation for row in shelf.rows(Batch)] == [1, 2]


def test_a_batch_is_found_by_its_number_or_as_the_latest(shelf):
    assert shelf.batches.find("latest") is None
    first, second = shelf.batch("first.csv"), shelf.batch("second.csv")
    assert shelf.batches.find("latest").id == second
    assert shelf.batches.find(str(first)).name == "first.csv"
    for unknown_call in (str(second + 1), "x", "", "-1", "1" * 40):
        assert shelf.batches.find(unknown_call) is None
    assert [batch.id for batch in shelf.batches.all()] == [second, first]


def test_an_import_that_was_cut_off_goes_on_after_its_last_line(shelf):
    batch = shelf.batch()
    assert shelf.batches.last_row(batch) == 0
    shelf.add(customer("Ona"), customer("Jonas"), batch=batch)
    assert shelf.batches.last_row(batch) == 3
    refused = RefusedLine(7, "", (FieldProblem("email", "9 characters that are not an email address", "check it"),))
    shelf.add(batch=batch, refused=[refused])
    assert shelf.batches.last_row(batch) == 7
    assert shelf.batches.find(str(batch)).imported_at is None
    all_added(shelf.batches, batch, now=shelf.clock())
    assert shelf.batches.find(str(batch)).imported_at == shelf.clock()


def test_lines_are_imported_together_or_not_at_all(shelf):
    batch = shelf.batch()
    same_row_twice = [line(2, customer("Ona")), line(2, customer("Jonas"))]
    with pytest.raises(sa.exc.IntegrityError):
        add_lines(shelf.batches, batch, [*same_row_twice, RefusedLine(3, "x")], priority=10, now=shelf.clock())
    assert (shelf.rows(Job), shelf.rows(SkippedLine), shelf.rows(CustomerRow)) == ([], [], [])


def test_a_name_of_any_length_makes_a_batch(shelf):
    batch, _ = shelf.batches.open(name="n" * 1000, digest="x", again=False, now=shelf.clock())
    assert shelf.batches.find(str(batch.id)).name == "n" * 255


# The rule for known customers, as rows; test_known_customers has each cell of docs/reference/known-customers.md.

NEW_ADDRESS = Person(email="new@example.org")


def add_again(shelf, rule: KnownRule) -> int:
    """Ona in another list, with another address."""
    batch = shelf.batch(f"{rule}.csv")
    accepted = line(2, customer("Ona", person=NEW_ADDRESS))
    add_lines(shelf.batches, batch, [accepted], priority=0, now=shelf.clock(), choices=KnownChoices(rule=rule))
    return batch


def stored_address(shelf) -> str:
    row = shelf.row(CustomerRow)
    return decrypt_person(shelf.keyring, "Ona", row.encrypted).email


@pytest.mark.parametrize(
    ("state", "rule", "becomes", "refreshed"),
    [
        (JobState.INVITED, KnownRule.SKIP, (LineState.JOINED, "joined_job"), False),
        (JobState.INVITED, KnownRule.REFRESH, (LineState.JOINED, "joined_job"), True),
        (JobState.INVITED, KnownRule.INVITE, (LineState.JOINED, "joined_job"), True),
        (JobState.COMPLETED, KnownRule.SKIP, (JobState.COMPLETED, "already_finished"), False),
        (JobState.COMPLETED, KnownRule.REFRESH, (JobState.COMPLETED, "already_finished"), True),
        (JobState.COMPLETED, KnownRule.INVITE, (JobState.WAITING, ""), True),
        (JobState.FAILED, KnownRule.SKIP, (LineState.KNOWN, "known"), False),
        (JobState.FAILED, KnownRule.REFRESH, (JobState.WAITING, ""), True),
        (JobState.LAPSED, KnownRule.SKIP, (LineState.KNOWN, "known"), False),
        (JobState.LAPSED, KnownRule.INVITE, (JobState.WAITING, ""), True),
        (JobState.CANCELLED, KnownRule.SKIP, (LineState.KNOWN, "known"), False),
        (JobState.CANCELLED, KnownRule.REFRESH, (JobState.WAITING, ""), True),
    ],
)
def test_what_becomes_of_a_known_customers_row_by_each_rule(shelf, state, rule, becomes, refreshed):
    first = shelf.add(customer("Ona"))
    before = stored_address(shelf)
    shelf.set(Job, state=state)

    batch = add_again(shelf, rule)

    (reported,) = shelf.facts.lines(batch)
    assert (reported.state, reported.reason) == becomes
    assert stored_address(shelf) == (NEW_ADDRESS.email if refreshed else before)
    assert shelf.facts.counts(batch).known == (1 if becomes[0] is LineState.KNOWN else 0)
    if becomes[0] is LineState.KNOWN:
        assert reported.detail == f"{state} in batch {first}, row 2; left out"


def test_a_new_customer_is_invited_by_every_rule(shelf):
    for rule in (KnownRule.SKIP, KnownRule.REFRESH, KnownRule.INVITE):
        batch = shelf.batch(f"{rule}.csv")
        add_lines(
            shelf.batches,
            batch,
            [line(2, customer(f"New{rule}"))],
            priority=0,
            now=shelf.clock(),
            choices=KnownChoices(rule=rule),
        )
        assert [one.state for one in shelf.facts.lines(batch)] == [JobState.WAITING]
