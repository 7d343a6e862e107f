"""`onboard template send`: a row's message to an address of one's own, which changes nothing but the audit log."""

import contextlib
import sqlite3
from typing import Any

import pytest

from onboarding_worker.wiring.message_tests import LINK
from tests.cli.lists.test_brands import BRANDS
from tests.desk.desk import DATABASE, Desk, Played

LIST = (
    "customer_id,email,locale,brand\n"
    "c-1,one@example.com,de,nova\n"
    "c-2,two@example.com,,nowhere\n"
    "c-3,three@example.com,,\n"
)
ME = "me@example.org"


def stored(desk: Desk) -> dict[str, Any]:
    """All that is stored, but for the audit log."""
    with contextlib.closing(sqlite3.connect(desk.path / DATABASE)) as database:
        tables = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        ]
        read = {name: f'SELECT * FROM "{name}"' for name in tables if not name.startswith("audit")}  # noqa: S608
        return {name: database.execute(statement).fetchall() for name, statement in read.items()}


def test_a_test_arrives_in_the_rows_brand_and_language_and_changes_nothing(desk: Desk, played: Played):
    desk.add(BRANDS)
    rows = desk.write("list.csv", LIST)
    assert desk.onboard("run", rows).code == 1
    mails, calls, before = len(played.sandbox.mailbox), len(played.calls()), stored(desk)

    ended = desk.onboard("template", "send", "--to", ME, "--row", "2", rows, "--json")

    assert (ended.code, ended.err) == (0, "")
    assert (ended.facts["channel"], ended.facts["brand"], ended.facts["language"]) == ("email", "nova", "de")
    (mail,) = [mail.facts() for mail in list(played.sandbox.mailbox)[mails:]]
    assert mail["to"] == [ME]
    assert mail["headers"]["From"] == "Nova <hello@nova.example>"
    assert mail["headers"]["X-Onboard-Test"] == "yes"
    assert mail["subject"].startswith("[TEST] Nova: ")
    for part in (mail["text"], mail["html"]):
        assert "This is a test message." in part
        assert LINK in part
        assert "127.0.0.1" not in part  # no link of a session
    assert mail["html"].index("This is a test message.") > mail["html"].index("<body")
    assert len(played.calls()) == calls
    assert stored(desk) == before
    entry = desk.audited("template send")[-1]
    assert (entry["subject"], entry["reason"]) == ("test message", "row 2 of a list, by email")
    assert ME not in str(desk.audited())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", ME, "--row", "9", "list.csv"], "there is no row 9"),
        (["--to", ME, "--row", "3", "list.csv"], "row 3 would be rejected: brand"),
        (["--to", "me@", "--row", "2", "list.csv"], "the address is not good"),
        (["--to", "a@example.com, b@example.com"], "the address is not good"),
        (["--to", "a@example.com\nBcc: b@example.com"], "the address is not good"),
        (["--to", "12345"], "the address is not good"),
        (["--to", "blocked@example.com"], "suppressed"),
        (["--to", ME, "--brand", "nowhere"], "there is no brand"),
    ],
)
def test_what_cannot_be_sent_says_why_and_is_not_noted(desk: Desk, played: Played, arguments: list[str], said: str):
    desk.add(BRANDS)
    desk.write("list.csv", LIST)
    assert desk.onboard("suppress", "blocked@example.com").code == 0
    mails = len(played.sandbox.mailbox)

    ended = desk.onboard("template", "send", *arguments)

    assert (ended.code in (1, 2), ended.out) == (True, "")
    assert said in ended.err
    assert len(played.sandbox.mailbox) == mails
    assert desk.audited("template send") == []


def test_a_text_is_marked_and_without_its_sender_none_is_sent(desk: Desk, played: Played):
    ended = desk.onboard("template", "send", "--to", "+37060012345")
    assert (ended.code, ended.err) == (0, "")
    (text,) = played.sandbox.texts
    assert text.body.startswith("TEST: ")
    assert LINK in text.body

    text_of = desk.config.read_text("utf-8")
    start = text_of.index("[sms]")
    end = text_of.find("\n[", start)
    desk.config.write_text(text_of[:start] + (text_of[end:] if end != -1 else ""), "utf-8")
    refused = desk.onboard("template", "send", "--to", "+37060012345")
    assert refused.code == 1
    assert "no sender is configured for sms" in refused.err


def test_none_goes_by_whatsapp_and_no_text_in_its_place(desk: Desk, played: Played):
    folder = desk.config.parent / "words" / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "whatsapp.txt").write_text("content: HX0123456789abcdef0123456789abcdef\n1: {{ link_path }}\n", "utf-8")
    desk.add('[whatsapp]\nfrom = "+15005550006"\n[invitations]\ntemplates = "words/"\n')
    row = desk.write("list.csv", "customer_id,phone,channel\nc-1,+37060012345,whatsapp\n")

    refused = desk.onboard("template", "send", "--to", "+37060012346", "--row", "2", row)

    assert (refused.code, len(played.sandbox.texts)) == (1, 0)
    assert "template preview --channel whatsapp" in refused.err
    shown = desk.onboard("template", "preview", "--row", "2", row, "--channel", "whatsapp")
    assert "HX0123456789abcdef0123456789abcdef" in shown.out
