"""The tables of the services' codes, as they are published: whom each code is about."""

import json
from datetime import UTC, datetime

import pytest

from onboarding_worker.core.model.endings import AddressIs, Kind
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.model.stops import About
from onboarding_worker.senders import contract
from onboarding_worker.senders.smtp_answers import DOCUMENTED, GONE, OURS, REFUSED, of_permanent_failure
from onboarding_worker.senders.twilio_answers import OF_TEXTS, OF_WHATSAPP, TEXTS, WHATSAPP, read

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
APART = (About.US, About.UNKNOWN)
CODES = [("sms", code) for code in [*TEXTS, 39999]] + [("whatsapp", code) for code in [*WHATSAPP, 69999]]


def answered(channel, code):
    meaning = OF_WHATSAPP if channel == "whatsapp" else OF_TEXTS
    body = json.dumps({"code": code, "message": "no", "status": 400}).encode()
    return read(HttpAnswer(400, {}, body), to="+37060000001", now=NOON, meaning=meaning)


@pytest.mark.parametrize(("channel", "code"), CODES)
def test_an_answer_about_us_or_of_no_known_meaning_ends_no_number(channel, code):
    problem = answered(channel, code)
    known = (WHATSAPP if channel == "whatsapp" else TEXTS).get(code)
    assert problem.undocumented is (known is None)
    if known is None or known.about in APART:
        assert problem.address not in (AddressIs.GONE, AddressIs.OPTED_OUT)
    if known is not None and known.about is About.US:
        assert problem.kind in (Kind.AUTH, Kind.RATE_LIMITED) or problem.unclear
        assert problem.kind is Kind.RATE_LIMITED or known.words in problem.detail


@pytest.mark.parametrize("code", [30002, 30032, 30034, 30035, 30037, 30038])
def test_what_carriers_and_twilio_refuse_our_account_for_is_about_us(code):
    assert (TEXTS[code].about, TEXTS[code].kind) == (About.US, Kind.AUTH)
    assert TEXTS[code].words


def test_a_mail_servers_code_says_whom_a_bounce_is_about():
    for codes, about in (
        (GONE, About.ADDRESS),
        (REFUSED, About.ADDRESS),
        (OURS, About.US),
        (["5.7.1", "5.4.4", "5.3.4", "5.0.0", ""], About.CUSTOMER),
        (["5.7.509", "5.9.9", "5.1.11"], About.UNKNOWN),
    ):
        for code in codes:
            said = of_permanent_failure(code, "")
            assert (code, said.about) == (code, about)
            assert (said.stop is contract.Stop.BOUNCED) is (code in GONE)
    assert all(DOCUMENTED.fullmatch(code) for code in (*GONE, *REFUSED, *OURS))
