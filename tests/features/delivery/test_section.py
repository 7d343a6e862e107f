"""The section `[delivery]`: one mail service, whose keys only `web` needs."""

from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.features.delivery.section import SECTION, Delivery
from onboarding_worker.features.delivery.texts import WAY_BACK
from onboarding_worker.settings.needs import NOTHING, Need, is_needed
from tests.features.delivery.sns import TOPIC
from tests.features.delivery.test_mail_services import PUBLIC
from tests.settings.samples import loaded, problems, tree

KEYS = {"keys": [{"env": "IDENFY_WEBHOOK_KEY"}]}


def test_what_does_not_go_together_does_not_start(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"mailgun": KEYS, "standard": KEYS}, "delivery.mailgun: one mail service alone reports: here is"),
        ({"mailgun": {}}, "delivery.mailgun.keys: missing, and needed: Mailgun's webhook signing keys"),
        ({"mailgun": {"key": []}}, "delivery.mailgun.key: unknown key; did you mean `keys`?"),
        ({"ses": KEYS}, "delivery.ses.keys: unknown key"),
        ({"ses": {"topics": ["bounces"]}}, "delivery.ses.topics[1]: expected the ARN of a topic"),
        ({"sparkpost": KEYS}, "delivery.sparkpost: unknown key"),
    ]
    for delivery, said in cases:
        with subtests.test(delivery=delivery):
            line = problems(tmp_path, tree(delivery=delivery))[0]
            assert line.startswith(said)
    assert problems(tmp_path, tree(delivery={"ses": {"topics": [TOPIC]}})) == []


def test_a_key_of_sendgrid_that_verifies_nothing_does_not_start(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(delivery={"sendgrid": KEYS}))
    assert line.startswith("delivery.sendgrid.keys[1]: expected a public key as SendGrid shows it")
    assert problems(tmp_path, tree(delivery={"sendgrid": KEYS}), IDENFY_WEBHOOK_KEY=PUBLIC) == []


def test_reports_without_mails_do_not_start(tmp_path: Path) -> None:
    configuration = tree(delivery={"postmark": KEYS})
    del configuration["email"]
    (line,) = problems(tmp_path, configuration)
    assert line.startswith("delivery.postmark: needs the section [email]")


def test_the_keys_are_needed_where_reports_come_in() -> None:
    path = ("delivery", "standard", "keys")
    assert is_needed(path, frozenset({Need.RECEIVING}))
    assert not is_needed(path, NOTHING)


def test_mails_by_postmark_carry_what_it_names_them_by(tmp_path: Path, keyring: Keyring) -> None:
    assert WAY_BACK.mails(loaded(tmp_path, tree(delivery={"mailgun": KEYS})), keyring) is None
    returning = WAY_BACK.mails(loaded(tmp_path, tree(delivery={"postmark": KEYS})), keyring)
    assert returning("0a").address == ""
    assert returning("0a").headers == ("X-PM-KeepID: true", "X-PM-Metadata-message: 0a")


def test_only_the_host_of_sns_is_added_to_the_machines_outside(tmp_path: Path) -> None:
    settings = loaded(tmp_path, tree(delivery={"ses": {"topics": [TOPIC]}}))
    assert [*SECTION.outside(settings.section(Delivery))] == [
        ("delivery.ses.topics", "https://sns.eu-west-1.amazonaws.com")
    ]
