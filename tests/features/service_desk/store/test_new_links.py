"""Another session for a customer, in place of the present one or after it."""

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rules.contact import Caps
from onboarding_worker.features.service_desk.links import Before, NewLink
from tests.features.service_desk.store.desks import AT_ONCE, desk_of, refusal, sentences, told
from tests.stored.webhook_feed import APPROVED, WebhookFeed


def test_a_new_link_is_refused_where_the_provider_would_give_none(ona, desk):
    refused = refusal(desk.new_link("Ona", now=ona.clock()))
    assert "gives no other link before the present one has ended" in refused.why
    assert "resend" in refused.then


def test_a_new_link_supersedes_the_present_session(ona):
    desk = desk_of(ona, allowed_from=AT_ONCE)
    planned = desk.may_renew("Ona", now=ona.clock())
    assert planned == NewLink("kyc", Before.SUPERSEDED, 2, 4, ("email",))
    assert isinstance(desk.new_link("Ona", reason="lost phone", now=ona.clock()), NewLink)
    assert "being asked for already" in refusal(desk.new_link("Ona", now=ona.clock())).why
    ona.issue()
    ona.send()
    old, new = ona.rows(SessionRow)
    assert (old.state, new.state, new.replaces) == (SessionState.SUPERSEDED, SessionState.WAITING, old.id)
    assert ona.row(Job).state is JobState.INVITED
    assert ona.rows(InvitationRow)[1].new_link
    assert told(ona) == ["session 2 at kyc; lost phone"]


def test_a_verdict_on_the_superseded_session_still_counts(ona):
    desk_of(ona, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())
    WebhookFeed(ona).receive(APPROVED)
    assert (ona.row(Job).state, ona.row(Job).result) == (JobState.COMPLETED, "approved")
    assert ona.claim() == []


def test_a_session_that_the_provider_ended_early_is_replaced_at_once(ona, desk):
    ona.set(SessionRow, state=SessionState.EXPIRED)
    asked = desk.new_link("Ona", now=ona.clock())
    assert isinstance(asked, NewLink)
    assert asked.before is Before.NOTHING
    assert len(ona.issue()) == 1


@pytest.mark.both_databases
@pytest.mark.parametrize(("lists", "before"), [((), Before.EXPIRED), (("kyc",), Before.ASKED)])
def test_after_its_end_the_provider_is_asked_first_if_it_can_be(ona, lists, before):
    desk = desk_of(ona, lists=lists)
    ona.clock.advance(days=7)
    assert "may still come" in refusal(desk.new_link("Ona", now=ona.clock())).why
    asked = desk.new_link("Ona", now=ona.clock.advance(minutes=15))
    assert isinstance(asked, NewLink)
    assert asked.before is before
    assert ona.row(Job).needs_status_check is (before is Before.ASKED)
    assert any("is asked what became of the session" in said for said in sentences(ona)) is (before is Before.ASKED)


@pytest.mark.parametrize(("caps", "why"), [(Caps(0, 6), "sessions"), (Caps(3, 1), "messages")])
def test_no_new_link_beyond_the_caps(ona, caps, why):
    assert why in refusal(desk_of(ona, caps=caps, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())).why
    assert ona.row(SessionRow).state is SessionState.WAITING


def test_no_new_link_beyond_the_sessions_of_the_day(ona):
    desk = desk_of(ona, per_day=1, allowed_from=AT_ONCE)
    assert isinstance(desk.new_link("Ona", now=ona.clock()), NewLink)
    ona.issue()
    ona.send()
    assert "tomorrow" in refusal(desk.new_link("Ona", now=ona.clock())).then


@pytest.mark.both_databases
def test_of_many_clerks_at_once_one_opens_a_session(ona, in_parallel):
    desk = desk_of(ona, allowed_from=AT_ONCE)
    answers = in_parallel(lambda: desk.new_link("Ona", now=ona.clock()), times=6)
    assert sum(isinstance(answer, NewLink) for answer in answers) == 1
    assert len(ona.issue()) == 1
    assert len(ona.rows(SessionRow)) == 2
