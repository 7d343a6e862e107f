"""The details of a row that is not released: they wait with the row, are applied once it is, and go when it is
cancelled. Until then nothing that is sent anywhere depends on them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.encrypted_values import ERASED, Erased, decrypt_person
from onboarding_worker.core.database.tables import Audit, CustomerRow, Job, PendingDetails, SkippedLine
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.incoming import OPERATOR, EventKind
from onboarding_worker.core.model.states import BATCH, JobState
from onboarding_worker.core.rows.cancellation import cancel_customers
from onboarding_worker.events.standing import Arrival
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.known_customers import KnownChoices, KnownRule
from onboarding_worker.lists.store import refreshed
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.plans.store.pilots import Pilots
from onboarding_worker.plans.store.plans import Plan, bring_forward
from tests.stored.erased import erased
from tests.stored.shelf import add_lines, customer, line
from tests.suite.some import some

TRUE, OTHER, THIRD = "ona@example.org", "attacker@example.net", "ona@work.example"
PILOT = {"plan": Plan(first="1", condition="finished >= 50% within 4 hours")}
PAUSED = {"hold": "paused until a person agrees"}


@pytest.fixture
def start(clock):
    return {"plan": Plan(start_at=clock() + timedelta(hours=2))}


@pytest.fixture
def given(shelf):
    """Imports a list of Ona with these addresses; returns its batch."""

    def make(email, *, phone="", rule=KnownRule.REFRESH, purpose="onboarding", tags=(), **how) -> int:
        name = f"{email} {len(shelf.rows(Job))}"
        batch, _ = shelf.batches.open(name=name, digest=name, again=False, now=shelf.clock(), **how)
        add(shelf, batch.id, email, phone=phone, rule=rule, purpose=purpose, tags=tags)
        all_added(shelf.batches, batch.id, now=shelf.clock())
        shelf.clock.advance(seconds=1)
        return batch.id

    return make


def add(shelf, batch, email, *, phone="", rule=KnownRule.REFRESH, row=2, name="Ona", **how):
    accepted = customer(name, person=Person(email=email, phone=phone, first_name="Ona"), **how)
    add_lines(
        shelf.batches, batch, [line(row, accepted)], priority=BATCH, now=shelf.clock(), choices=KnownChoices(rule=rule)
    )


def person(shelf, name="Ona", keyring=None) -> Person | None:
    row = shelf.row(CustomerRow, customer_id=name)
    try:
        return decrypt_person(keyring or shelf.keyring, name, row.encrypted)
    except Erased:
        return None


def email(shelf) -> str | None:
    found = person(shelf)
    return found and found.email


def sweep(shelf):
    refreshed.apply(shelf.database, shelf.keyring, now=shelf.clock())


def called(shelf) -> list[str]:
    """To which addresses the sessions that are opened now are to be sent."""
    return [job.customer.person.email for job in shelf.issue()]


@pytest.mark.parametrize("rule", [KnownRule.REFRESH, KnownRule.INVITE])
def test_an_unapproved_list_changes_no_customer_and_an_approved_one_does(shelf, given, decide, rule):
    given(TRUE)
    second = given(OTHER, rule=rule, **PAUSED)
    sweep(shelf)
    assert email(shelf) == TRUE
    assert called(shelf) == [TRUE]

    decide.resume(second, now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == OTHER
    assert shelf.rows(PendingDetails) == []


def test_details_that_wait_for_a_start_come_forward_with_it(shelf, given, start):
    given(TRUE)
    second = given(OTHER, **start)
    sweep(shelf)
    assert email(shelf) == TRUE

    bring_forward(shelf.database, second, shelf.clock(), now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == OTHER


def test_what_a_cancelled_list_brought_is_gone(shelf, given, decide):
    given(TRUE)
    decide.cancel(given(OTHER, **PAUSED), now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == TRUE
    assert shelf.rows(PendingDetails) == []


def test_what_a_row_brought_that_was_given_up_is_gone_when_its_list_is_resumed(shelf, given, decide):
    """It was held for the call of an earlier list's row that was given up too."""
    first, second = given(TRUE), given(OTHER, **PAUSED)
    shelf.set(Job, Job.batch_id == first, state=JobState.HELD, reason="unknown", due_at=None)
    for batch in (first, second):
        assert decide.resolve(Which(batch), Verdict.ABANDON, now=shelf.clock()).rows == 1
    decide.resume(second, now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == TRUE
    assert shelf.rows(PendingDetails) == []


def test_a_cancelled_lists_values_go_with_a_customer_whom_it_alone_named(shelf, given, decide):
    """Those of a customer with other details stay until their time is over."""
    decide.cancel(given(OTHER, tags=("Vilnius",), **PAUSED), now=shelf.clock())
    given(TRUE)
    decide.cancel(given(OTHER, tags=("Kaunas",), purpose="card", **PAUSED), now=shelf.clock())
    values = {row.batch_id: row.encrypted for row in shelf.rows(Job)}
    assert values[1] == ERASED
    assert values[3] != ERASED


def test_an_import_that_goes_on_into_a_cancelled_batch_changes_no_customer(shelf, given, decide):
    given(TRUE)
    batch = shelf.batch()
    decide.cancel(batch, now=shelf.clock())
    add(shelf, batch, OTHER)
    add(shelf, batch, OTHER, row=3, name="Jonas", external_ref="of a person")

    assert email(shelf) == TRUE
    assert person(shelf, "Jonas") is None
    assert shelf.job("Jonas").encrypted == b""
    assert shelf.rows(PendingDetails) == []


def test_the_rows_behind_a_pilot_change_no_customer_before_the_verdict(shelf, given, decide):
    given(TRUE)
    called(shelf)
    pilots, second = Pilots(shelf.database), given(OTHER, **PILOT)
    add(shelf, second, "jonas@example.org", row=3, name="Jonas")
    pilots.step(now=shelf.clock())  # Jonas is the pilot: Ona's row has joined
    sweep(shelf)
    assert called(shelf) == ["jonas@example.org"]
    assert email(shelf) == TRUE
    shelf.set(Job, Job.customer_id == "Jonas", state=JobState.COMPLETED, due_at=None, result="approved")
    shelf.clock.advance(seconds=5)
    assert pilots.step(now=shelf.clock())[second].met
    sweep(shelf)
    assert email(shelf) == OTHER


def test_before_its_start_a_list_changes_no_customer_and_is_worked_with_its_own_details_then(shelf, given, start):
    given(TRUE)
    shelf.set(Job, state=JobState.LAPSED, due_at=None)
    given(OTHER, **start)
    sweep(shelf)
    assert email(shelf) == TRUE

    shelf.clock.advance(hours=3)
    assert called(shelf) == []  # not before its details are the customer's
    sweep(shelf)
    shelf.clock.advance(seconds=1)
    assert called(shelf) == [OTHER]


def test_a_paused_list_with_a_start_waits_for_both(shelf, given, decide, start):
    given(TRUE)
    second = given(OTHER, **PAUSED, **start)
    decide.resume(second, now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == TRUE
    shelf.clock.advance(hours=2)
    sweep(shelf)
    assert email(shelf) == OTHER


def test_a_list_whose_start_comes_while_it_is_paused_still_waits(shelf, given, start):
    given(TRUE)
    given(OTHER, **PAUSED, **start)
    shelf.clock.advance(hours=3)
    sweep(shelf)
    assert email(shelf) == TRUE


def test_a_released_list_takes_nothing_over_of_what_only_an_unreleased_one_says(shelf, given, decide):
    unapproved = given(OTHER, phone="+37060000666", **PAUSED)
    assert email(shelf) == OTHER  # the row's own, which nobody else has
    given(TRUE)
    assert person(shelf) == Person(email=TRUE, first_name="Ona")

    decide.cancel(unapproved, now=shelf.clock())
    assert email(shelf) == TRUE


def test_once_an_unreleased_list_is_cancelled_the_next_one_alone_says_who_its_new_customer_is(shelf, given, decide):
    unapproved = given(OTHER, phone="+37060000666", **PAUSED)
    decide.cancel(unapproved, now=shelf.clock())
    assert person(shelf) is None

    given(TRUE)
    assert person(shelf) == Person(email=TRUE, first_name="Ona")
    assert called(shelf) == [TRUE]


def test_a_list_that_skips_known_customers_knows_nobody_of_an_unreleased_one(shelf, given, decide):
    unapproved = given(OTHER, **PAUSED)
    given(TRUE, rule=KnownRule.SKIP)
    assert email(shelf) == TRUE
    decide.cancel(unapproved, now=shelf.clock())
    assert called(shelf) == [TRUE]


@pytest.mark.both_databases
def test_of_two_unreleased_lists_each_brings_its_own_details_whatever_becomes_of_the_other(shelf, given, decide):
    first, second = given(OTHER, **PAUSED), given(TRUE, **PAUSED)
    decide.cancel(first, now=shelf.clock())
    assert person(shelf) is None
    assert shelf.job("Ona", batch_id=first).reason == "cancelled"  # nobody was erased
    decide.resume(second, now=shelf.clock())
    assert called(shelf) == []
    sweep(shelf)
    shelf.clock.advance(seconds=1)
    assert called(shelf) == [TRUE]


@pytest.mark.parametrize("how", [PAUSED, PILOT])
def test_of_two_unreleased_lists_that_give_one_id_to_two_people_the_second_is_refused(shelf, given, how):
    given(TRUE, **PAUSED)
    another = customer("Ona", person=Person(email=OTHER, first_name="Mallory", last_name="Doe"))
    for allowed, added in [(False, 0), (True, 1)]:
        batch, _ = shelf.batches.open(name=f"{allowed}", digest=f"{allowed}", again=False, now=shelf.clock(), **how)
        add_lines(
            shelf.batches,
            batch.id,
            [line(2, another)],
            priority=BATCH,
            now=shelf.clock(),
            choices=KnownChoices(another_person=allowed),
        )
        assert len(shelf.rows(Job, batch_id=batch.id)) == added
        assert len(shelf.rows(SkippedLine, batch_id=batch.id)) == 1 - added


def test_a_cancelled_row_leaves_the_details_to_the_customers_other_row_of_its_list(shelf, given, decide):
    batch, _ = shelf.batches.open(name="both", digest="both", again=False, now=shelf.clock(), **PAUSED)
    rows = [line(2, customer("Ona")), line(3, customer("Ona", purpose="renewal"))]
    add_lines(shelf.batches, batch.id, rows, priority=BATCH, now=shelf.clock())
    with shelf.database.write() as connection:
        cancel_customers(connection, [("Ona", "onboarding")], now=shelf.clock())
    assert email(shelf) == TRUE
    decide.resume(batch.id, now=shelf.clock())
    assert called(shelf) == [TRUE]


def test_what_a_person_or_a_later_list_has_said_since_stays_when_the_older_list_is_released(shelf, given, decide):
    given(TRUE)
    older = given(OTHER, **PAUSED)
    given(THIRD)
    decide.resume(older, now=shelf.clock())
    sweep(shelf)
    assert email(shelf) == THIRD


def request(shelf, *, at):
    """Ona is requested by an event of that time."""
    asked = line(2, customer("Ona", person=Person(email=TRUE, first_name="Ona"), channel=Channel.EMAIL))
    arrival = Arrival(OPERATOR, "crm", "1", EventKind.REQUESTED, "Ona", "onboarding", at, ("d",), line=asked)
    Inboxes(shelf.database, shelf.keyring).take([arrival], now=shelf.clock())


def test_a_request_by_an_event_replaces_what_only_an_unreleased_list_says(shelf, given, decide):
    unapproved = given(OTHER, phone="+37060000666", **PAUSED)
    request(shelf, at=shelf.clock())
    decide.cancel(unapproved, now=shelf.clock())
    assert person(shelf) == Person(email=TRUE, first_name="Ona")


def test_a_request_that_is_older_than_an_unreleased_list_is_worked_with_its_own_details(shelf, given, decide, start):
    unreleased = given(OTHER, phone="+37060000666", **start)
    request(shelf, at=shelf.clock() - timedelta(minutes=1))
    assert called(shelf) == [TRUE]

    decide.cancel(unreleased, now=shelf.clock())
    assert person(shelf) == Person(email=TRUE, first_name="Ona")


def test_an_erasure_takes_what_waits_too(shelf, given, decide):
    given(TRUE)
    second = given(OTHER, **PAUSED)
    erased(shelf.database, shelf.keyring, "Ona", now=shelf.clock())
    assert shelf.rows(PendingDetails) == []
    decide.resume(second, now=shelf.clock())
    sweep(shelf)
    assert person(shelf) is None


def test_details_that_no_key_decrypts_wait_and_hold_up_nobody_else(shelf, given, decide):
    given(TRUE)
    second = given(OTHER, **PAUSED)
    decide.resume(second, now=shelf.clock())
    refreshed.apply(shelf.database, Keyring([new_key()]), now=shelf.clock())
    assert len(shelf.rows(PendingDetails)) == 1
    shelf.clock.advance(hours=1)
    sweep(shelf)
    assert email(shelf) == OTHER


@pytest.mark.both_databases
def test_details_of_another_shape_wait_and_hold_up_nobody_else(shelf, given, decide):
    given(TRUE)
    second = given(OTHER, **PAUSED)
    add(shelf, second, OTHER, row=3, name="Rasa")
    spoilt = shelf.keyring.encrypt({"date_of_birth": 7}, context="customer Ona")
    shelf.set(PendingDetails, PendingDetails.customer_id == "Ona", encrypted=spoilt)
    decide.resume(second, now=shelf.clock())
    sweep(shelf)
    assert [row.customer_id for row in shelf.rows(PendingDetails)] == ["Ona"]
    assert person(shelf, "Rasa").email == OTHER


def told(shelf) -> list[tuple[str, str]]:
    return [(row.subject, row.reason) for row in shelf.rows(Audit) if "email" in row.reason or "phone" in row.reason]


def test_the_audit_log_says_which_row_of_which_list_changed_a_customers_address(shelf, given, decide):
    given(TRUE)
    second = given(TRUE.upper())  # the same mailbox
    assert told(shelf) == []
    third = given(OTHER, phone="+37060000666")
    assert told(shelf) == [("customer Ona", f"email changed, phone added by batch {third} row 2")]

    held = given(THIRD, **PAUSED)
    assert len(told(shelf)) == 1
    decide.resume(held, now=shelf.clock())
    sweep(shelf)
    assert told(shelf)[1:] == [("customer Ona", f"email changed by batch {held} row 2")]
    assert second


@pytest.mark.parametrize("kind", [EventKind.REQUESTED, EventKind.UPDATED])
def test_the_audit_log_says_which_event_changed_a_customers_address(shelf, given, kind):
    given(TRUE)
    known = customer("Ona", person=Person(email=OTHER, first_name="Ona"))
    asked = line(2, known) if kind is EventKind.REQUESTED else None
    arrival = Arrival(OPERATOR, "crm", "1", kind, "Ona", "onboarding", shelf.clock(), ("d",), asked)
    arrival = replace(arrival, columns={"email": OTHER})
    (receipt,) = Inboxes(shelf.database, shelf.keyring).take([arrival], now=shelf.clock()).receipts
    assert told(shelf) == [("customer Ona", f"email changed by event {receipt.id}")]
    assert all("@" not in row.reason for row in some(shelf.rows(Audit)))
