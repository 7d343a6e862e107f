"""An alert as it arrives: in a chat, and in a mailbox."""

import json
import socket
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from onboarding_worker.features.alerts.alerting import alert_targets
from onboarding_worker.features.alerts.section import SECTION, Alerts
from onboarding_worker.http import event_loop
from tests.desk.listener import answers
from tests.settings.samples import loaded, problems, tree

LINES = ["account kyc needs a person: onboard status", "batch 12 needs no person any more"]


def send(directory: Path, **sections: Any) -> str:
    """Why it was not accepted."""
    (target,) = alert_targets(loaded(directory, tree(**sections))).values()
    return event_loop.run(target(LINES))


def test_a_chat_gets_the_lines_as_one_text(listen, tmp_path: Path):
    listener = listen(answers(200))
    assert send(tmp_path, alerts={"webhook": f"{listener.url}?sig=secret"}) == ""
    ((headers, body),) = listener.got
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "application/json"
    assert json.loads(body) == {"text": "\n".join(LINES)}


@pytest.mark.parametrize("status", [302, 429, 500])
def test_a_refusal_is_named_without_the_secret_address(listen, tmp_path: Path, status: int):
    listener = listen(answers(status))
    assert send(tmp_path, alerts={"webhook": f"{listener.url}?sig=secret"}) == f"HTTP {status}"
    assert len(listener.got) == 1  # a redirect is not followed


def test_a_chat_is_among_what_a_firewall_must_let_through(tmp_path: Path):
    settings = loaded(tmp_path, tree(alerts={"webhook": "http://127.0.0.1:9/hooks"}))
    assert [*SECTION.outside(settings.section(Alerts))] == [("alerts", "http://127.0.0.1:9/hooks")]
    assert [*SECTION.outside(Alerts())] == []


def test_an_address_that_anybody_may_read_is_refused(tmp_path: Path):
    (problem,) = problems(tmp_path, tree(alerts={"webhook": "https://hooks.example.com/T000/B000/secret"}))
    assert problem.startswith("alerts.webhook: who knows this address can write there")
    assert "T000" not in problem


def test_a_chat_on_another_machine_is_spoken_to_over_tls_only(tmp_path: Path):
    environ = {"CHAT": "http://hooks.example.com/T000"}
    (problem,) = problems(tmp_path, tree(alerts={"webhook": {"env": "CHAT"}}), **environ)
    assert problem.startswith("alerts.webhook: ")
    assert "https" in problem


def test_mails_need_a_mail_server(tmp_path: Path):
    without = tree(alerts={"email": ["ops@example.com"]})
    del without["email"]
    assert problems(tmp_path, without) == ["alerts.email: mails need the server of [email]"]


class Mailbox:
    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


def mail(directory: Path, port: int) -> str:
    email = tree()["email"] | {"url": f"smtp://127.0.0.1:{port}"}
    return send(directory, email=email, alerts={"email": ["ops@example.com", "boss@example.com"]})


def test_each_mailbox_gets_the_mail(tmp_path: Path):
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        assert mail(tmp_path, port) == ""
    finally:
        server.stop()
    ((to, got),) = mailbox.got
    assert to == ["ops@example.com", "boss@example.com"]
    assert got["Subject"] == f"Onboarding: {LINES[0]}"
    assert got.get_content().splitlines() == LINES


def test_a_mail_server_that_is_gone_is_named(tmp_path: Path):
    assert mail(tmp_path, 1)
