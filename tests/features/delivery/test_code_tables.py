"""The tables of what services report: whom a loss is about is the same as in an answer, and no line about us, or of no
known meaning, ends an address."""

from importlib import import_module
from urllib.parse import urlencode

import pytest

from onboarding_worker.core.model.stops import About
from onboarding_worker.features.delivery import twilio
from onboarding_worker.senders.contract import DeliveryStatus
from onboarding_worker.senders.twilio_answers import TEXTS, WHATSAPP

CODES = [("sms", code) for code in [*TEXTS, 39999]] + [("whatsapp", code) for code in [*WHATSAPP, 69999]]


@pytest.mark.parametrize(("channel", "code"), CODES)
def test_a_report_is_about_whom_the_answer_is(channel, code):
    to = "whatsapp:+37060000001" if channel == "whatsapp" else "+37060000001"
    form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "To": to, "ErrorCode": str(code)}
    update = twilio.read(urlencode(form).encode())
    known = (WHATSAPP if channel == "whatsapp" else TEXTS).get(code)
    assert update.about is (known.about if known is not None else About.UNKNOWN)
    assert not (update.is_apart and update.stop)


TABLES = [("mailgun", "MEANINGS"), ("mailgun", "REASONS"), ("postmark", "BOUNCES"), ("ses", "BOUNCES")]
TABLES += [("sendgrid", name) for name in ("MEANINGS", "DROPS", "BLOCKS")]


@pytest.mark.parametrize(("service", "table"), TABLES)
def test_no_line_of_a_mail_services_table_about_us_or_of_no_known_meaning_has_a_stop(service, table):
    module = import_module(f"onboarding_worker.features.delivery.{service}")
    for said in getattr(module, table).values():
        assert said.about not in (About.US, About.UNKNOWN) or said.stop is None
        assert said.about is not About.US or said.words
        assert (said.about is None) is (said.status in (None, DeliveryStatus.DELIVERED))
