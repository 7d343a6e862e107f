"""The channels, and what differs between them."""

import pytest

from onboarding_worker.core.model.channels import (
    ADDRESSES,
    CALLED,
    CHANNELS,
    address_of,
    channels_of,
    is_mail,
    listed_as,
)
from onboarding_worker.core.model.customers import Channel, Person

ONA = Person(email="ona@example.org", phone="+37060000001")


@pytest.mark.parametrize(
    ("channel", "address", "listed", "falls_to"),
    [("email", ONA.email, "email", ""), ("sms", ONA.phone, "sms", ""), ("whatsapp", ONA.phone, "sms", "sms")],
)
def test_a_channel_writes_to_one_kind_of_address_that_may_be_listed_under_another_channel(
    channel, address, listed, falls_to
):
    assert (address_of(ONA, channel), is_mail(channel)) == (address, address == ONA.email)
    assert (listed_as(channel), CHANNELS[channel].falls_to) == (listed, falls_to)
    assert CALLED[channel] == CHANNELS[channel].called


def test_each_kind_of_address_has_its_channels():
    assert list(CHANNELS) == [Channel.EMAIL, Channel.SMS, Channel.WHATSAPP]
    assert [channels_of(kind) for kind in ADDRESSES] == [("email",), ("sms", "whatsapp")]


def test_a_name_that_is_no_channel_is_listed_as_itself():
    assert listed_as("post") == "post"
