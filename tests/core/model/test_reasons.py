"""Every reason has its sentence, a report shows a reason that it does not know, and docs/reference/states.md lists them
all.
"""

from pathlib import Path

import pytest

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.reasons import ABOUT_ANOTHER, Reason, known_reason, meaning_of
from onboarding_worker.core.model.states import InvitationState, JobState, LineState
from onboarding_worker.reporting.steps import STEPS, step_for
from tests.core.model.reason_tables import page_with_tables
from tests.suite.of_features import needs

PAGE = Path(__file__).parents[3] / "docs/reference/states.md"


@needs("service_desk")  # the page names its commands
def test_the_page_lists_the_reasons_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_tables(page), "run `python -m tests.core.model.reason_tables`"


def test_every_stored_reason_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    lines = {LineState.REJECTED, LineState.DUPLICATE}
    stored = [reason for reason in Reason if reason.messages or set(reason.jobs) - lines]
    assert stored
    assert [reason for reason in stored if f"| `{reason}` |" not in page] == []


def test_every_reason_has_its_sentence_and_fits_its_column():
    wrong = [one for one in Reason if not one.meaning or one.meaning[-1] == "." or len(one) > 40]
    assert wrong == []


def test_no_two_reasons_share_a_sentence():
    assert len({reason.meaning for reason in Reason}) == len(Reason)


def test_a_row_that_needs_a_person_has_a_step():
    needed = [JobState.HELD, JobState.FAILED, JobState.LAPSED, LineState.REJECTED]
    found = {(state, reason): step_for(state.value, reason.value) for reason in Reason for state in reason.jobs}
    assert {state for state, _ in found} >= set(needed)
    assert [at for at, step in found.items() if at[0] in needed and not step] == []


def test_a_command_about_a_batch_has_its_place_for_the_number():
    steps = [step for of in STEPS.values() for step in of.values()]
    for command in ("onboard retry", "onboard resolve", "onboard resume"):
        assert [step for step in steps if step.count(f"`{command}") != step.count(f"`{command} BATCH")] == []


def test_a_refused_message_is_retried_and_refused_data_is_not():
    assert "`onboard retry BATCH` sends a link to the same session" in step_for("failed", "message_refused")
    assert "retry" not in step_for("failed", "bad_input")


def test_every_kind_of_problem_is_a_reason(subtests):
    for kind in Kind:
        with subtests.test(kind=kind):
            assert Problem(kind, "").reason == kind.value
            assert Problem(kind, "", unreachable=True).reason is Reason.UNREACHABLE


def test_a_reason_that_is_not_known_is_shown_as_it_is():
    assert known_reason("moon_phase") is known_reason("") is None
    assert meaning_of("moon_phase") == "moon phase"
    assert step_for("held", "moon_phase") == STEPS[JobState.HELD][None]
    assert step_for("waiting", "moon_phase") == step_for("buried", "unknown") == ""


def test_each_step_is_for_a_state_in_which_its_reason_is():
    each = [(state, reason) for state, steps in STEPS.items() for reason in steps if reason is not None]
    assert each
    assert [reason for state, reason in each if state not in reason.jobs] == []


def test_a_step_belongs_to_the_state_as_well_as_to_the_reason():
    assert step_for("held", "unknown") != step_for("waiting", "unknown")
    assert step_for("failed", "suppressed") != step_for("lapsed", "suppressed")
    assert step_for("invited", "unknown") == ""


def test_a_refused_address_gives_the_message_a_reason_of_the_same_name():
    assert Reason(InvitationState.BOUNCED) is Reason.BOUNCED
    assert Reason(InvitationState.SUPPRESSED) is Reason.SUPPRESSED


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            InvitationState.WAITING,
            "quiet_hours address_spent planned brand_missing country_spent in_review last_message_on_its_way reminder"
            " rate_limited unreachable transient auth out_of_credit unclear unknown",
        ),
        (InvitationState.SENT, "sent_by_provider"),
        (InvitationState.BOUNCED, "bounced"),
        (InvitationState.SUPPRESSED, "address_spent suppressed messages_spent"),
        (InvitationState.FAILED, "number_refused message_refused attempts_spent erased abandoned"),
        (InvitationState.HELD, "unknown cannot_open cannot_keep cannot_work template"),
        (
            InvitationState.SUPERSEDED,
            "address_spent stale_link address_corrected link_revoked joined_job answer_repeated not_me reissues_spent"
            " messages_spent erased cancelled session_ended passed_over none_left not_open not_reached link_ends_first",
        ),
    ],
)
def test_a_message_in_a_state_may_have_these_reasons(state, words):
    assert {reason.value for reason in Reason if state in reason.messages} == set(words.split())


def test_a_row_whose_message_has_not_left_may_have_these_reasons():
    words = "brand_missing joined_session batch_paused account_stopped account_paused limit_used_up"
    assert {reason.value for reason in Reason if JobState.ISSUED in reason.jobs} == set(words.split())


def test_a_message_that_is_out_or_being_sent_needs_no_reason():
    assert [one for one in Reason if {InvitationState.WORKING, InvitationState.DELIVERED} & {*one.messages}] == []


def test_these_holds_are_about_another_session():
    assert set(ABOUT_ANOTHER) == {"second_session", "conflict", "answer_repeated"}


def test_no_sentence_is_changed_by_the_guard_against_formulas():
    texts = [*(one.meaning for one in Reason), *(step for of in STEPS.values() for step in of.values())]
    assert [text for text in texts if spreadsheet_safe(text) != text] == []
