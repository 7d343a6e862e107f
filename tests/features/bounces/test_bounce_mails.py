"""What a mail that came back says; and hostile mails, which say nothing and harm nobody."""

import base64
import quopri
import re
import time
import uuid
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.features.bounces import bounce_mails
from onboarding_worker.features.bounces.bounce_mails import LARGEST, MOST_PARTS, read
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from tests.features.bounces.bounced import complaint, report
from tests.features.bounces.test_return_path import OURS, paths
from tests.suite.some import some

KEY = uuid.UUID(int=7).hex
TO = OURS.of(KEY)
FORGED = paths(new_key()).of(KEY)
UNKNOWN_USER = "smtp; 550 5.1.1 User unknown"


def update_in(mail: bytes) -> DeliveryUpdate:
    found = read(mail, OURS.key_in)
    assert isinstance(found, DeliveryUpdate)
    return found


def test_a_failed_delivery_is_a_bounce_and_only_a_plain_statement_ends_an_address(subtests):
    cases = [
        ({}, DeliveryStatus.BOUNCED, Stop.BOUNCED, "5.1.1"),
        ({"status": "5.1.10"}, DeliveryStatus.BOUNCED, Stop.BOUNCED, "5.1.10"),
        ({"status": "5.0.0", "diagnostic": UNKNOWN_USER}, DeliveryStatus.BOUNCED, Stop.BOUNCED, "5.1.1"),
        ({"status": "", "diagnostic": UNKNOWN_USER}, DeliveryStatus.BOUNCED, Stop.BOUNCED, "5.1.1"),
        ({"status": "", "diagnostic": "smtp; 550 no such user here"}, DeliveryStatus.BOUNCED, Stop.BOUNCED, ""),
        # Not a plain statement that the mailbox does not exist: the address stays usable.
        ({"status": "5.7.1", "diagnostic": "smtp; 550 user unknown"}, DeliveryStatus.BLOCKED, None, "5.7.1"),
        ({"status": "5.2.2", "diagnostic": "smtp; 552 mailbox full"}, DeliveryStatus.BLOCKED, None, "5.2.2"),
        ({"status": "4.4.7", "diagnostic": "delivery time expired"}, DeliveryStatus.BLOCKED, None, "4.4.7"),
        ({"status": "", "diagnostic": ""}, DeliveryStatus.BLOCKED, None, ""),
        ({"status": "5.1.1 " * 400}, DeliveryStatus.BOUNCED, Stop.BOUNCED, "5.1.1"),
    ]
    for changed, status, stop, code in cases:
        with subtests.test(changed=changed):
            update = update_in(report(TO, **changed))
            assert (update.reference, update.status, update.stop, update.code) == (KEY, status, stop, code)
            assert update.address == ""


def test_a_delay_is_no_bounce(subtests):
    cases = [
        ("delayed", "delayed", DeliveryStatus.LATER),
        ("Delayed", "delayed", DeliveryStatus.LATER),
        ("relayed", "relayed", None),
        ("expanded", "expanded", None),
        ("delivered", "delivered", DeliveryStatus.DELIVERED),
        ("failed (bounced)", "bounced", DeliveryStatus.BOUNCED),
    ]
    for action, event, status in cases:
        with subtests.test(action=action):
            update = update_in(report(TO, action=action))
            assert (update.event, update.status) == (event, status)


def test_of_several_recipients_after_a_forward_the_failed_one_counts():
    more = "\r\nFinal-Recipient: rfc822; other@example.net\r\nAction: failed\r\nStatus: 5.1.1"
    assert update_in(report(TO, action="relayed", status="2.1.5", more=more)).stop is Stop.BOUNCED


def test_a_complaint_names_its_mail_by_the_return_path_in_it():
    update = update_in(complaint("fbl@example.com", TO))
    assert (update.event, update.reference, update.stop) == ("complained", KEY, Stop.COMPLAINED)


def test_a_mail_that_asks_for_no_more_stops_the_address_of_the_mail_that_it_answers():
    for subject in ("unsubscribe", " Unsubscribe "):
        update = update_in(f"To: {TO}\r\nSubject: {subject}\r\n\r\n".encode())
        assert (update.event, update.reference, update.stop) == ("unsubscribed", KEY, Stop.STOPPED)


def encoded(mail, type_, *, how="base64"):
    """The mail with the content of this part in another form."""
    before, _, rest = mail.partition(f"Content-Type: {type_}\r\n\r\n".encode())
    content, boundary, after = rest.partition(b"\r\n--")
    made = base64.encodebytes(content) if how == "base64" else quopri.encodestring(content)
    headers = f"Content-Type: {type_}\r\nContent-Transfer-Encoding: {how}\r\n\r\n"
    return before + headers.encode() + made + boundary + after


@pytest.mark.parametrize("how", ["base64", "quoted-printable"])
def test_an_encoded_report_is_read_as_the_plain_one(how):
    for made in (report(TO), report(TO, action="delayed", status="4.4.1")):
        assert read(encoded(made, "message/delivery-status", how=how), OURS.key_in) == read(made, OURS.key_in)


def test_a_complaint_whose_returned_mail_is_encoded_names_its_mail():
    made = complaint("fbl@example.com", TO)
    for one in (encoded(made, "message/rfc822"), encoded(encoded(made, "message/feedback-report"), "message/rfc822")):
        assert read(one, OURS.key_in) == read(made, OURS.key_in)


def test_a_report_for_an_address_beyond_ascii_is_read_as_any_other():
    made = report(TO).replace(b"message/delivery-status", b"message/global-delivery-status")
    made = made.replace(b"rfc822; ona@example.com", "utf-8; õna@example.com".encode())
    assert read(made, OURS.key_in) == read(report(TO), OURS.key_in)
    assert read(encoded(made, "message/global-delivery-status"), OURS.key_in) == read(report(TO), OURS.key_in)


def in_words(text, *, to=TO, sender="MAILER-DAEMON@mx.example.net", more=""):
    return f"To: {to}\r\nFrom: {sender}\r\nSubject: failure notice\r\n{more}\r\n{text}".encode()


QMAIL = """Hi. This is the qmail-send program at mx.example.net.
This is a permanent error; I've given up. Sorry it didn't work out.

<ona@example.com>:
192.0.2.7 does not like recipient.
Remote host said: {said}
Giving up on 192.0.2.7.

--- Below this line is a copy of the message.

Subject: 550 5.1.1 no such user"""


def test_a_bounce_in_words_is_read_where_its_return_path_is_ours(subtests):
    exims = in_words("550 5.1.1 gone", sender="ona@example.com", more="X-Failed-Recipients: ona@example.com\r\n")
    said = base64.encodebytes(b"Delivery failed: mailbox not found").decode()
    encoded_words = in_words(said, more="Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n")
    cases = [
        (in_words(QMAIL.format(said="550 5.1.1 User unknown")), "bounced", DeliveryStatus.BOUNCED, Stop.BOUNCED),
        (in_words(QMAIL.format(said="550 No such user here")), "bounced", DeliveryStatus.BOUNCED, Stop.BOUNCED),
        (in_words(QMAIL.format(said="554 no")), "bounced", DeliveryStatus.BLOCKED, None),
        (in_words(QMAIL.format(said="550 5.7.1 user unknown to us")), "bounced", DeliveryStatus.BLOCKED, None),
        (in_words("Your message has been delayed. It will be retried."), "delayed", DeliveryStatus.LATER, None),
        (exims, "bounced", DeliveryStatus.BOUNCED, Stop.BOUNCED),
        (encoded_words, "bounced", DeliveryStatus.BOUNCED, Stop.BOUNCED),
    ]
    for mail, event, status, stop in cases:
        with subtests.test(mail=mail):
            update = update_in(mail)
            assert (update.event, update.reference, update.status, update.stop) == (event, KEY, status, stop)


def test_words_of_anybody_else_or_about_another_mail_are_no_bounce(subtests):
    for mail in [
        in_words("550 5.1.1 User unknown", to=FORGED),
        in_words("550 5.1.1 User unknown", to="bounces@bounce.example.com"),
        in_words("550 5.1.1 User unknown, my daughter says", sender="ona@example.com"),
        in_words("I am back on 24 November.", more="Auto-Submitted: auto-replied\r\n"),
        in_words("Hello.\n--- Below this line is a copy of the message.\n550 5.1.1 User unknown"),
    ]:
        with subtests.test(mail=mail):
            assert isinstance(read(mail, OURS.key_in), NotUnderstood)


ANSWER = f"To: {TO}\r\nFrom: ona@example.com\r\nSubject: Out of office\r\n".encode()
DEEP = b"Content-Type: multipart/mixed; BOUNDARY=x\r\n\r\n--x\r\n"
NESTED = b"Content-Type: message/rfc822\r\n\r\n"
BAD = {
    "forged": report(FORGED),
    "to our plain address": report("bounces@bounce.example.com"),
    "no action": report(TO, action="", status="5.1.1"),
    "another action": report(TO, action="burnt"),
    "an answer out of office": ANSWER + b"Auto-Submitted: auto-replied\r\n\r\nI am away",
    "forged, to unsubscribe another": f"To: {FORGED}\r\nSubject: unsubscribe\r\n\r\n".encode(),
    "about unsubscribing": f"To: {TO}\r\nSubject: how do I unsubscribe?\r\n\r\n".encode(),
    "an answer of a person": ANSWER + b"\r\nWho are you?",
    "empty": b"",
    "no mail": b"\x00\xff" * 5_000,
    "deep": ANSWER + DEEP * 2_000,
    "nested": ANSWER + NESTED * 5_000,
    "many parts": ANSWER + b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 40_000,
    "one long header": b"To: " + b"a" * (LARGEST - 10),
    "many headers": b"To: a@b\r\n" * 20_000,
    "a folded header": b"To:" + b"\r\n " * 60_000,
    "semicolons in a quote": ANSWER + b'Content-Type: multipart/report; a="' + b";" * 200_000,
    "semicolons on many lines": ANSWER + b'CONTENT-TYPE: multipart/report;\r\n a="' + b";\r\n\t" * 60_000,
    "semicolons in a part": ANSWER
    + b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n"
    + b'Content-Type: multipart/report; a="'
    + b";" * 200_000,
    "an unknown charset": ANSWER + b'Content-Type: text/plain; charset="no-such"\r\n\r\nx',
    "a broken transfer encoding": report(TO).replace(
        b"message/delivery-status\r\n", b"message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n"
    )[:700],
}


def test_a_bad_mail_is_left_for_a_person(subtests):
    for name in BAD:
        with subtests.test(name=name):
            began = time.process_time()
            found = read(BAD[name], OURS.key_in)
            assert isinstance(found, NotUnderstood)
            assert not re.search(r"ona|example|bounces\+", found.reason)
            assert time.process_time() - began < 5, "a stranger's mail must not cost seconds"


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (b"Content-Type: message/delivery-status\r\n\r\n", b"\n"),
        (b"Content-Type: message/delivery-status\r\n\r\n", b"Action: failed\n\n"),
        (b"Content-Type: multipart/report; boundary=b\r\n\r\n", b"--b\n\n"),
        (b"Content-Type: multipart/digest; boundary=b\r\n\r\n", b"--b\n\n"),
    ],
)
def test_the_parser_ends_at_the_first_part_too_many(head, line, monkeypatch):
    made: list[object] = []
    monkeypatch.setattr(bounce_mails, "Message", lambda policy: made.append(policy) or Message(policy))
    found = read(ANSWER + head + line * (LARGEST // len(line)), OURS.key_in)
    assert found == NotUnderstood("it has too many parts")
    assert len(made) <= MOST_PARTS + 1


def test_a_mail_in_other_letters_is_read_all_the_same():
    mail = report(TO, diagnostic="smtp; 550 5.1.1 пользователь не найден 用户不存在")
    mail = mail.replace(b"Subject: Undelivered", "Subject: Недоставлено ✉".encode())
    assert isinstance(read(mail, OURS.key_in), DeliveryUpdate)


def test_a_mail_that_is_cut_off_anywhere_raises_nothing():
    assert [
        cut
        for cut in range(0, len(report(TO)), 61)
        if not isinstance(read(report(TO)[:cut], OURS.key_in), DeliveryUpdate | NotUnderstood)
    ] == []


@given(st.data())
def test_a_mail_with_any_bytes_changed_raises_nothing(data):
    mail = bytearray(report(TO))
    for _ in range(data.draw(st.integers(1, 8))):
        mail[data.draw(st.integers(0, len(mail) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(mail), OURS.key_in), DeliveryUpdate | NotUnderstood)


def test_a_mail_after_its_first_quarter_of_a_megabyte_is_not_read():
    assert isinstance(read(report(TO) + b"x" * (4 * LARGEST), OURS.key_in), DeliveryUpdate)
    assert isinstance(read(b"X-Filler: a\r\n" * LARGEST + report(TO), OURS.key_in), NotUnderstood)


def test_the_naughty_strings_are_no_reports(request):
    import os

    corpora = os.environ.get("BAD_INPUT")
    if not corpora:
        pytest.skip("BAD_INPUT names no folder of bad input")
    files = list(Path(corpora, "blns").rglob("*.txt"))
    assert files
    for file in files:
        for line in some(file.read_bytes().splitlines()):
            for mail in (line, report(TO, status="", diagnostic="").replace(b"Action: failed", b"Action: " + line)):
                assert isinstance(read(mail, OURS.key_in), DeliveryUpdate | NotUnderstood)
