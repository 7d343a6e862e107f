"""The other channel: for a customer whom the first one does not reach, never for one who wants no messages."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.channels import CHANNELS, ChannelName, SuppressionReason
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.rules.contact import following, writable
from onboarding_worker.settings.policies import fallbacks
from tests.suite.cases import differing

ASKED = st.sampled_from([(), *(invitation_channels(channel) for channel in Channel)])
WAYS = st.dictionaries(st.sampled_from([*CHANNELS]), st.none() | st.sampled_from(SuppressionReason))
FALLBACK = st.sampled_from([None, "email", "sms"]).map(lambda name: fallbacks(name, CHANNELS))


@given(ASKED, FALLBACK, WAYS)
def test_only_what_may_be_written_to_is_written_to(channels, others, ways):
    found = writable(channels, others, ways)
    assert len(set(found)) == len(found)
    assert all(channel in ways and ways[channel] is None for channel in found)
    assert {channel for channel in channels if channel in ways and ways[channel] is None} <= set(found)


@given(ASKED, FALLBACK, WAYS)
def test_another_channel_than_was_asked_for_needs_a_bounce_and_a_fallback(channels, others, ways):
    for channel in set(writable(channels, others, ways)) - set(channels):
        bounced = [asked for asked in channels if ways.get(asked) is SuppressionReason.BOUNCE]
        assert any(channel in following(asked, others) for asked in bounced)


def test_a_whatsapp_message_falls_back_to_a_text_if_texts_have_a_sender():
    cases = [
        ("sms", ["email", "sms"], {"email": "sms", "whatsapp": "sms"}),
        (None, ["email", "sms"], {"whatsapp": "sms"}),
        ("email", ["email", "sms"], {"sms": "email", "whatsapp": "sms"}),
        ("email", ["email"], {"sms": "email", "whatsapp": "email"}),
        ("sms", ["email"], {}),
        (None, ["email", "whatsapp"], {}),
    ]
    assert [
        (configured, senders, expected, got)
        for configured, senders, expected in cases
        if (got := fallbacks(configured, senders)) != expected
    ] == []


BOUNCE, STOP, MANUAL = SuppressionReason.BOUNCE, SuppressionReason.STOP, SuppressionReason.MANUAL
ALONG = {"whatsapp": "sms", "sms": "email"}


def test_in_place_of_a_bounced_channel_stands_the_first_of_its_fallbacks_that_may_be_used():
    cases = [
        (("email",), {}, {"email": None}, ("email",)),
        (("email", "sms"), {}, {"email": None, "sms": None}, ("email", "sms")),
        (("email",), {}, {"sms": None}, ()),  # no address
        (("email",), ALONG, {"email": BOUNCE, "sms": None}, ()),
        (("sms",), ALONG, {"sms": BOUNCE, "email": None}, ("email",)),
        (("sms",), ALONG, {"sms": STOP, "email": None}, ()),
        (("sms",), ALONG, {"sms": MANUAL, "email": None}, ()),
        (("sms",), ALONG, {"sms": BOUNCE}, ()),
        (("sms",), ALONG, {"sms": BOUNCE, "email": BOUNCE}, ()),
        (("whatsapp",), ALONG, {"whatsapp": BOUNCE, "sms": None, "email": None}, ("sms",)),
        (("whatsapp",), ALONG, {"whatsapp": BOUNCE, "sms": STOP, "email": None}, ("email",)),
        (("whatsapp",), ALONG, {"whatsapp": BOUNCE, "email": None}, ("email",)),
        (("email", "sms"), ALONG, {"email": None, "sms": BOUNCE}, ("email",)),
    ]
    assert differing(cases, writable) == []


def test_no_channel_is_tried_twice():
    assert following("sms", {}) == ()
    assert following("whatsapp", {"whatsapp": "sms", "sms": "email", "email": "sms"}) == ("sms", "email")
    assert following("whatsapp", fallbacks("email", CHANNELS)) == ("sms", "email")
    assert following("email", {"email": "sms", "sms": "email"}) == ("sms",)


def test_the_configuration_knows_the_same_channels():
    assert get_args(ChannelName) == tuple(CHANNELS)
    assert set(CHANNELS) <= {channel.value for channel in Channel}
