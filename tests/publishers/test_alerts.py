"""Alerts as they arrive: at a chat, at a system of the operator's, in a mailbox."""

import json
import socket
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.conftest import NOON
from tests.publishers.events import event
from tests.publishers.listener import Listener, answers
from worker.domain.events.alerts import AlertKind, Condition, as_data
from worker.domain.events.published import OutgoingEvent
from worker.domain.model.endings import Kind
from worker.publishers.alerts import FORMS, Mailed, Posted
from worker.publishers.contract import Reply

DATA = as_data([Condition(AlertKind.ACCOUNT, "kyc")], [Condition(AlertKind.HELD, "12")], now=NOON)


def alert() -> OutgoingEvent:
    return event(7, kind="alert", customer_id="", data=DATA)


def post(listener: Listener, form: str) -> Reply:
    (reply,) = Posted(f"{listener.url}?sig=secret", form, None).publish(
        [alert()], clock=lambda: NOON, goes_on=lambda: True
    )
    return reply


@pytest.mark.parametrize("form", FORMS)
def test_it_is_posted_in_the_form_of_its_receiver(listen, form: str):
    listener = listen(answers(200))
    assert post(listener, form).problem is None
    ((headers, body),) = listener.got
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "application/json"
    text = json.dumps(json.loads(body))
    assert "The account kyc is stopped." in text
    assert "no row is held any more" in text


def test_slack_reads_its_text_and_teams_a_card(listen):
    listener = listen(answers(200))
    post(listener, "slack")
    post(listener, "teams")
    slack, teams = (json.loads(body) for _, body in listener.got)
    assert set(slack) == {"text"}
    (card,) = teams["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["type"] == "AdaptiveCard"


@pytest.mark.parametrize(("status", "kind"), [(500, Kind.TRANSIENT), (429, Kind.RATE_LIMITED), (302, Kind.TRANSIENT)])
def test_a_refusal_is_a_problem_that_is_tried_again(listen, status: int, kind: Kind):
    problem = post(listen(answers(status)), "json").problem
    assert problem is not None
    assert problem.kind is kind
    assert "sig" not in problem.detail


def test_the_address_is_in_no_repr():
    assert "secret" not in repr(Posted("https://hooks.example.com/secret", "slack", None))


@pytest.mark.parametrize("target", ["posted", "mailed"])
def test_no_alert_follows_once_the_time_of_a_chunk_is_over(listen, target):
    """Another process may publish the rest by then: its receiver would be alerted twice."""
    listener = listen(answers(200))
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    at = Posted(listener.url, "json", None) if target == "posted" else mailed(nobody)
    time = iter([True, False])
    replies = at.publish([alert(), alert(), alert()], clock=lambda: NOON, goes_on=lambda: next(time))
    assert len(replies) == 1


class Mailbox:
    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


def mailed(port: int) -> Mailed:
    to = ["ops@example.com", "boss@example.com"]
    return Mailed("127.0.0.1", port, "plain", "", lambda: "", "Onboarding <verify@example.com>", to, None)


def mail(port: int) -> Reply:
    (reply,) = mailed(port).publish([alert()], clock=lambda: NOON, goes_on=lambda: True)
    return reply


def test_it_is_mailed_to_each_mailbox_under_an_id_that_a_repeat_has_too():
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        assert mail(port).problem is None
        mail(port)
    finally:
        server.stop()
    (to, first), (_, second) = mailbox.got
    assert to == ["ops@example.com", "boss@example.com"]
    assert first["Subject"] == "Onboarding: The account kyc is stopped (and 1 more)"
    assert "onboard account list" in first.get_content()
    assert first["Message-ID"] == second["Message-ID"]


def test_a_mail_server_that_is_gone_is_tried_again():
    problem = mail(1).problem
    assert problem is not None
    assert (problem.kind, problem.unreachable) == (Kind.TRANSIENT, True)
