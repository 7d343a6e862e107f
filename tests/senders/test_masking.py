"""What a mail server or Twilio says, as it may be stored and shown."""

from onboarding_worker.senders.contract import DETAIL_LENGTH, mask


def test_no_character_hides_or_reverses_what_follows():
    assert mask("no \u202esuch\u200b user\u2066\r\nX: y\x1b[31m") == "no such user X: y [31m"


def test_no_more_than_the_beginning_of_a_reply_is_looked_at(subtests):
    for run in ["a", "a.", "@", "www.", "1 ", "a://", "<", "\u202e"]:
        with subtests.test(run=run):
            shown = mask(run * 1_000_000 + " quirin", ("quirin@example.com",))

            assert len(shown) <= DETAIL_LENGTH
            assert "quirin" not in shown


def test_an_address_is_masked_wherever_it_stands():
    assert mask("x quirin@example.com: unknown", ()) == "x […] unknown"
    assert mask("Quirin unknown", ("quirin@example.com",)) == "[…] unknown"
