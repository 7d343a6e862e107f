"""What the service desk does for one customer, on both databases and next to a worker that is at the same rows."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.store.shelf import WEEK, Shelf, customer
from tests.store.webhook_feed import APPROVED, WebhookFeed
from worker.domain.contact.caps import Caps
from worker.domain.contact.contact_times import Hours
from worker.domain.contact.quiet_hours import QuietHours
from worker.domain.contact.suppression import SuppressionReason
from worker.domain.model.customers import Channel
from worker.domain.model.endings import Cancel, Done, Kind, Problem
from worker.domain.model.known_customers import Standing
from worker.domain.model.reasons import Reason
from worker.domain.model.rows import read_rows
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.domain.service_desk.case import DeskRules, Refused
from worker.domain.service_desk.corrections import Correction
from worker.domain.service_desk.lookup import wanted
from worker.domain.service_desk.new_link import Before, NewLink
from worker.domain.service_desk.next_steps import Circumstances
from worker.domain.service_desk.timeline import timeline
from worker.foundation.keyring import Keyring, new_key
from worker.store.inbox.subject_requests import SubjectRequests
from worker.store.issuing.issue_results import IssueResult
from worker.store.messages.suppressions import suppress
from worker.store.operators.decisions import Decisions, Verdict, Which
from worker.store.service_desk.cases import DeskPolicy, SeveralPurposes
from worker.store.service_desk.desk import Asked, Corrected, Sent, ServiceDesk
from worker.store.service_desk.finding import Finder
from worker.store.service_desk.returned_rows import Place, ReturnedRows
from worker.store.tables import Attempt, Audit, CustomerRow, InvitationRow, Job, SessionRow, Webhook

AT_ONCE = {"kyc": lambda _expires_at: _expires_at - timedelta(days=365)}
AT_ITS_END = {"kyc": lambda expires_at: expires_at}
RULES = DeskRules(caps=Caps(3, 6), channels=("email", "sms"), allowed_from=AT_ITS_END)


def desk_of(shelf: Shelf, hours: Hours | None = None, **rules) -> ServiceDesk:
    return ServiceDesk(shelf.database, shelf.keyring, DeskPolicy(replace(RULES, **rules), hours or Hours()))


@pytest.fixture
def desk(ona: Shelf) -> ServiceDesk:
    """The desk, half an hour after Ona's invitation was sent."""
    ona.clock.advance(minutes=30)
    return desk_of(ona)


def told(shelf: Shelf) -> list[str]:
    return [entry.reason for entry in shelf.rows(Audit) if entry.subject == "customer Ona"]


def sentences(shelf: Shelf, who: str = "Ona") -> list[str]:
    history = Finder(shelf.database, shelf.keyring).history(who)
    return [one.text for one in timeline(history, Circumstances(), now=shelf.clock())]


# The same link again.


def test_a_resend_is_a_message_of_its_own_with_the_same_link(ona, desk):
    sent = desk.resend("Ona", reason="call 4711", now=ona.clock())
    assert isinstance(sent, Sent)
    assert (sent.channel, sent.to, sent.due_at) == ("email", "o…@example.org", ona.clock())
    (message,) = ona.send()
    assert (message.kind, message.link, message.wording) == ("resend-1", "https://verify.test/token-0001", "invitation")
    assert len(ona.rows(SessionRow)) == 1
    assert ona.row(Job).state is JobState.INVITED
    assert told(ona) == ["the same link by email; call 4711"]


def test_a_second_resend_is_refused_while_the_first_waits_and_soon_after_it_left(ona, desk):
    assert isinstance(desk.resend("Ona", now=ona.clock()), Sent)
    again = desk.resend("Ona", now=ona.clock())
    assert isinstance(again, Refused)
    assert "waiting to leave already" in again.why
    ona.send()
    soon = desk.resend("Ona", now=ona.clock.advance(minutes=9))
    assert isinstance(soon, Refused)
    assert "may still be on its way" in soon.why
    assert isinstance(desk.resend("Ona", now=ona.clock.advance(minutes=1)), Sent)
    assert [row.kind for row in ona.rows(InvitationRow)] == ["invitation", "resend-1", "resend-2"]
    assert len(told(ona)) == 2


def test_of_many_clerks_at_once_one_sends(ona, desk, in_parallel):
    answers = in_parallel(lambda: desk.resend("Ona", now=ona.clock()), times=6)
    assert sum(isinstance(answer, Sent) for answer in answers) == 1
    assert len(ona.rows(InvitationRow)) == 2
    assert len(told(ona)) == 1


def test_a_resend_by_text_is_the_first_message_on_that_channel(ona, desk):
    assert isinstance(desk.resend("Ona", channel="sms", now=ona.clock()), Sent)
    (message,) = ona.send(channel="sms")
    assert message.kind == "invitation"


def test_of_a_customer_who_stands_at_the_link_the_refusal_promises_no_message(ona, desk):
    ona.set(Job, state="waiting", reason="pressed", pressed_at=ona.clock(), due_at=ona.clock())
    refused = [desk.resend("Ona", now=ona.clock()), desk.new_link("Ona", now=ona.clock())]
    assert {str(one).partition("; ")[2] for one in refused} == {
        "no message follows: the link that the customer has opened leads to it"
    }
    ona.set(Job, pressed_at=None, reason="session_expired")
    assert str(desk.resend("Ona", now=ona.clock())).endswith("; its message follows by itself")


def test_a_message_that_is_being_sent_at_this_moment_is_waited_for(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    refused = desk_of(shelf).resend("Ona", now=shelf.clock())
    assert isinstance(refused, Refused)
    assert "being sent at this moment" in refused.why
    shelf.hand_over(messages)
    assert shelf.row(InvitationRow).state is InvitationState.SENT


def test_a_message_in_doubt_is_decided_first(ona, desk):
    ona.set(InvitationRow, state=InvitationState.HELD)
    ona.set(Job, state=JobState.HELD, reason=Reason.UNKNOWN)
    refused = desk.resend("Ona", now=ona.clock())
    assert isinstance(refused, Refused)
    assert "is held" in refused.why
    assert f"onboard resolve {ona.row(Job).batch_id} --row 2" in refused.then


def test_a_message_that_came_back_leaves_again_and_its_row_is_invited_again(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    refusal = Problem(Kind.BAD_INPUT, "SMTP 550")
    shelf.hand_over(shelf.claim_messages(), Cancel(Reason.BAD_INPUT, "SMTP 550"), problem=refusal)
    assert shelf.row(Job).state is JobState.FAILED
    shelf.clock.advance(minutes=1)
    assert isinstance(desk_of(shelf).resend("Ona", now=shelf.clock()), Sent)
    assert shelf.row(Job).state is JobState.ISSUED
    shelf.send()
    assert (shelf.row(Job).state, shelf.row(InvitationRow).state) == (JobState.INVITED, InvitationState.SENT)


@pytest.mark.parametrize(
    ("stage", "why", "then"),
    [
        ("finished", "has finished (approved)", "nothing is left"),
        ("ended", "link ended", "new-link"),
        ("erased", "was erased", "--allow-erased"),
        ("suppressed", "gets no messages: messages to this address bounced", "suppress --remove"),
        ("spent", "no more messages", "otherwise"),
        ("cancelled", "was cancelled", "new list"),
        ("paused", "is paused", "onboard resume"),
        ("stale", "too short a time", "new-link"),
    ],
)
def test_a_resend_is_refused_with_the_reason_and_what_to_do(ona, desk, decide, stage, why, then):
    match stage:
        case "finished":
            WebhookFeed(ona).receive(APPROVED)
        case "ended":
            ona.clock.advance(days=7)
        case "erased":
            SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="", forget_suppressed=False, now=ona.clock())
        case "suppressed":
            with ona.database.write() as connection:
                bounce = SuppressionReason.BOUNCE
                suppress(connection, ona.keyring, "email", "ona@example.org", bounce, "x", now=ona.clock())
        case "spent":
            desk = desk_of(ona, caps=Caps(3, 1))
        case "cancelled":
            decide.cancel(ona.row(Job).batch_id, now=ona.clock())
        case "paused":
            decide.pause(ona.row(Job).batch_id, by="vita", now=ona.clock())
        case "stale":
            ona.clock.advance(days=6, hours=13)
    refused = desk.resend("Ona", now=ona.clock())
    assert isinstance(refused, Refused), refused
    assert why in refused.why
    assert then in refused.then
    assert len(ona.rows(InvitationRow)) == 1
    assert [reason for reason in told(ona) if "link" in reason] == []


def test_a_resend_waits_for_quiet_hours(ona):
    hours = Hours({"email": QuietHours.parse("10:00-18:00")}, "UTC")
    ona.clock.advance(minutes=30)
    sent = desk_of(ona, hours, quiet=hours.quiet).resend("Ona", now=ona.clock())
    assert isinstance(sent, Sent)
    assert sent.due == ()
    assert (sent.due_at.hour, ona.send()) == (16, [])  # 18:00 in Vilnius


def test_a_resend_to_a_customer_who_has_submitted_meanwhile_does_not_leave(ona, desk):
    desk.resend("Ona", now=ona.clock())
    WebhookFeed(ona).receive(APPROVED)
    assert ona.send() == []
    assert ona.rows(InvitationRow)[1].state is InvitationState.SUPERSEDED


def test_a_customer_of_several_purposes_is_asked_which(shelf):
    shelf.add(customer("Ona"), customer("Ona", purpose="again"))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=30)
    with pytest.raises(SeveralPurposes, match="again, onboarding"):
        desk_of(shelf).resend("Ona", now=shelf.clock())
    assert isinstance(desk_of(shelf).resend("Ona", purpose="again", now=shelf.clock()), Sent)


# A new link.


def test_a_new_link_is_refused_where_the_provider_would_give_none(ona, desk):
    refused = desk.new_link("Ona", now=ona.clock())
    assert isinstance(refused, Refused)
    assert "gives no other link before the present one has ended" in refused.why
    assert "resend" in refused.then


def test_a_new_link_supersedes_the_present_session(ona):
    desk = desk_of(ona, allowed_from=AT_ONCE)
    planned = desk.may_renew("Ona", now=ona.clock())
    assert planned == NewLink("kyc", Before.SUPERSEDED, 2, 4, ("email",))
    assert isinstance(desk.new_link("Ona", reason="lost phone", now=ona.clock()), Asked)
    again = desk.new_link("Ona", now=ona.clock())
    assert isinstance(again, Refused)
    assert "being asked for already" in again.why
    ona.issue()
    ona.send()
    old, new = ona.rows(SessionRow)
    assert (old.state, new.state, new.replaces) == (SessionState.SUPERSEDED, SessionState.WAITING, old.id)
    assert ona.row(Job).state is JobState.INVITED
    assert ona.rows(InvitationRow)[1].new_link
    assert told(ona) == ["session 2 at kyc; lost phone"]


def test_a_history_says_when_a_session_was_replaced_and_not_when_it_was_read(ona):
    desk_of(ona, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())
    ona.issue()
    replaced_at = ona.clock()
    later = ona.clock.advance(hours=5)
    moments = timeline(Finder(ona.database, ona.keyring).history("Ona"), Circumstances(), now=later)
    assert [one.at for one in moments if "superseded" in one.text] == [replaced_at]


def test_a_verdict_on_the_superseded_session_still_counts(ona):
    desk_of(ona, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())
    WebhookFeed(ona).receive(APPROVED)
    assert (ona.row(Job).state, ona.row(Job).result) == (JobState.COMPLETED, "approved")
    assert ona.claim() == []


def test_a_session_that_the_provider_ended_early_is_replaced_at_once(ona, desk):
    ona.set(SessionRow, state=SessionState.EXPIRED)
    asked = desk.new_link("Ona", now=ona.clock())
    assert isinstance(asked, Asked)
    assert asked.link.before is Before.NOTHING
    assert len(ona.issue()) == 1


@pytest.mark.parametrize(("lists", "before"), [((), Before.EXPIRED), (("kyc",), Before.ASKED)])
def test_after_its_end_the_provider_is_asked_first_if_it_can_be(ona, lists, before):
    desk = desk_of(ona, lists=lists)
    ona.clock.advance(days=7)
    early = desk.new_link("Ona", now=ona.clock())
    assert isinstance(early, Refused)
    assert "may still come" in early.why
    asked = desk.new_link("Ona", now=ona.clock.advance(minutes=15))
    assert isinstance(asked, Asked)
    assert asked.link.before is before
    assert ona.row(Job).asks is (before is Before.ASKED)
    assert any("is asked what became of the session" in said for said in sentences(ona)) is (before is Before.ASKED)


@pytest.mark.parametrize(("caps", "why"), [(Caps(0, 6), "sessions"), (Caps(3, 1), "messages")])
def test_no_new_link_beyond_the_caps(ona, caps, why):
    refused = desk_of(ona, caps=caps, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())
    assert isinstance(refused, Refused)
    assert why in refused.why
    assert ona.row(SessionRow).state is SessionState.WAITING


def test_no_new_link_beyond_the_sessions_of_the_day(ona):
    desk = desk_of(ona, per_day=1, allowed_from=AT_ONCE)
    assert isinstance(desk.new_link("Ona", now=ona.clock()), Asked)
    ona.issue()
    ona.send()
    refused = desk.new_link("Ona", now=ona.clock())
    assert isinstance(refused, Refused)
    assert "tomorrow" in refused.then


def test_of_many_clerks_at_once_one_opens_a_session(ona, in_parallel):
    desk = desk_of(ona, allowed_from=AT_ONCE)
    answers = in_parallel(lambda: desk.new_link("Ona", now=ona.clock()), times=6)
    assert sum(isinstance(answer, Asked) for answer in answers) == 1
    assert len(ona.issue()) == 1
    assert len(ona.rows(SessionRow)) == 2


# Another address.


def test_the_present_link_goes_to_the_new_address_at_once(ona, desk):
    changed = desk.correct_address("Ona", email="ona.k@example.org", now=ona.clock())
    assert isinstance(changed, Corrected)
    assert isinstance(changed.sent, Sent)
    (message,) = ona.send()
    assert (message.kind, message.customer.person.email) == ("resend-1", "ona.k@example.org")
    assert message.customer.person.first_name == "Ona"
    assert told(ona) == ["email changed"]
    finder = Finder(ona.database, ona.keyring)
    assert finder.find(wanted("ona@example.org")) == []
    assert [one.customer_id for one in finder.find(wanted("Ona.K@example.org"))] == ["Ona"]
    same = desk.correct_address("Ona", email="ona.k@example.org", now=ona.clock())
    assert isinstance(same, Refused)
    assert "already" in same.why


def test_what_has_not_left_goes_to_the_new_address_and_only_once(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    changed = desk_of(shelf).correct_address("Ona", email="new@example.org", now=shelf.clock())
    assert isinstance(changed, Corrected)
    assert isinstance(changed.sent, Refused)
    assert shelf.claim_messages() == []  # a claim that began before the change must not have it
    shelf.clock.advance(seconds=2)
    (message,) = shelf.send()
    assert message.customer.person.email == "new@example.org"
    assert shelf.claim_messages() == []


def test_an_address_does_not_change_while_a_message_leaves_for_the_old_one(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    (message,) = shelf.claim_messages()
    refused = desk_of(shelf).correct_address("Ona", email="new@example.org", now=shelf.clock())
    assert isinstance(refused, Refused)
    assert "being sent at this moment" in refused.why
    shelf.hand_over([message], Done())
    assert isinstance(desk_of(shelf).correct_address("Ona", email="new@example.org", now=shelf.clock()), Corrected)


def test_a_suppressed_address_is_no_correction(ona, desk):
    with ona.database.write() as connection:
        suppress(connection, ona.keyring, "email", "x@example.org", SuppressionReason.STOP, "x", now=ona.clock())
    refused = desk.correct_address("Ona", email="x@example.org", now=ona.clock())
    assert isinstance(refused, Refused)
    assert "do-not-contact" in refused.why
    assert told(ona) == []


def test_a_number_of_a_customer_who_gets_emails_is_kept_and_nothing_is_sent(ona, desk):
    changed = desk.correct_address("Ona", phone="+37060000009", now=ona.clock())
    assert isinstance(changed, Corrected)
    assert isinstance(changed.sent, Refused)
    assert "--channel sms" in changed.sent.then


# Who is found, and what is told of them.


def test_a_customer_is_found_by_id_email_and_phone_with_masked_addresses(ona):
    finder = Finder(ona.database, ona.keyring)
    for text in ("Ona", " ONA@Example.org", "+370 600 00001", "0037060000001x"):
        found = finder.find(wanted(text))
        assert [one.customer_id for one in found] == ([] if text.endswith("x") else ["Ona"])
    assert [one.customer_id for one in finder.find(wanted("860000001", "LT"))] == ["Ona"]
    (one,) = finder.find(wanted("Ona"))
    assert (one.email, one.phone, one.rows[0].state) == ("o…@example.org", "+370…01", "invited")


def test_customers_are_found_by_older_digest_keys_too(database, clock):
    before, after = new_key(), new_key()
    old = Shelf(database, Keyring([before], [before]), clock)
    old.add(customer("Ona"))
    ring = Keyring([before], [after, before])
    assert [one.customer_id for one in Finder(database, ring).find(wanted("ona@example.org"))] == ["Ona"]


def test_an_erased_customer_is_found_by_id_only(ona):
    SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="", forget_suppressed=False, now=ona.clock())
    finder = Finder(ona.database, ona.keyring)
    assert finder.find(wanted("ona@example.org")) == []
    assert (ona.row(CustomerRow).email_digest, ona.row(CustomerRow).phone_digest) == (None, None)
    assert [one.erased for one in finder.find(wanted("Ona"))] == [True]


def test_a_webhook_is_shown_as_one_of_the_sessions_account_whatever_account_it_is_kept_under(ona):
    WebhookFeed(ona).receive(APPROVED)
    ona.set(Webhook, source="account/a-peer-of-kyc")
    assert any(text.startswith("A webhook of kyc came") for text in sentences(ona))


def test_a_history_says_what_happened_from_the_row_to_the_result(ona, desk, decide: Decisions):
    desk.resend("Ona", channel="email", reason="call 4711", now=ona.clock())
    ona.send()
    ona.clock.advance(minutes=5)
    WebhookFeed(ona).receive(APPROVED)
    decide.resolve(Which(ona.row(Job).batch_id, rows=read_rows("2")), Verdict.ABANDON, now=ona.clock())
    told_of_her = sentences(ona)
    batch = ona.row(Job).batch_id
    assert f"The list list.csv asks for the customer, by email (row 2 of batch {batch}, account kyc)." in told_of_her
    assert any(text.startswith("kyc opened a session. Its link works until 2026-11-27") for text in told_of_her)
    assert "The email with the link left." in told_of_her
    assert "The link again, by email, left." in told_of_her
    assert any(text.endswith("the same link by email; call 4711.") for text in told_of_her)
    assert any(text.startswith("A webhook of kyc came") for text in told_of_her)
    assert "Finished: approved." in told_of_her
    said = " ".join(told_of_her)
    assert "ona@example" not in said
    assert "token" not in said
    assert told_of_her.index("The email with the link left.") < told_of_her.index("Finished: approved.")


def test_a_history_tells_of_no_call_that_was_not_made(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(IssueResult(opened, shelf.clock(), None))
    assert shelf.row(Attempt).outcome == "not_sent"
    assert not any("was called" in text for text in sentences(shelf))


def test_a_history_tells_of_a_joined_row_and_of_what_comes_next(ona):
    batch = ona.row(Job).batch_id
    ona.add(customer("Ona"), batch=None)
    told_of_her = sentences(ona)
    assert any(f"row 2 of batch {batch} serves the customer already" in text for text in told_of_her)
    assert told_of_her[-1].startswith("Next: the link ends")
    assert ona.row(SessionRow).expires_at == ona.clock() + WEEK - timedelta(minutes=1)


ANOTHER = "The worker then decides whether another follows."


def test_of_an_open_row_another_link_may_follow_and_of_a_cancelled_row_none(ona, decide: Decisions):
    assert sentences(ona)[-1] == f"Next: the link ends, if the customer does not finish. {ANOTHER}"
    decide.cancel(ona.row(Job).batch_id, now=ona.clock())
    assert sentences(ona)[-1] == "Next: the link ends, if the customer does not finish."


def test_of_an_erased_customer_no_other_link_follows(ona):
    SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="asked", forget_suppressed=False, now=ona.clock())
    assert ANOTHER not in " ".join(sentences(ona))


def test_the_row_that_takes_over_the_link_of_a_cancelled_list_may_get_another(ona, decide: Decisions):
    batch = ona.row(Job).batch_id
    ona.add(customer("Ona"), batch=None)
    decide.cancel(batch, now=ona.clock())
    ona.issue()
    assert ANOTHER in " ".join(sentences(ona))


def test_contact_details_are_shown_with_an_entry_in_the_audit_log(ona):
    contact = Finder(ona.database, ona.keyring).contact("Ona", now=ona.clock())
    assert contact is not None
    assert (contact.email, contact.name) == ("ona@example.org", "Ona Kazlauskas")
    assert told(ona) == ["contact details shown"]
    assert "ona@" not in repr(contact)


def test_a_customer_with_both_channels_hears_again_on_the_one_that_reaches(shelf):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    shelf.send(channel="sms")
    with shelf.database.write() as connection:
        bounce = SuppressionReason.BOUNCE
        suppress(connection, shelf.keyring, "email", "ona@example.org", bounce, "x", now=shelf.clock())
    sent = desk_of(shelf).resend("Ona", now=shelf.clock.advance(minutes=30))
    assert isinstance(sent, Sent)
    assert sent.channel == "sms"


# More than addresses: what a report that comes back has changed.


def test_a_corrected_name_is_stored_and_nothing_is_sent(ona, desk):
    done = desk.correct("Ona", Correction({"first_name": "Onutė", "country": "LV"}), reason="row 3", now=ona.clock())

    assert isinstance(done, Corrected)
    assert (done.columns, done.due) == (("first_name", "country"), ())
    assert ona.send() == []
    assert ona.row(CustomerRow).country == "LV"
    stored = ReturnedRows(ona.database, ona.keyring).of(["Ona", "Jonas"])
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
    assert ReturnedRows(ona.database, ona.keyring).of(["Ona"])["Ona"].places["onboarding"].standing is standing
