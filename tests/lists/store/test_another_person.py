"""A list brings another person under the id of a customer who is known."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from threading import Barrier

import pytest

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.tables import (
    Audit,
    Batch,
    CustomerRow,
    Finished,
    InvitationRow,
    Job,
    SessionRow,
    SkippedLine,
)
from onboarding_worker.core.model.customers import FieldProblem, Person
from onboarding_worker.core.model.states import InvitationState, JobState, PauseCause, SessionState
from onboarding_worker.lists.known_customers import ANOTHER_PERSON, IS_CALLED, KnownChoices, KnownRule
from onboarding_worker.lists.store.admission import lock_customers
from onboarding_worker.lists.store.new_rows import change_details, customer_row
from onboarding_worker.lists.store.refreshed import foreseen
from tests.stored.row_locks import waiting
from tests.stored.shelf import add_lines, customer, line

ONA = Person(email="ona@example.org", phone="+37060000001", first_name="Ona", last_name="Petraitė")
JONAS = Person(email="jonas@example.org", phone="+37060000002", first_name="Jonas", last_name="Kazys")


def a1(person: Person, **changes):
    return customer("A1", person=person, **changes)


def add(shelf, *customers, rule=KnownRule.REFRESH, another_person=False):
    """The batch, and what was found."""
    batch = shelf.batch()
    lines = [line(row, one) for row, one in enumerate(customers, 2)]
    choices = KnownChoices(rule=rule, another_person=another_person)
    return batch, add_lines(shelf.batches, batch, lines, priority=0, now=shelf.clock(), choices=choices)


def stored(shelf) -> Person:
    row = shelf.row(CustomerRow, customer_id="A1")
    return decrypt_person(shelf.keyring, "A1", row.encrypted)


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.INVITED, JobState.COMPLETED, JobState.CANCELLED])
@pytest.mark.parametrize("rule", [KnownRule.SKIP, KnownRule.REFRESH, KnownRule.INVITE])
def test_the_row_of_another_person_is_refused_and_nothing_becomes_of_it(shelf, state, rule):
    add(shelf, a1(ONA))
    shelf.set(Job, state=state)
    batch, added = add(shelf, a1(JONAS), customer("A2"), rule=rule)
    assert [(one.row, one.problems) for one in added.refused] == [(2, (ANOTHER_PERSON,))]
    assert [row.row for row in shelf.rows(Job, batch_id=batch)] == [3], "the other rows go on"
    (skipped,) = shelf.rows(SkippedLine, batch_id=batch)
    assert (skipped.customer_id, skipped.problems[0]["problem"]) == ("A1", "same id, another person?")
    assert stored(shelf) == ONA


def test_a_list_of_such_rows_alone_is_a_batch_without_work(shelf):
    add(shelf, a1(ONA))
    batch, added = add(shelf, a1(JONAS))
    assert (len(added.refused), shelf.rows(Job, batch_id=batch)) == (1, [])


@pytest.mark.parametrize("agrees", ["email", "phone", "first_name and last_name", "date_of_birth"])
def test_one_thing_that_agrees_makes_it_the_same_person(shelf, agrees):
    first = replace(ONA, date_of_birth=date(1990, 5, 1))
    add(shelf, a1(first))
    values = {name: getattr(first, name) for name in agrees.split(" and ")}
    newer = replace(JONAS, date_of_birth=date(1991, 6, 2)) if "date_of_birth" not in values else JONAS
    _, added = add(shelf, a1(replace(newer, **values)))
    assert added.refused == []
    assert stored(shelf).email == values.get("email", "jonas@example.org")


def test_the_refused_row_stays_so_when_the_list_is_imported_again(shelf):
    add(shelf, a1(ONA))
    for _ in range(2):
        _, added = add(shelf, a1(JONAS))
        assert len(added.refused) == 1
    assert stored(shelf) == ONA


def test_another_person_takes_the_id_over_if_a_person_says_so_and_the_audit_log_has_it(shelf):
    add(shelf, a1(ONA))
    _, added = add(shelf, a1(JONAS), another_person=True)
    assert added.refused == []
    assert stored(shelf) == JONAS
    assert [row.subject for row in shelf.rows(Audit) if "another person" in row.reason] == ["customer A1"]


def test_another_person_has_nothing_of_the_first_one(shelf):
    first = replace(ONA, sex="F", address="Gedimino pr. 1", message={"adviser": "Rasa"})
    add(shelf, a1(first, locale="lt", country="LT", timezone="Europe/Vilnius"))
    add(shelf, a1(JONAS, locale="", country="", timezone=""), another_person=True)
    assert stored(shelf) == JONAS
    row = shelf.row(CustomerRow, customer_id="A1")
    assert (row.locale, row.country, row.timezone) == ("", "", "")


def test_what_the_first_person_finished_counts_for_nobody_and_the_other_is_asked(shelf):
    first, _ = add(shelf, a1(ONA))
    shelf.issue()
    shelf.set(Job, state=JobState.COMPLETED, result="approved")
    shelf.set(SessionRow, state=SessionState.COMPLETED, result="approved")
    with shelf.database.write() as connection:
        bulk.add(
            connection,
            Finished,
            [{"customer_id": "A1", "purpose": "onboarding", "result": "approved", "batch_id": first, "row": 2}],
        )
    second, _ = add(shelf, a1(JONAS), another_person=True)
    assert [(row.batch_id, row.state, row.result) for row in shelf.rows(Job)] == [
        (first, JobState.COMPLETED, "approved"),
        (second, JobState.WAITING, ""),
    ]
    assert shelf.row(SessionRow).past
    for state in (JobState.LAPSED, JobState.CANCELLED):
        shelf.set(Job, Job.batch_id == second, state=state)
        third, _ = add(shelf, a1(JONAS))
        assert shelf.job("A1", batch_id=third).state is JobState.WAITING, "nor later, whatever becomes of the row"
        shelf.set(Job, Job.batch_id == third, state=JobState.LAPSED)


@pytest.mark.parametrize("rule", [KnownRule.SKIP, KnownRule.REFRESH, KnownRule.INVITE])
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("result", ["", "review"])
def test_the_first_persons_rows_and_messages_end_and_the_others_waits_for_the_session(shelf, rule, sent, result):
    first, _ = add(shelf, a1(ONA), customer("A1", person=ONA, purpose="renewal"))
    joined, _ = add(shelf, a1(ONA))
    shelf.issue()
    if sent:
        shelf.send()
    shelf.set(SessionRow, result=result)
    second, added = add(shelf, a1(JONAS), rule=rule, another_person=True)
    assert added.refused == []
    assert {row.state for row in shelf.rows(Job) if row.batch_id in (first, joined)} == {JobState.CANCELLED}
    assert {row.state for row in shelf.rows(InvitationRow)} == {
        InvitationState.SENT if sent else InvitationState.SUPERSEDED
    }
    assert shelf.claim() == []
    row = shelf.job("A1", batch_id=second)
    assert (row.state, row.reason, row.session_id) == (JobState.WAITING, "session_ends_first", None)
    shelf.clock.advance(days=8)
    assert [job.id for job in shelf.claim()] == [row.id]
    assert not shelf.claim_messages()


@pytest.mark.parametrize("rule", [KnownRule.SKIP, KnownRule.REFRESH])
def test_a_list_that_waits_gives_the_id_at_once_and_its_second_row_is_of_the_same_person(shelf, rule):
    add(shelf, a1(ONA))
    batch = shelf.batch()
    shelf.set(Batch, Batch.id == batch, pause_cause=PauseCause.PERSON)
    choices = KnownChoices(rule=rule, another_person=True)
    for row, purpose in ((2, "onboarding"), (3, "renewal")):
        lines = [line(row, a1(JONAS, purpose=purpose))]
        add_lines(shelf.batches, batch, lines, priority=0, now=shelf.clock(), choices=choices)
    assert stored(shelf) == JONAS
    assert [row.state for row in shelf.rows(Job, batch_id=batch)] == [JobState.WAITING] * 2


def test_a_call_under_way_for_the_first_person_comes_first(shelf):
    add(shelf, a1(ONA))
    shelf.claim()
    _, added = add(shelf, a1(JONAS), another_person=True)
    assert [one.problems for one in added.refused] == [(IS_CALLED,)]
    assert stored(shelf) == ONA
    shelf.set(Job, state=JobState.HELD, reason="unknown")
    _, added = add(shelf, a1(JONAS), another_person=True)
    assert [one.problems for one in added.refused] == [(IS_CALLED,)]


def without_a_branch(row: int, one):
    return replace(line(row, one), lacks=(FieldProblem("message.branch", "no value"),))


@pytest.mark.parametrize("rule", [KnownRule.SKIP, KnownRule.REFRESH, KnownRule.INVITE])
def test_a_row_takes_a_value_for_messages_that_its_customer_has_stored(shelf, rule):
    add(shelf, a1(replace(ONA, message={"branch": "Vilnius"})))
    batch = shelf.batch()
    lines = [without_a_branch(2, a1(ONA))]
    assert (
        add_lines(shelf.batches, batch, lines, priority=0, now=shelf.clock(), choices=KnownChoices(rule=rule)).refused
        == []
    )
    assert [row.row for row in shelf.rows(Job, batch_id=batch)] == [2]
    assert stored(shelf).message == {"branch": "Vilnius"}


@pytest.mark.parametrize("who", ["a new customer", "one without the value", "another person"])
def test_a_row_without_a_value_for_messages_is_refused_where_none_of_its_customers_own_is_stored(shelf, who):
    if who != "a new customer":
        add(shelf, a1(replace(ONA, message={"branch": "Vilnius"} if who == "another person" else {"floor": "3"})))
    batch = shelf.batch()
    lines = [without_a_branch(2, a1(JONAS if who == "another person" else ONA)), line(3, customer("A2"))]
    added = add_lines(
        shelf.batches, batch, lines, priority=0, now=shelf.clock(), choices=KnownChoices(another_person=True)
    )
    assert [(one.row, one.problems[0].column) for one in added.refused] == [(2, "message.branch")]
    assert [row.row for row in shelf.rows(Job, batch_id=batch)] == [3]
    assert [row.row for row in shelf.rows(SkippedLine, batch_id=batch)] == [2]
    assert len(shelf.rows(CustomerRow)) == (1 if who == "a new customer" else 2)


def test_who_has_nothing_stored_is_compared_with_nobody(shelf):
    add(shelf, a1(ONA))
    shelf.set(CustomerRow, encrypted=None)
    _, added = add(shelf, a1(JONAS))
    assert (added.refused, added.changed) == ([], [])
    assert stored(shelf) == JONAS


def test_a_changed_address_goes_on_and_says_which_one_and_whether_a_link_is_out(shelf):
    add(shelf, a1(Person(email="ona@example.org")))
    _, early = add(shelf, a1(Person(email="ona@example.net")))
    shelf.issue()
    shelf.clock.advance(minutes=1)
    shelf.send()
    _, late = add(shelf, a1(Person(email="ona@example.com", phone="+37060000001")))
    _, spelled = add(shelf, a1(Person(email="ONA@example.com")))
    facts = [[(one.row, one.changed, bool(one.links)) for one in added.changed] for added in (early, late, spelled)]
    assert facts == [[(2, ("email",), False)], [(2, ("email",), True)], []]
    assert stored(shelf).email == "ONA@example.com"


def test_an_address_that_is_not_used_is_not_changed(shelf):
    add(shelf, a1(Person(email="ona@example.org")))
    _, added = add(shelf, a1(Person(email="ona@example.net")), rule=KnownRule.SKIP)
    assert (added.changed, stored(shelf).email) == ([], "ona@example.org")


def test_what_check_finds_is_what_the_import_finds(shelf):
    add(shelf, a1(ONA), customer("A2"))
    shelf.issue()
    shelf.send()
    lines = [
        line(2, a1(JONAS)),
        line(3, customer("A2", person=replace(customer("A2").person, email="new@example.org"))),
    ]
    _, known, _ = foreseen(shelf.batches, [*lines, line(4, customer("A3"))], rule=KnownRule.REFRESH, now=shelf.clock())
    found = [(one.row, one.is_another, one.changed, bool(one.links)) for one in known]
    assert found == [(2, True, ("email", "phone"), True), (3, False, ("email",), True)]


@pytest.mark.both_databases
def test_an_address_of_a_customer_with_a_live_link_is_warned_of_under_another_id_by_check_and_import(shelf):
    add(shelf, a1(ONA), customer("A2", person=JONAS))
    before = add(shelf, customer("B1", person=ONA))[1].warnings  # no link has been opened yet
    shelf.issue()
    new = [
        customer("A01", person=Person(email="ONA@example.org")),
        customer("0A1", person=Person(phone=JONAS.phone, email="new@example.com")),
        customer("A3", person=Person(email="other@example.com")),
        customer("A2", person=Person(email=ONA.email)),  # known by its own id
    ]
    lines = [line(row, one) for row, one in enumerate(new, 2)]

    *_, others = foreseen(shelf.batches, lines, rule=KnownRule.REFRESH, now=shelf.clock())
    added = add(shelf, *new)[1].warnings

    assert not before
    assert added == [*others.items()]
    assert [(row, one.column) for row, one in added] == [(2, "customer_id"), (3, "customer_id")]
    assert [told for told in ("A01", "A1") if told not in others[2].problem] == []
    assert [told for told in ("0A1", "A2") if told not in others[3].problem] == []


# Two imports at once: under the customer's lock, the second finds what the first has stored.


@pytest.mark.both_databases
def test_of_two_lists_at_once_that_give_one_id_to_two_people_one_is_refused(shelf):
    both = Barrier(2)

    def import_list(person):
        both.wait()
        return [add(shelf, a1(person), customer(f"own of {person.first_name}"))[1].refused for _ in range(3)]

    with ThreadPoolExecutor(2) as threads:
        refused = [sum(map(len, each)) for each in threads.map(import_list, (ONA, JONAS))]
    assert sorted(refused) == [0, 3]
    assert stored(shelf) == (JONAS if refused[0] else ONA)


@pytest.mark.postgresql_alone
def test_an_import_that_waits_for_the_customer_is_compared_with_what_was_stored_meanwhile(shelf, database):
    add(shelf, a1(Person()))
    refused = []
    with waiting(database, lambda: refused.extend(add(shelf, a1(JONAS))[1].refused)) as connection:
        lock_customers(connection, ["A1"])
        change_details(connection, [customer_row(shelf.keyring, a1(ONA), details_at=shelf.clock(), now=shelf.clock())])
    assert [one.problems for one in refused] == [(ANOTHER_PERSON,)]


@pytest.mark.parametrize("known", [False, True])
def test_each_of_a_customers_rows_for_several_purposes_adds_what_it_says(shelf, known):
    if known:
        add(shelf, a1(replace(ONA, phone=""), country="LV"))
    add(
        shelf,
        a1(replace(ONA, message={"branch": "Vilnius"}), country="LT"),
        a1(Person(email=ONA.email, date_of_birth=date(1990, 1, 2), message={"floor": "3"}), purpose="renewal"),
    )
    said = {"date_of_birth": date(1990, 1, 2), "message": {"branch": "Vilnius", "floor": "3"}}
    assert stored(shelf) == replace(ONA, **said)
    assert shelf.row(CustomerRow).country == "LT"


def test_a_second_row_of_the_person_who_takes_an_id_over_brings_nothing_of_the_first_person_back(shelf):
    add(shelf, a1(replace(ONA, address="Gedimino pr. 1")))
    add(shelf, a1(JONAS), a1(Person(email=JONAS.email), purpose="renewal"), another_person=True)
    assert stored(shelf) == JONAS


def test_an_address_that_the_first_of_a_customers_rows_changes_leads_no_old_link_on(shelf):
    add(shelf, a1(ONA))
    shelf.issue()
    shelf.send()
    add(shelf, a1(replace(ONA, email="new@example.org")), a1(replace(ONA, email=""), purpose="renewal"))
    assert stored(shelf).email == "new@example.org"
    assert [row.given_away for row in shelf.rows(SessionRow, purpose="onboarding")] != [""]
