"""One verification for all who check a signature: which key, or why none."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.web.webhooks.standard_webhooks import ID, SIGNATURE, TIMESTAMP, secret, signature, signing_key

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STAMP = int(NOW.timestamp())
# Any text, halves of surrogate pairs among it: what aiohttp makes of bytes that are not UTF-8, and what it never makes.
TEXT = st.text(st.characters(exclude_categories=[], exclude_characters="\r\n\0"), min_size=1, max_size=20)


def signed(body: bytes, *keys: str, message_id: str = "m-1") -> dict[str, str]:
    made = " ".join(signature(key, message_id, STAMP, body) for key in keys)
    return {ID: message_id, TIMESTAMP: str(STAMP), SIGNATURE: made}


def test_the_key_is_named_by_its_place():
    headers = signed(b"{}", "second")
    assert signing_key(headers, b"{}", ["first", "second"], now=NOW) == 1
    assert signing_key(headers, b"{}", ["first"], now=NOW) == "none of our keys made its signature"


def test_one_of_several_signatures_is_enough():
    assert signing_key(signed(b"{}", "old", "new"), b"{}", ["new"], now=NOW) == 0


@given(TEXT, st.binary())
def test_what_is_signed_is_verified_whatever_text_its_id_is(message_id, body):
    assert signing_key(signed(body, "key", message_id=message_id), body, ["key"], now=NOW) == 0


@given(TEXT, TEXT, TEXT, st.binary())
def test_no_header_raises_and_none_matches_by_chance(message_id, stamp, offered, body):
    headers = {ID: message_id, TIMESTAMP: stamp, SIGNATURE: offered}
    assert isinstance(signing_key(headers, body, ["key"], now=NOW), str)
    assert isinstance(signing_key(headers | {TIMESTAMP: str(STAMP)}, body, ["key"], now=NOW), str)


def test_a_key_may_be_a_text_or_in_the_form_of_the_standards_libraries():
    assert secret("plain words") == b"plain words"
    assert secret("whsec_cmF3") == b"raw"
    assert secret("whsec_no base64") == b"whsec_no base64"
