"""A composed message, read back with the standard library's parser."""

from binascii import b2a_qp
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.senders import mime
from onboarding_worker.senders.contract import Message
from onboarding_worker.senders.mime import From, Mailbox, compose

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
BANK = From.read("Example Bank <verify@bank.example>")
MARIA = Mailbox("maria.lopez@customer.example")
USUAL = {"sender": BANK, "to": MARIA}
HEADERS = ["From", "To", "Subject", "Message-ID", "Date", "MIME-Version", "Auto-Submitted"]
HEADERS += ["Content-Language", "Content-Type"]


def composed(message, sender=BANK, to=MARIA):
    return compose(message, sender=sender, to=to)


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


def test_answers_go_where_the_sender_says(message):
    sender = From.read("Bank <verify@bank.example>", reply_to='"Įmonė, help" <help@bank.example>')
    mail = parsed(message(), sender=sender)

    assert (mail["From"].addresses[0].addr_spec, str(mail["Reply-To"].addresses[0].addr_spec)) == (
        "verify@bank.example",
        "help@bank.example",
    )
    for bad in ("x", "a@b.example\r\nBcc: c@d.example"):
        with pytest.raises(ValueError, match="expected an address"):
            From.read("verify@bank.example", reply_to=bad)


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


def test_any_subject_comes_through(message):
    cases = ["plain", "", "x" * 150 + " y", "Žalgirio mūšis " * 12, "=?utf-8?q?not_mine?=", "🎉" * 40]
    assert [
        (subject, got)
        for subject in cases
        if (got := parsed(message(subject=subject))["Subject"]) != " ".join(subject.split())
    ] == []


HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\r\n\x0b\u2028\u0085 .=_-?@<>:\t\x00\u202e\ufeff"), st.characters(exclude_categories=["Cs"])
    ),
    max_size=200,
)


@given(HOSTILE, HOSTILE)
@example("", "")
@example("=?utf-8?b?eA==?=", ".\r\n--=_alternative--\r\n")
def test_the_standard_library_reads_any_words_as_they_were_written(subject, text):
    page = f"<p>{text}"
    made = message_from_bytes(
        compose(Message("key", NOW, MARIA.address, "de", subject, text, page), **USUAL), policy=default
    )

    assert made.keys() == HEADERS
    assert made["Subject"] == plain(subject, most=200)
    parts = [part.get_content().replace("\r\n", "\n") for part in made.iter_parts()]
    assert [part.removesuffix("\n") for part in parts] == [
        "\n".join(words.splitlines()).removesuffix("\n") for words in (text, page)
    ]


@given(HOSTILE)
def test_lines_are_quoted_one_by_one_as_all_at_once(text):
    whole = "\r\n".join(text.splitlines()) + "\r\n"
    for _ in range(3):  # new, come again, and kept
        assert mime._part("plain", text).partition(b"\r\n\r\n")[2] == b2a_qp(whole.encode(), istext=True)


def test_a_line_that_comes_again_is_written_as_before_and_a_link_is_not_kept(message):
    sent = message(text="A line with an = and Ü \nhttps://verify.example.com/t0k3n\n")
    assert len({composed(sent) for _ in range(3)}) == 1
    assert "A line with an = and Ü " in mime._kept
    assert not any("t0k3n" in line for line in mime._kept)


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


def test_a_key_that_cannot_stand_in_a_message_id_is_a_bug_and_not_shown(message, subtests):
    for key in ["", "a@b", "a>\r\nBcc: x", "ä", "a b", "k" * 201]:
        with subtests.test(key=key):
            with pytest.raises(ValueError, match="key may have only letters") as caught:
                composed(message(key=key))
            assert not key or key not in str(caught.value)


def test_a_display_name_in_any_script_comes_through(message):
    mail = parsed(message(), sender=From.read('"Bank, Ünited" <verify@bücher.example>'))

    assert mail["From"].addresses[0].display_name == "Bank, Ünited"
    assert mail["From"].addresses[0].addr_spec == "verify@xn--bcher-kva.example"


def test_a_lone_surrogate_does_not_stop_a_message(message):
    assert parsed(message(text="a\ud800b", subject="a\ud800b", html=""))["Subject"] == "ab"
