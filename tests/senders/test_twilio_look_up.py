"""Looking for a text whose answer was lost: by number, sender, time and the link in its body."""

import json
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.senders.contract import Receipt
from tests.senders.far_side import ACCOUNT, NOW, NUMBER, SERVICE, FakeCaller, Token, error, sms_sender

LINK = "https://verify.example.com/s?t=t0k3n"
TO = "+37060000001"
OURS = f"Example Bank: {LINK}"


def text(sid="SM1", body=OURS, at=NOW, **more):
    return {"sid": sid, "body": body, "date_created": format_datetime(at), "direction": "outbound-api", **more}


def listed(*texts, **more):
    return HttpAnswer(200, {}, json.dumps({"messages": list(texts), "next_page_uri": None, **more}).encode())


async def found(*answers, known=(), since=NOW, **settings):
    http = FakeCaller(answers)
    answer = await sms_sender(http, **settings).look_up(TO, LINK, since=since, known=frozenset(known))
    return answer, http


async def test_the_list_is_asked_for_by_number_and_sender_and_changes_nothing():
    answer, http = await found(listed())
    (request,) = http.requests
    url = urlsplit(request.url)
    assert answer == Nothing()
    assert (request.method, request.body, url.path) == ("GET", b"", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    # Not by the day of sending, which a text that waits in a queue does not have yet.
    assert parse_qs(url.query) == {"To": [TO], "From": [NUMBER], "PageSize": ["1000"]}


async def test_the_text_with_the_link_is_the_one():
    answer, _ = await found(listed(text("SM9", "Your code is 5"), text("SM1")))
    assert answer == Receipt("SM1")


async def test_a_text_with_another_body_is_not_a_match():
    cases = ["Your code is 5", f"{LINK[:-1]}x"]
    assert [(body, got) for body in cases if (got := (await found(listed(text(body=body))))[0]) != Nothing()] == []


async def test_one_whose_receipt_we_hold_is_not_it():
    assert (await found(listed(text("SM1")), known=["SM1"]))[0] == Nothing()


async def test_one_from_before_the_hand_over_is_not_it_but_clocks_may_differ():
    assert (await found(listed(text(at=NOW - timedelta(minutes=6)))))[0] == Nothing()
    assert (await found(listed(text(at=NOW - timedelta(minutes=4)))))[0] == Receipt("SM1")


async def test_one_without_a_readable_date_may_be_it():
    cases = [None, "soon", 5]
    assert [
        (date, got) for date in cases if (got := (await found(listed(text(date_created=date))))[0]) != Receipt("SM1")
    ] == []


async def test_an_answer_of_the_customers_is_not_it():
    assert (await found(listed(text(direction="inbound"))))[0] == Nothing()


async def test_texts_of_another_messaging_service_are_left_out():
    other, service = text("SM2", messaging_service_sid="MG2"), text("SM1", messaging_service_sid=SERVICE)
    answer, http = await found(listed(other, service), from_=SERVICE)
    assert answer == Receipt("SM1")
    assert "From" not in parse_qs(urlsplit(http.requests[0].url).query)
    assert (await found(listed(other), from_=SERVICE))[0] == Nothing()


@pytest.mark.parametrize("body", [None, ""])
async def test_texts_without_their_bodies_are_a_question_for_a_person(body):
    answer, _ = await found(listed(text(body=body)))
    assert isinstance(answer, Unmatched)
    assert answer.references == ("SM1",)
    assert "SM1" in answer.detail
    assert (await found(listed(text(body=body), text("SM2"))))[0] == Receipt("SM2")


async def test_a_list_of_several_pages_decides_nothing():
    answer, _ = await found(listed(text(body="other"), next_page_uri="/2010-04-01/…"))
    assert answer.kind is Kind.BAD_INPUT


async def test_a_list_that_cannot_be_read_is_a_problem_and_never_an_unknown_outcome(subtests):
    cases = [
        (error(401, 20003), Kind.AUTH),
        (error(403), Kind.BAD_INPUT),
        (error(404, 20404), Kind.BAD_INPUT),
        (error(429, 20429), Kind.RATE_LIMITED),
        (error(500), Kind.TRANSIENT),
        (HttpAnswer(200, {}, b"<html>"), Kind.TRANSIENT),
        (HttpAnswer(200, {}, b'{"messages": [{"sid": 5}]}'), Kind.TRANSIENT),
        (HttpAnswer(200, {}, b"{}"), Kind.TRANSIENT),
        (Broken(sent=True, detail="connection reset"), Kind.TRANSIENT),
    ]
    for answer, kind in cases:
        with subtests.test(answer=answer):
            problem, _ = await found(answer)
            assert isinstance(problem, Problem)
            assert problem.kind is kind


async def test_a_replaced_token_is_used_at_once():
    answer, http = await found(error(401, 20003), listed(text()), token=Token("old", next_="new"))
    assert answer == Receipt("SM1")
    assert len(http.requests) == 2


async def test_nothing_personal_is_in_what_is_shown():
    answer, _ = await found(error(400, 21211, f"The 'To' number {TO} is not valid: {LINK}"))
    assert not [secret for secret in (TO, TO[1:], LINK) if secret in repr(answer)]


def test_every_sender_reconciles_or_has_a_reason_not_to(email):
    assert sms_sender(FakeCaller()).no_look_up == ""
    assert email().no_look_up
    assert FakeSender().no_look_up


async def test_one_that_cannot_look_up_is_a_reason_to_ask_a_person(email):
    answer = await email().look_up("a@customer.example", LINK, since=NOW, known=frozenset())
    assert answer.kind is Kind.BAD_INPUT
