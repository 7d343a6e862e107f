"""The status of an address after a refusal. Few refusals mean "gone", because a gone address gets no more messages."""

import json
from datetime import UTC, datetime

from onboarding_worker.core.model.endings import AddressIs, Kind
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.senders.smtp_answers import Phase, refused
from onboarding_worker.senders.twilio_answers import read

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


GONE, REFUSED, OPTED_OUT = AddressIs.GONE, AddressIs.REFUSED, AddressIs.OPTED_OUT


def test_an_smtp_server_reports_an_unknown_mailbox(subtests):
    cases = [
        (Phase.RCPT, 550, "5.1.1 no such user", GONE),
        (Phase.END, 550, "5.1.1 no such user", GONE),
        (Phase.RCPT, 556, "5.1.10 null MX", GONE),
        (Phase.RCPT, 550, "5.2.1 disabled", GONE),
        (Phase.RCPT, 552, "5.2.2 mailbox full", REFUSED),
        (Phase.RCPT, 550, "5.7.1 blocked, see http://example.org: user unknown to us", REFUSED),
        (Phase.RCPT, 550, "5.1.8 bad sender", REFUSED),
        (Phase.RCPT, 550, "5.4.1 Recipient address rejected: Access denied", REFUSED),
        (Phase.RCPT, 550, "User unknown", GONE),
        (Phase.RCPT, 550, "No such recipient here", GONE),
        (Phase.RCPT, 550, "<x@example.org>: Recipient address rejected: mailbox not found", GONE),
        (Phase.RCPT, 550, "Requested action not taken", REFUSED),
        (Phase.RCPT, 550, "blocked using a list of senders", REFUSED),
        (Phase.RCPT, 554, "transaction failed", REFUSED),
        (Phase.DATA, 550, "user unknown", None),
        (Phase.MAIL, 550, "5.1.1 who are you", None),
        (Phase.RCPT, 450, "4.2.0 greylisted", None),
        (Phase.RCPT, 452, "4.2.2 mailbox full", None),
    ]
    for phase, status, text, says in cases:
        with subtests.test(phase=phase, status=status, text=text, says=says):
            problem = refused(phase, status, text)
            assert problem.address is says
            assert says is None or problem.kind is Kind.BAD_INPUT


def test_twilio_reports_a_number_that_cannot_be_texted(subtests):
    for code, says in [
        (21211, GONE),
        (21614, GONE),
        (30005, GONE),
        (21610, OPTED_OUT),
        (21408, None),
        (21612, None),
        (30007, None),
    ]:
        with subtests.test(code=code):
            answer = HttpAnswer(400, {}, json.dumps({"code": code, "message": "no", "status": 400}).encode())
            assert read(answer, to="+37060000001", now=NOON).address is says
