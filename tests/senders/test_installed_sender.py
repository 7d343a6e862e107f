"""A service for texts in an installed package: `[sms] provider` names it, and it gets what ours gets."""

import importlib
import sys
from datetime import UTC, datetime

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.providers.webhooks.contract import Delivery
from onboarding_worker.senders.facts import TEXT_SERVICES
from onboarding_worker.web.webhooks.sources import sender_sources
from onboarding_worker.wiring.senders import build_senders
from tests.providers.installed import install
from tests.settings.samples import loaded, problems, tree
from tests.suite.of_features import needs

GROUP = "onboarding_worker.senders"
ACME = """
from onboarding_worker.senders.contract import TextCallbacks, TextFacts, TextService
from onboarding_testing.fakes import FakeSender
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate

made = []

def sender(settings, tools):
    made.append((settings, tools))
    return FakeSender(hold_unknown=not tools.repeat_unknown)

TEXTS = TextService(
    facts=TextFacts(host="https://texts.acme.example"),
    sender=sender,
    callbacks=TextCallbacks(
        unsigned=lambda headers: "" if "x-acme" in headers else "it is not signed",
        refusal=lambda headers, body, url, keys: "" if headers["x-acme"] in keys else "another key",
        signed_part=lambda body: body,
        read=lambda body: DeliveryUpdate("delivered", "1", status=DeliveryStatus.DELIVERED),
        largest=100,
    ),
)
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("zz_texts", None)
    TEXT_SERVICES.forget()


def installed(site, module, name="acme-texts", attribute="TEXTS"):
    install(site, "zz-texts", {name: f"zz_texts:{attribute}"}, group=GROUP, module=module)
    importlib.invalidate_caches()
    TEXT_SERVICES.forget()


def texting(**more):
    sms = {"provider": "acme-texts", "account": "me", "token": {"env": "TOKEN"}, "from": "Bank", **more}
    configuration = tree(sms=sms, web={"base_url": "https://onboard.example.com"})
    del configuration["whatsapp"]
    return configuration


def test_its_sender_is_built_with_the_section_and_our_tools(site, tmp_path):
    installed(site, ACME)
    settings = loaded(tmp_path, texting(on_unknown="repeat"), TOKEN="t0k3n")

    sender = build_senders(settings, lambda: datetime(2026, 11, 20, tzinfo=UTC))["sms"]

    ((given, _),) = sys.modules["zz_texts"].made
    assert isinstance(sender, FakeSender)
    assert sender.repeatable() is True
    assert (given.base_url, given.from_, given.token.reveal()) == ("https://texts.acme.example", "Bank", "t0k3n")


@needs("delivery")
def test_its_delivery_reports_come_to_us_and_are_checked_and_read_by_it(site, tmp_path):
    installed(site, ACME)
    settings = loaded(tmp_path, texting(), TOKEN="t0k3n")

    build_senders(settings, lambda: datetime(2026, 11, 20, tzinfo=UTC))
    source = sender_sources(settings, Keyring([new_key()]), lambda: datetime(2026, 11, 20, tzinfo=UTC))["sms"]

    ((_, tools),) = sys.modules["zz_texts"].made
    assert tools.callback == "https://onboard.example.com/callbacks/sms"
    genuine = Delivery(b"x", {"x-acme": "t0k3n"})
    assert source.largest == 100
    assert source.refuses_unread(Delivery(b"x")) == "it is not signed"
    assert source.refuses(Delivery(b"x", {"x-acme": "forged"}), "") == "another key"
    assert source.refuses(genuine, "") == ""
    (arrived,) = source.read(genuine)
    assert arrived.event == "delivered"


def test_a_channel_that_it_does_not_serve_is_refused(site, tmp_path):
    installed(site, ACME)
    section = {"provider": "acme-texts", "account": "me", "token": {"env": "TOKEN"}, "from": "Bank"}

    assert problems(tmp_path, tree(sms=section, whatsapp={"from": "Bank"}), TOKEN="t0k3n") == [
        "whatsapp: acme-texts has no sender for WhatsApp, only for sms"
    ]


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("raise ValueError('hunter2')", "cannot be loaded: ValueError at zz_texts.py, line 1"),
        ("TEXTS = 1", "cannot be used: its entry point is no onboarding_worker.senders.contract.TextService"),
    ],
)
def test_a_broken_one_is_named_with_its_package(site, tmp_path, module, problem):
    installed(site, module)

    assert problems(tmp_path, tree()) == []
    assert problems(tmp_path, texting(), TOKEN="t") == [
        f"sms.provider: the adapter acme-texts of zz-texts 0.1.0 {problem}"
    ]


def test_an_unknown_one_is_refused_with_the_known_names(tmp_path):
    (line,) = problems(tmp_path, texting(), TOKEN="t")

    assert line == "sms.provider: expected twilio, or the name of an installed adapter"


def test_the_name_of_ours_cannot_be_taken(site, tmp_path):
    installed(site, ACME, name="twilio")

    assert problems(tmp_path, tree()) == [
        "zz-texts 0.1.0: its adapter has the name twilio, which is built in: uninstall the package"
    ]
