"""A customer's address or name is corrected: where the link goes, and what is only stored."""

import pytest

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Done, Reconcile
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import Caps, CorrectedRule
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.case import Refused, wanted
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.links import NewLink
from onboarding_worker.features.service_desk.store.cases import Place, stored_customers
from onboarding_worker.features.service_desk.store.desk import Corrected, Sent
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.known_customers import Standing
from tests.features.service_desk.store.desks import AT_ONCE, desk_of, moments, refusal, told
from tests.stored.shelf import customer


def by_hand(desk, shelf, **addresses):
    return desk.correct("Ona", Correction(addresses), by_hand=True, now=shelf.clock())


@pytest.mark.both_databases
def test_the_present_link_goes_to_the_new_address_at_once_where_the_configuration_says_so(ona):
    desk = desk_of(ona, corrected=CorrectedRule.SAME_LINK)
    changed = by_hand(desk, ona, email="ona.k@example.org")
    assert isinstance(changed, Corrected)
    assert isinstance(changed.follows, Sent)
    (message,) = ona.send()
    assert (message.kind, message.customer.person.email) == ("resend-1", "ona.k@example.org")
    assert message.customer.person.first_name == "Ona"
    assert told(ona) == ["email changed"]
    finder = Finder(ona.database, ona.keyring)
    assert finder.find(wanted("ona@example.org")) == []
    assert [one.customer_id for one in finder.find(wanted("Ona.K@example.org"))] == ["Ona"]
    assert "already" in refusal(by_hand(desk, ona, email="ona.k@example.org")).why


def test_the_present_link_goes_to_the_new_address_where_no_message_reached_the_old_one(ona, desk):
    ona.set(InvitationRow, state=InvitationState.BOUNCED)
    changed = by_hand(desk, ona, email="ona.k@example.org")
    assert isinstance(changed.follows, Sent)
    assert changed.opens_until is None
    (message,) = ona.send()
    assert message.customer.person.email == "ona.k@example.org"


def test_a_link_that_has_gone_to_the_old_address_waits_for_its_end_unless_a_person_sends_it(ona, desk):
    foreseen = desk.may_correct("Ona", Correction({"email": "ona.k@example.org"}), by_hand=True, now=ona.clock())
    changed = by_hand(desk, ona, email="ona.k@example.org")
    end = ona.row(SessionRow).expires_at
    assert isinstance(changed.follows, Refused)
    assert foreseen.follows == changed.follows
    assert foreseen.opens_until == changed.opens_until == end
    assert ona.send() == []
    (told_of,) = [one for one in moments(ona) if "corrected since" in one.text]
    assert (told_of.at, "--same-link" in told_of.then) == (end, True)
    (line,) = ona.facts.lines(ona.row(Job).batch_id)
    assert (line.reason, line.due_at) == (Reason.ADDRESS_CORRECTED, end)
    assert isinstance(desk.resend("Ona", now=ona.clock()), Refused)
    assert isinstance(desk.resend("Ona", same_link=True, now=ona.clock()), Sent)
    (message,) = ona.send()
    assert (message.kind, message.customer.person.email) == ("resend-1", "ona.k@example.org")
    (told_of,) = [one for one in moments(ona) if "corrected since" in one.text]
    assert (told_of.at, told_of.then) == (end, "")


@pytest.mark.both_databases
def test_another_session_is_asked_for_where_its_provider_opens_one_early(ona):
    desk = desk_of(ona, allowed_from=AT_ONCE)
    foreseen = desk.may_correct("Ona", Correction({"email": "ona.k@example.org"}), by_hand=True, now=ona.clock())
    assert ona.row(SessionRow).given_away == "", "only looked at"
    changed = by_hand(desk, ona, email="ona.k@example.org")
    assert isinstance(changed.follows, NewLink)
    assert foreseen.follows == changed.follows
    assert changed.opens_until == ona.row(SessionRow).expires_at
    ona.issue()
    (message,) = ona.send()
    assert (message.opening.link, message.customer.person.email) == (
        "https://verify.test/token-0002",
        "ona.k@example.org",
    )


@pytest.mark.parametrize("doubt", [False, True])
def test_a_text_that_is_under_way_keeps_no_session_from_a_corrected_mail_address(shelf, doubt):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    texts = shelf.claim_messages(channel="sms")
    if doubt:
        shelf.hand_over(texts, Reconcile(shelf.clock(), "unknown", "no answer"), channel="sms")
    desk = desk_of(shelf, allowed_from=AT_ONCE)
    foreseen = desk.may_correct("Ona", Correction({"email": "ona.k@example.org"}), by_hand=True, now=shelf.clock())
    changed = by_hand(desk, shelf, email="ona.k@example.org")
    assert isinstance(changed.follows, NewLink)
    assert foreseen.follows == changed.follows


def test_a_cap_that_is_used_up_is_said_and_a_person_may_send_the_same_link(ona):
    desk = desk_of(ona, allowed_from=AT_ONCE, caps=Caps(0, 6))
    changed = by_hand(desk, ona, email="ona.k@example.org")
    assert isinstance(changed.follows, Refused)
    assert "[follow_up] most" in changed.follows.why
    assert ona.send() == []
    assert isinstance(desk.resend("Ona", same_link=True, now=ona.clock()), Sent)


@pytest.mark.both_databases
def test_what_has_not_left_goes_to_the_new_address_and_only_once(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    changed = by_hand(desk_of(shelf), shelf, email="new@example.org")
    assert isinstance(changed, Corrected)
    assert isinstance(changed.follows, Refused)
    assert shelf.claim_messages() == []  # a claim that began before the change must not have it
    shelf.clock.advance(seconds=2)
    (message,) = shelf.send()
    assert message.customer.person.email == "new@example.org"
    assert shelf.claim_messages() == []


def test_an_address_does_not_change_while_a_message_leaves_for_the_old_one(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    (message,) = shelf.claim_messages()
    assert "being sent at this moment" in refusal(by_hand(desk_of(shelf), shelf, email="new@example.org")).why
    shelf.hand_over([message], Done())
    assert isinstance(by_hand(desk_of(shelf), shelf, email="new@example.org"), Corrected)


def test_an_erased_customer_is_brought_back_by_the_same_words_whatever_is_asked_for(ona, desk):
    SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="", forget_suppressed=False, now=ona.clock())
    refused = refusal(by_hand(desk, ona, email="new@example.org"))
    assert "--allow-erased" in refused.then
    assert refused == desk.new_link("Ona", now=ona.clock())


def test_a_suppressed_address_is_no_correction(ona, desk):
    with ona.database.write() as connection:
        suppress(connection, ona.keyring, "email", "x@example.org", SuppressionReason.STOP, "x", now=ona.clock())
    assert "do-not-contact" in refusal(by_hand(desk, ona, email="x@example.org")).why
    assert told(ona) == []


def test_a_number_of_a_customer_who_gets_emails_is_kept_and_nothing_is_sent(ona, desk):
    changed = by_hand(desk, ona, phone="+37060000009")
    assert isinstance(changed, Corrected)
    assert isinstance(changed.follows, Refused)
    assert "--channel sms" in changed.follows.then


def test_a_landline_is_warned_of_and_no_text_to_it_is_offered(ona, desk):
    alone = by_hand(desk, ona, phone="+37052123456")
    assert isinstance(alone.follows, Refused)
    assert "sms" not in alone.follows.then
    same_link = desk_of(ona, corrected=CorrectedRule.SAME_LINK)
    beside_an_email = by_hand(same_link, ona, email="ona.k@example.org", phone="+37052123457")
    assert isinstance(beside_an_email.follows, Sent)
    assert "landline" in alone.warning
    assert "landline" in beside_an_email.warning
    without_texts = desk_of(ona, channels=["email"])
    assert by_hand(without_texts, ona, phone="+37052123458").warning == ""


def test_a_landline_is_refused_where_the_text_is_the_only_message(shelf):
    shelf.add(customer("Ona", channel=Channel.SMS))
    desk = desk_of(shelf)
    assert "landline" in refusal(by_hand(desk, shelf, phone="+37052123456")).why
    assert told(shelf) == []
    assert isinstance(by_hand(desk, shelf, phone="+37060000009"), Corrected)


def test_a_corrected_name_is_stored_and_nothing_is_sent(ona, desk):
    done = desk.correct("Ona", Correction({"first_name": "Onutė", "country": "LV"}), reason="row 3", now=ona.clock())

    assert isinstance(done, Corrected)
    assert (done.columns, done.due) == (("first_name", "country"), ())
    assert ona.send() == []
    assert ona.row(CustomerRow).country == "LV"
    stored = stored_customers(ona.database, ona.keyring, ["Ona", "Jonas"])
    assert stored.keys() == {"Ona"}
    assert stored["Ona"].details.person.first_name == "Onutė"
    assert stored["Ona"].places == {"onboarding": Place(Standing.OPEN, ona.row(Job).batch_id, 2)}
    assert told(ona) == ["first_name and country changed; row 3"]


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        (JobState.COMPLETED, Standing.FINISHED),
        (JobState.FAILED, Standing.FAILED),
        (JobState.LAPSED, Standing.ENDED),
        (JobState.HELD, Standing.OPEN),
    ],
)
def test_where_a_customer_of_a_returned_report_stands(ona, state, standing):
    ona.set(Job, state=state)
    assert stored_customers(ona.database, ona.keyring, ["Ona"])["Ona"].places["onboarding"].standing is standing


@pytest.mark.parametrize("change", [{"result": "review"}, {"state": JobState.WAITING}, {"state": JobState.HELD}])
def test_nothing_advises_to_send_a_link_that_is_not_sent(ona, desk, change):
    by_hand(desk, ona, email="ona.k@example.org")
    ona.set(Job, **change)
    ona.set(SessionRow, result=change.get("result", ""))
    assert isinstance(desk.resend("Ona", same_link=True, now=ona.clock()), Refused)
    (told_of,) = [one for one in moments(ona) if "corrected since" in one.text]
    assert told_of.then == ""
    (line,) = ona.facts.lines(ona.row(Job).batch_id)
    assert line.reason != Reason.ADDRESS_CORRECTED


JONAS = Correction({"first_name": "Jonas", "last_name": "Kazys", "email": "j@example.org", "phone": "+37060000002"})


@pytest.mark.parametrize("review", [False, True])
def test_a_row_that_a_report_gives_to_another_person_begins_anew(ona, desk, review):
    ona.set(SessionRow, result="review" if review else "")
    changed = desk.correct("Ona", JONAS, another_person=True, now=ona.clock())
    assert isinstance(changed, Corrected)
    assert (ona.row(SessionRow).past, ona.row(SessionRow).given_away) == (True, "email phone")
    row = ona.row(Job)
    assert (row.state, row.session_id, row.result) == (JobState.WAITING, None, "")
    assert (ona.claim(), ona.send()) == ([], []), "the provider opens no second session before the end of the first"
    assert ona.row(Job).session_id is None
    ona.clock.advance(days=8)
    assert [job.id for job in ona.claim()] == [row.id]


def test_a_failed_row_that_a_report_gives_to_another_person_can_be_tried_again(ona, desk):
    ona.set(Job, state=JobState.FAILED, reason="session_failed")
    ona.set(SessionRow, state=SessionState.FAILED)
    desk.correct("Ona", JONAS, another_person=True, now=ona.clock())
    row = ona.row(Job)
    Decisions(ona.database).retry(Which(row.batch_id), now=ona.clock())
    assert [job.id for job in ona.claim()] == [row.id]


def test_a_row_with_the_entity_of_the_first_person_is_given_to_no_other_one(ona, desk):
    ona.set(Job, entity_id="e-1")
    refused = desk.correct("Ona", JONAS, another_person=True, now=ona.clock())
    assert isinstance(refused, Refused)
    assert "entity_id" in refused.why
    assert desk.may_correct("Ona", JONAS, another_person=True, now=ona.clock()) == refused
    assert isinstance(desk.correct("Ona", Correction({"email": "o@example.org"}), now=ona.clock()), Corrected)


def test_no_row_is_given_to_another_person_while_a_call_is_under_way(shelf):
    person = Person(email="ona@example.org", phone="+37060000001", first_name="Ona", last_name="Petraitė")
    shelf.add(customer("Ona", person=person))
    shelf.claim()
    assert isinstance(desk_of(shelf).correct("Ona", JONAS, another_person=True, now=shelf.clock()), Refused)
    assert shelf.row(Job).state is JobState.WORKING
