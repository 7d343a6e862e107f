"""Which words a message has."""

from onboarding_worker.core.model.refusals import Advice
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rules.contact import (
    FIRST,
    NEW_LINKS,
    REACHED,
    Wording,
    advice_for,
    is_resend,
    kind_of,
    next_kind,
    wording_of,
)
from tests.suite.cases import differing


def test_a_first_message_to_a_customer_who_had_a_link_is_a_new_link():
    cases = [
        (True, False, Wording.INVITATION),
        (True, True, Wording.NEW_LINK),
        (False, False, Wording.REMINDER),
        (False, True, Wording.REMINDER),
    ]
    assert [
        (first, reached_before, wording, got)
        for first, reached_before, wording in cases
        if (got := wording_of(first=first, reached_before=reached_before)) is not wording
    ] == []


def test_only_a_message_that_is_known_to_have_left_reached_its_customer():
    assert {InvitationState.SENT, InvitationState.DELIVERED} == REACHED


def test_a_customer_who_was_refused_is_asked_to_try_again_and_reminded_as_anyone_is():
    cases = [
        (True, False, Wording.TRY_AGAIN),
        (True, True, Wording.TRY_AGAIN),
        (False, False, Wording.REMINDER),
        (False, True, Wording.REMINDER),
    ]
    assert differing(cases, lambda first, before: wording_of(first=first, reached_before=before, refused=True)) == []


def test_only_the_words_of_a_second_link_are_those_of_a_new_one():
    assert {Wording.NEW_LINK, Wording.TRY_AGAIN} == NEW_LINKS
    assert [kind for kind in Wording if advice_for(kind) == Advice.DOCUMENT_PHOTO.value] == [Wording.TRY_AGAIN]
    assert [kind for kind in Wording if advice_for(kind) != ""] == [Wording.TRY_AGAIN]


def test_messages_that_a_person_asked_for_are_numbered_apart_from_reminders():
    kinds = [FIRST, kind_of(0), kind_of(1)]
    assert [kind for kind in (*kinds, next_kind(kinds)) if is_resend(kind)] == ["resend-1"]
    assert kinds == ["invitation", "reminder-1", "reminder-2"]
    assert next_kind([*kinds, "resend-1", "resend-2"]) == "resend-3"
