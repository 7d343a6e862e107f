"""A composed message, read back with the standard library's parser."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest

from worker.senders.mime import From, Mailbox, compose

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
BANK = From.read("Example Bank <verify@bank.example>")
MARIA = Mailbox("maria.lopez@customer.example")


def composed(message, sender=BANK, to=MARIA):
    return compose(message, sender=sender, to=to, date=NOW)


def parsed(message, **arguments):
    mail = message_from_bytes(composed(message, **arguments), policy=default)
    assert not [defect for part in mail.walk() for defect in part.defects]
    return mail


def test_the_headers_have_sender_recipient_time_and_language(message):
    mail = parsed(message())

    assert mail["From"] == "Example Bank <verify@bank.example>"
    assert mail["To"] == "maria.lopez@customer.example"
    assert mail["Subject"] == "Example Bank: Bitte bestätigen Sie Ihre Identität"
    assert mail["Message-ID"] == "<0197f3-invitation-email@bank.example>"
    assert mail["Date"].datetime == NOW
    assert mail["Content-Language"] == "de"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["MIME-Version"] == "1.0"
    assert mail["List-Unsubscribe"] is None


def test_text_comes_before_html_and_both_come_through_whole(message):
    sent = message(text="Ünï\n\n.\n..dots\ntrailing \nFrom here\n" + "long " * 400, html="<p>=3D Ü</p>\n" * 50)
    mail = parsed(sent)

    text, html = mail.iter_parts()
    assert mail.get_content_type() == "multipart/alternative"
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n") == sent.text
    assert html.get_content().replace("\r\n", "\n") + "\n" == sent.html  # the boundary owns the last line's end


def test_a_message_without_html_is_plain_text(message):
    mail = parsed(message(html=""))

    assert mail.get_content_type() == "text/plain"
    assert "t0k3n" in mail.get_content()


def test_every_line_is_short_and_ends_in_crlf(message):
    raw = composed(message(text="ü" * 5000, subject="Ä" * 300))

    assert raw.endswith(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert raw.isascii()


@pytest.mark.parametrize(
    "subject",
    [
        "plain",
        "",
        "x" * 150 + " y",
        "Žalgirio mūšis " * 12,
        "=?utf-8?q?not_mine?=",
        "🎉" * 40,
    ],
)
def test_any_subject_comes_through(message, subject):
    assert parsed(message(subject=subject))["Subject"] == " ".join(subject.split())


@pytest.mark.parametrize("bad", ["\r\nBcc: x@evil.example", "\nX: y", "\u2028Bcc: x@evil.example", "\x00\x0b\r"])
def test_a_subject_cannot_break_out_of_its_header(message, bad):
    mail = parsed(message(subject=f"Hello{bad}!"))

    assert mail.keys().count("Subject") == 1
    assert mail["Bcc"] is None
    assert mail["X"] is None
    assert "\n" not in mail["Subject"]


def test_a_subject_holds_nothing_that_turns_text_around_or_hides_it(message):
    assert parsed(message(subject="a\u202eb\u2066c\u200bd\u2069\ufeff"))["Subject"] == "abcd"


def test_a_language_that_is_none_is_left_out(message):
    mail = parsed(message(language="de\r\nBcc: x@evil.example"))

    assert mail["Content-Language"] is None
    assert mail["Bcc"] is None


@pytest.mark.parametrize("key", ["", "a@b", "a>\r\nBcc: x", "ä", "a b", "k" * 201])
def test_a_key_that_cannot_stand_in_a_message_id_is_a_bug_and_not_shown(message, key):
    with pytest.raises(ValueError, match="key may have only letters") as caught:
        composed(message(key=key))
    assert not key or key not in str(caught.value)


def test_a_display_name_in_any_script_comes_through(message):
    mail = parsed(message(), sender=From.read('"Bank, Ünited" <verify@bücher.example>'))

    assert mail["From"].addresses[0].display_name == "Bank, Ünited"
    assert mail["From"].addresses[0].addr_spec == "verify@xn--bcher-kva.example"


def test_a_lone_surrogate_does_not_stop_a_message(message):
    assert parsed(message(text="a\ud800b", subject="a\ud800b", html=""))["Subject"] == "ab"
