"""A customer's history as sentences, how addresses are masked, and what a person may type to find a customer."""

from datetime import timedelta

import pytest

from onboarding_worker.features.service_desk.case import wanted
from onboarding_worker.features.service_desk.timeline import About, CallFact, timeline
from onboarding_worker.providers.values import masked_email, masked_phone
from onboarding_worker.reporting.waits import Circumstances
from tests.conftest import NOON
from tests.features.service_desk.facts import CALM, ROW, SOON, a_history, a_link, a_message, of_message


def texts(**facts) -> list[str]:
    return [one.text for one in timeline(a_history(**facts), CALM, now=NOON)]


def test_each_end_of_a_row_is_a_sentence(subtests):
    for state, reason, said in [
        ("held", "unknown", "The row is held: it is not known whether the call was carried out."),
        ("failed", "bad_input", "The row failed: the data was refused."),
        ("cancelled", "cancelled", "Cancelled: "),
        ("completed", "already_finished", "Skipped: the customer has finished: approved."),
        ("waiting", "quiet_hours", "Next: kyc is asked for a session (the message may not leave during quiet hours)."),
    ]:
        with subtests.test(state=state, reason=reason, said=said):
            row = ROW._replace(state=state, reason=reason, result="approved")
            assert any(text.startswith(said) for text in texts(jobs=[row]))


def test_what_a_person_does_stands_with_the_row_and_names_its_batch():
    row = ROW._replace(batch=7, state="held", reason="unknown")
    (then,) = (one.then for one in timeline(a_history([row]), CALM, now=NOON) if one.then)
    assert "`onboard resolve 7`" in then


def test_a_mail_that_came_back_and_failed_its_row_has_one_advice():
    row = ROW._replace(state="failed", reason="bounced")
    bounced = a_message("email", "invitation", "bounced", "bounced", sent_at=NOON, over_at=NOON)
    history = a_history([row], [a_link(messages=[bounced])], customer_id="C-1002")
    (then,) = (one.then for one in timeline(history, CALM, now=NOON) if one.then)
    assert "`onboard customer address C-1002`" in then


def test_a_mail_that_came_back_beside_a_row_that_goes_on_has_its_advice():
    bounced = a_message("email", "reminder-1", "bounced", "bounced", sent_at=NOON)
    (one,) = (one for one in of_message(bounced) if one.then)
    assert "`onboard customer address`" in one.then


def test_a_message_is_dropped_when_its_session_ends_also_where_the_row_has_another_session_now():
    dropped = a_message("email", "reminder-1", "superseded", "session_ended")
    assert [one.at for one in of_message(dropped, now=SOON)] == [SOON]


def test_a_refused_customer_has_finished():
    told = texts(links=[a_link("r-1", "failed", "denied", "first", update_at=NOON)])
    assert "kyc says: the customer has finished: denied." in told


def test_between_the_end_of_a_link_and_its_last_result_the_end_is_told():
    (one,) = timeline(a_history(links=[a_link("r-1", "waiting", "", "first")]), CALM, now=SOON)[1:]
    assert (one.at, one.text) == (SOON, "The link ended. A result of its session may still come.")


def test_each_fate_of_a_message_is_a_sentence(subtests):
    for channel, kind, state, reason, more, said in [
        ("email", "invitation", "sent", "", {"sent_at": NOON}, "The email with the link left."),
        ("sms", "reminder-1", "delivered", "", {"sent_at": NOON}, "A reminder by text message was deliv"),
        ("sms", "invitation", "sent", "sent_by_provider", {"sent_at": NOON}, "The text message with the link counts "),
        ("email", "resend-1", "bounced", "", {"sent_at": NOON}, "Another email with the link came back."),
        ("email", "invitation", "suppressed", "", {"new_link": True}, "The email with the new link was not sent."),
        ("email", "invitation", "waiting", "", {"due_at": SOON}, "Next: the email with the link leaves."),
        ("email", "invitation", "working", "", {}, "The email with the link is being sent"),
        ("email", "invitation", "failed", "erased", {}, "The email with the link could not be sent: "),
        ("sms", "invitation", "held", "unknown", {"in_doubt": True}, "The text message with the link may have left: "),
        ("sms", "invitation", "failed", "abandoned", {"in_doubt": True}, "The text message with the link may have le"),
        ("sms", "invitation", "superseded", "cancelled", {"in_doubt": True}, "The text message with the link may have"),
    ]:
        with subtests.test(kind=kind, state=state, reason=reason, said=said):
            moments = of_message(a_message(channel, kind, state, reason, **more))
            assert any(one.text.startswith(said) for one in moments)


def test_a_message_to_an_address_that_gets_none_is_dropped():
    waits = a_message("email", "invitation", "waiting", due_at=SOON)
    (one,) = of_message(waits, stopped={"email": "an operator put it there"})
    assert one.text == "Next: the email with the link is dropped: an operator put it there."


def test_a_lost_answer_and_a_refusal_are_told_as_trouble_and_a_look_up_is_not():
    calls = [
        CallFact(NOON, "kyc", "", "unknown", None, ""),
        CallFact(NOON, "kyc", "", "transient", 503, ""),
        CallFact(NOON, "kyc", "", "done", 200, "", looks_up=True),
        CallFact(NOON, "kyc", "", "done", 200, "", looks_up=True, found_nothing=True),
    ]
    moments = timeline(a_history(calls=calls), CALM, now=NOON)
    assert [one.about for one in moments] == [About.TROUBLE, About.TROUBLE, About.CALL, About.CALL]
    assert moments[0].text == "kyc was called, and the answer was lost: it is not known what it did."
    assert moments[2].text == "kyc was asked what became of a call: 200, done."
    assert moments[3].text == "kyc was asked what became of a call: it had opened no session, and may be made again."


def test_a_session_of_another_tool_is_not_told_as_opened_for_us():
    opened, _ = texts(links=[a_link("scan-1", "waiting", "", "first", called=False)])
    assert opened.startswith("kyc has a session of the customer, which no stored call opened. Its link works until ")


def test_a_replaced_session_says_why():
    link = a_link("scan-2", "waiting", "", "session_superseded")
    assert "replaced while its link still worked" in texts(links=[link])[0]


def test_of_a_superseded_session_it_is_not_said_that_another_follows():
    link = a_link("scan-1", "superseded", "", "first")
    opens = "who has its link can open it until 2026-11-20 13:00 UTC"
    assert texts(links=[link])[1:] == [f"The session is superseded; {opens}."]


@pytest.mark.parametrize(("may_follow", "then"), [(True, " Another may follow."), (False, "")])
def test_another_session_is_spoken_of_only_where_one_may_follow(may_follow, then):
    link = a_link("scan-1", "waiting", "", "first", may_follow=may_follow)
    assert texts(links=[link])[-1] == f"Next: the session ends, if the customer does not finish.{then}"


@pytest.mark.parametrize(
    ("state", "own", "said"), [("waiting", False, True), ("started", False, False), ("waiting", True, False)]
)
def test_a_link_that_is_replaced_before_its_end_says_so(state, own, said):
    early = NOON + timedelta(minutes=20)
    around = Circumstances(has_own_links=own, early_at=lambda *_link: early)
    link = a_link("scan-1", state, "", "first", may_follow=True)
    text = timeline(a_history(links=[link]), around, now=NOON)[-1].text
    assert ("another may replace it from 2026-11-20 12:20 UTC on" in text) is said


def test_of_a_customer_in_review_it_is_not_said_that_they_still_have_to_finish():
    link = a_link("scan-1", "started", "review", "first", update_at=NOON, may_follow=True)
    assert texts(links=[link])[-1] == "kyc says: the customer has submitted, and is in review."


def test_a_session_that_is_not_bought_yet_was_not_opened():
    assert texts(links=[a_link("", "deferred", "", "first")]) == [
        "Our own link is ready: a session of kyc is bought when the customer presses its button."
    ]


def test_sentences_stand_in_the_order_of_their_times_and_what_comes_next_stands_last():
    link = a_link("scan-1", "waiting", "", "first")
    message = a_message("email", "invitation", "sent", sent_at=NOON + timedelta(minutes=1))
    history = a_history([ROW], [link._replace(messages=[message])])
    times = [one.at for one in timeline(history, CALM, now=NOON)]
    assert times == sorted(times)
    assert times[-1] == SOON


def test_a_masked_address_is_recognised_and_not_read():
    assert masked_email("ona.k@example.com") == "o…@example.com"
    assert masked_phone("+37060000001") == "+370…01"
    assert (masked_email(""), masked_phone(""), masked_phone("+12345")) == ("", "", "…")


def test_what_a_person_types_is_read_in_each_way_that_it_can_be(subtests):
    cases = [
        ("C-1001", "", ("C-1001", "")),
        (" Ona@Example.ORG ", "", ("Ona@Example.ORG", "ona@example.org")),
        ("+370 (600) 00001", "", ("+370 (600) 00001", "", "+37060000001")),
        ("860000001", "LT", ("860000001", "", "+37060000001")),
        ("491721234567", "DE", ("491721234567", "", "+49491721234567", "+491721234567")),
        ("491721234567.0", "DE", ("491721234567.0", "")),
        ("x@", "", ("x@", "")),
        ("", "", ("", "")),
    ]
    for typed, country, found in cases:
        with subtests.test(typed=typed, country=country, found=found):
            read = wanted(typed, country)
            assert (read.customer_id, read.email, *read.phones) == found


def test_a_national_number_may_be_of_any_country():
    phones = wanted("8 600 00001").phones
    assert {"+37060000001", "+78600000010"} & set(phones) == {"+37060000001"}
    assert len(phones) == len(set(phones)) > 1


def test_hostile_text_finds_nothing_and_breaks_nothing(subtests):
    for typed in ["a" * 5000, "\x00", "' OR 1=1 --", "@" * 400, "١٢٣٤٥٦٧", "+" * 50]:
        with subtests.test(typed=typed):
            read = wanted(typed)
            assert (read.email, read.phones) == ("", ())
            assert len(read.customer_id) <= 100
