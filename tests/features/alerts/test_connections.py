"""The mail of an alert, against a good mail server and those that it must not talk to."""

from pathlib import Path

import pytest

from onboarding_worker.features.alerts.alerting import alert_targets
from onboarding_worker.features.alerts.section import Alerts
from onboarding_worker.http import event_loop
from onboarding_worker.settings.model import Settings
from tests.desk.tls_front import as_starttls, smtp
from tests.runtime.test_every_connection import (
    MAILS,
    SERVERS,
    Client,
    closes_before_its_loop_ends,
    talks_to_the_right_server_only,
)


def as_alert(settings: Settings) -> str:
    told = settings.model_copy(update={"alerts": Alerts(email=("ops@example.com",))})
    (send,) = alert_targets(told).values()
    return event_loop.run(send(["account kyc needs a person"]))


CLIENTS = {
    "over TLS": Client("email", "smtps://localhost:{port}", as_alert, speaking=smtp(greets=True), more=MAILS),
    "after STARTTLS": Client(
        "email", "smtp+starttls://localhost:{port}", as_alert, as_starttls, smtp(greets=False), MAILS
    ),
}


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "asks for a certificate"])
@pytest.mark.parametrize("client", CLIENTS)
def test_an_alert_is_given_to_the_right_server_only(client: str, server: str, tmp_path: Path) -> None:
    talks_to_the_right_server_only(CLIENTS[client], server, tmp_path)


@pytest.mark.parametrize("client", CLIENTS)
def test_its_connection_is_closed_before_its_loop_ends_also_by_a_slow_server(client: str, tmp_path: Path) -> None:
    closes_before_its_loop_ends(CLIENTS[client], tmp_path)
