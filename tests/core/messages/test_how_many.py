"""Which messages a cap keeps, until when, and how a message ends that may leave no more."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.claim.flush import Flush
from onboarding_worker.core.database.tables import AddressPlace, InvitationRow, TextCount
from onboarding_worker.core.messages.how_many import GOES_FIRST, end_waits, is_capped, no_more, take_back, without_place
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Later, Never
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import EVENT, InvitationState
from onboarding_worker.core.rules.contact import BRAND_LOOKED_AT_AGAIN, FIRST, AddressCap, Caps
from onboarding_worker.core.rules.reconciliation import UnknownCall
from onboarding_worker.core.rules.text_numbers import KEPT, hour_of
from tests.stored.shelf import WEEK, changed, customer

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
WAITING, SUPERSEDED = InvitationState.WAITING, InvitationState.SUPERSEDED


def claimed(shelf, channel="email"):
    shelf.add(customer("Ona", channel=Channel(channel)))
    shelf.issue()
    (message,) = shelf.claim_messages(channel=channel)
    return message


def test_a_message_that_is_kept_is_looked_at_again_after_these_times():
    minute = timedelta(minutes=1)
    assert (5 * minute, 15 * minute, 48 * HOUR) == (GOES_FIRST, BRAND_LOOKED_AT_AGAIN, KEPT)


def test_a_last_text_waits_only_for_an_email_of_its_session_that_is_due_too(shelf):
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    now = shelf.clock()
    cases = [
        ({"due_at": now}, True),
        ({"due_at": now - GOES_FIRST}, True),
        ({"due_at": now - GOES_FIRST - SECOND}, False),  # its sender stands still
        ({"due_at": now + SECOND}, False),
        ({"state": SUPERSEDED}, False),
        ({"state": InvitationState.FAILED}, False),
        ({"session_id": uuid4()}, False),
        ({"channel": "whatsapp"}, False),
    ]
    found = []
    for number, (values, _) in enumerate(cases):
        shelf.add(customer(f"C-{number}", channel=Channel.BOTH))
        shelf.issue()
        job = shelf.job(f"C-{number}").id
        shelf.set(InvitationRow, InvitationRow.job_id == job, InvitationRow.channel == "email", **values)
        found.append(not shelf.claim_messages(channel="sms"))
        (text,) = shelf.rows(InvitationRow, job_id=job, channel="sms")
        assert text.reason == ("last_message_on_its_way" if found[-1] else "")
        assert text.due_at == (now + timedelta(minutes=1) if found[-1] else now)
    assert [(case, got) for case, got in zip(cases, found, strict=True) if got is not case[-1]] == []


@pytest.mark.postgresql_alone
def test_a_customers_last_message_keeps_no_other_customers_from_leaving(shelf):
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona"), customer("Jonas", channel=Channel.SMS))
    shelf.issue()
    texts = []

    def meanwhile(_connection, _emails):
        texts.extend(shelf.claim_messages(channel="sms"))

    emails = shelf.invitations.claim(shelf.on("email"), most=9, now=shelf.clock(), on_claim=meanwhile).invitations
    assert (len(emails), len(texts)) == (1, 1)


def test_a_message_that_may_leave_no_more_ends_by_its_kind_and_by_what_may_have_arrived(shelf):
    message = claimed(shelf)
    cases = [
        (FIRST, 0, InvitationState.SUPPRESSED, Reason.MESSAGES_SPENT),
        (FIRST, 1, InvitationState.HELD, Reason.UNKNOWN),
        ("reminder-1", 0, SUPERSEDED, Reason.MESSAGES_SPENT),
        ("reminder-1", 2, SUPERSEDED, Reason.MESSAGES_SPENT),
        ("resend-1", 1, SUPERSEDED, Reason.MESSAGES_SPENT),
    ]
    for kind, unknown, state, reason in cases:
        end = no_more(replace(message, kind=kind, unknown_handovers=unknown), Reason.MESSAGES_SPENT)
        assert (end.state, end.reason) == (state, reason), (kind, unknown)
        assert end.detail.endswith(Reason.MESSAGES_SPENT.meaning)


def test_a_wait_ends_early_only_for_a_message_that_waits_and_whose_customer_has_had_all(shelf):
    names = {"spent": 2, "one left": 1, "sent": 2, "not asked about": 2}
    shelf.add(*map(customer, names))
    shelf.issue()
    later = shelf.clock() + HOUR
    ids = {name: shelf.row(InvitationRow, job_id=shelf.job(name).id).id for name in names}
    for name, unknown in names.items():
        state = InvitationState.FAILED if name == "sent" else WAITING
        values = {"state": state, "due_at": later, "unknown_handovers": unknown}
        shelf.set(InvitationRow, InvitationRow.id == ids[name], **values)
    policy = changed(shelf.message_policy, caps=Caps(3, 2))
    repeats = {id_: name for name, id_ in ids.items() if name != "not asked about"}
    with shelf.database.write() as connection:
        end_waits(connection, policy, repeats, now=shelf.clock())
        end_waits(connection, policy, {}, now=shelf.clock())
    due = {name: shelf.row(InvitationRow, id=id_).due_at for name, id_ in ids.items()}
    assert {name for name, at in due.items() if at == shelf.clock()} == {"spent"}
    assert {at for name, at in due.items() if name != "spent"} == {later}


def test_only_texts_are_counted_by_country_and_only_up_to_a_cap(shelf):
    for channel in CHANNELS:
        for cap in (None, 0, 3):
            policy = changed(shelf.on(channel), texts_per_country=cap)
            assert is_capped(policy) is (channel == "sms" and cap is not None), (channel, cap)


def text_counts(shelf):
    return {(row.country, row.hour): (row.count, row.refused) for row in shelf.rows(TextCount)}


def issued_texts(shelf, *phones):
    people = [Person(phone=phone, first_name="Ona") for phone in phones]
    count = len(shelf.rows(InvitationRow))
    shelf.add(*(customer(f"T-{count + n}", channel=Channel.SMS, person=person) for n, person in enumerate(people)))
    shelf.issue()


def test_beyond_a_cap_that_was_lowered_no_text_leaves_and_none_is_taken_back(shelf):
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=2)
    issued_texts(shelf, "+37060000001", "+37060000002")
    assert len(shelf.send(channel="sms")) == 2
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=1)
    issued_texts(shelf, "+37060000003", "+37060000004")
    assert shelf.send(channel="sms") == []
    assert text_counts(shelf) == {("LT", hour_of(shelf.clock())): (2, 2)}


def test_counts_are_kept_for_two_days_and_removed_with_an_hours_first_text(shelf):
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=9)
    issued_texts(shelf, "+37060000001")
    shelf.send(channel="sms")
    first = hour_of(shelf.clock())
    shelf.clock.now += KEPT
    issued_texts(shelf, "+37060000002")
    shelf.send(channel="sms")
    assert set(text_counts(shelf)) == {("LT", first), ("LT", first + KEPT)}
    shelf.clock.now += HOUR
    issued_texts(shelf, "+37060000003")
    shelf.send(channel="sms")
    assert set(text_counts(shelf)) == {("LT", first + KEPT), ("LT", first + KEPT + HOUR)}


def test_only_the_texts_that_did_not_leave_are_taken_back_each_of_its_own_hour_and_country(shelf):
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=9)
    hour = hour_of(shelf.clock())
    issued_texts(shelf, "+37060000001", "+37060000002", "+37120000001")
    before = shelf.claim_messages(channel="sms")
    shelf.clock.now += HOUR
    issued_texts(shelf, "+37060000003")
    (later,) = shelf.claim_messages(channel="sms")
    by_phone = {item.customer.person.phone: item for item in before}
    asked_about = replace(by_phone["+37060000002"], unknown_call=UnknownCall(uuid4(), shelf.clock()))
    with shelf.database.write() as connection:
        take_back(connection, shelf.on("sms"), [by_phone["+37060000001"], asked_about, later])
        take_back(connection, shelf.on("email"), [by_phone["+37120000001"]])
    assert text_counts(shelf) == {("LT", hour): (1, 0), ("LV", hour): (1, 0), ("LT", hour + HOUR): (0, 0)}


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_message_without_a_place_waits_if_its_link_will_still_be_fresh_or_is_an_events_first(shelf, channel):
    message = claimed(shelf, channel)
    cap = AddressCap(1, WEEK)
    policy = changed(shelf.on(channel), address_cap=cap)
    free_at = shelf.clock() + WEEK
    fresh, stale = free_at + message.floor + SECOND, free_at + message.floor
    assert message.priority != EVENT
    other = replace(message, id=uuid4(), job_id=message.job_id + 1)
    with shelf.database.write() as connection:
        claim = Flush(connection, shelf.keyring, policy, shelf.clock())
        assert without_place(claim, [other]) == {}
        cases = [
            (FIRST, fresh, message.priority, Later(free_at, Reason.ADDRESS_SPENT)),
            (FIRST, stale, message.priority, InvitationState.SUPPRESSED),
            (FIRST, stale, EVENT, Later(free_at, Reason.ADDRESS_SPENT)),
            ("reminder-1", fresh, message.priority, Later(free_at, Reason.ADDRESS_SPENT)),
            ("reminder-1", stale, message.priority, SUPERSEDED),
            ("reminder-1", stale, EVENT, SUPERSEDED),
        ]
        for kind, expires_at, priority, expected in cases:
            one = replace(message, kind=kind, expires_at=expires_at, priority=priority)
            (why,) = without_place(claim, [one]).values()
            assert (why.state if isinstance(why, Never) else why) == expected, (kind, priority)
        uncapped = Flush(connection, shelf.keyring, shelf.on(channel), shelf.clock())
        assert without_place(uncapped, [message]) == {}
    assert [row.job_id for row in shelf.rows(AddressPlace)] == [other.job_id]
