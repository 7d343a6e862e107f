"""The other channel: for whom nobody reads the first one, and never for who asked not to be written to."""

from hypothesis import given
from hypothesis import strategies as st

from worker.domain.contact.fallback_channel import instead_of, writable
from worker.domain.contact.suppression import SuppressionReason

CHANNELS = st.sampled_from([(), ("email",), ("sms",), ("email", "sms")])
WAYS = st.dictionaries(st.sampled_from(["email", "sms"]), st.none() | st.sampled_from(SuppressionReason))
FALLBACK = st.sampled_from([None, "email", "sms"])


@given(CHANNELS, FALLBACK, WAYS)
def test_only_what_may_be_written_to_is_written_to(channels, fallback, ways):
    found = writable(channels, fallback, ways)
    assert len(set(found)) == len(found)
    assert all(channel in ways and ways[channel] is None for channel in found)
    assert {channel for channel in channels if channel in ways and ways[channel] is None} <= set(found)


@given(CHANNELS, FALLBACK, WAYS)
def test_another_channel_than_was_asked_for_needs_a_bounce_and_a_fallback(channels, fallback, ways):
    for channel in set(writable(channels, fallback, ways)) - set(channels):
        assert channel == fallback
        assert any(ways.get(asked) is SuppressionReason.BOUNCE for asked in channels)


def test_a_channel_is_not_its_own_fallback():
    assert (instead_of("email", "sms"), instead_of("sms", "sms"), instead_of("email", None)) == ("sms", None, None)
