"""`onboard events bounces`: a mail goes out with a return path of its own, comes back, and its row shows it."""

from pathlib import Path

from tests.desk.desk import Desk, Played, customers
from tests.features.bounces.bounced import report

PATTERN = "bounces+{token}@bounce.example.com"


def with_mailbox(desk: Desk) -> Path:
    for name in ("new", "cur", "tmp"):
        (desk.path / "mail" / name).mkdir(parents=True)
    desk.add(f'[bounces]\nurl = "maildir://{desk.path}/mail"\nreturn_path = "{PATTERN}"\n')
    return desk.path / "mail"


def test_a_mail_that_comes_back_makes_its_row_bounced_once(desk: Desk, played: Played):
    mailbox = with_mailbox(desk)
    desk.onboard("run", desk.list_of(customers(3)))
    senders = [mail.sender for mail in played.sandbox.mailbox]
    assert len(set(senders)) == 3
    (mailbox / "new" / "1").write_bytes(report(senders[0]))
    (mailbox / "new" / "2").write_bytes(report(senders[1], action="delayed", status="4.4.1"))
    (mailbox / "new" / "3").write_bytes(report(senders[0]))
    (mailbox / "new" / "4").write_bytes(b"From: ona@example.com\r\n\r\nWho are you?")

    ended = desk.onboard("events", "bounces", "read")

    assert ended.code == 0
    assert "1 report: bounced" in ended.out
    assert "1 report: delayed" in ended.out
    assert "1 mail left in the mailbox: it has no report of a delivery" in ended.out
    states = [line["state"] for line in desk.onboard("report", "latest").table]
    assert sorted(states) == ["failed", "invited", "invited"]
    (line,) = [line for line in desk.onboard("report", "latest").table if line["state"] == "failed"]
    assert line["error"].startswith("bounced: ")
    assert "5.1.1" in line["error"]
    assert desk.onboard("events", "bounces", "read", "--json").facts == {"reports": {}, "again": 0, "left": {}}
    assert "sender/email" in str(desk.audited())


def test_a_run_reads_the_mailbox_too(desk: Desk, played: Played):
    mailbox = with_mailbox(desk)
    desk.onboard("run", desk.list_of(customers(1)))
    (sender,) = [mail.sender for mail in played.sandbox.mailbox]
    (mailbox / "new" / "1").write_bytes(report(sender))
    desk.onboard("run", desk.list_of(customers(2), "second.csv"))
    desk.onboard("run", "second.csv")
    assert not list((mailbox / "new").iterdir())


def test_without_a_mailbox_it_says_what_to_configure(desk: Desk):
    ended = desk.onboard("events", "bounces", "read")
    assert ended.code == 2
    assert "[bounces] url" in ended.err


def test_a_mailbox_that_cannot_be_read_is_one_line(desk: Desk):
    with_mailbox(desk)
    (desk.path / "mail" / "new").rmdir()
    ended = desk.onboard("events", "bounces", "read")
    assert ended.code == 1
    (line,) = ended.lines
    assert line.startswith("the mailbox cannot be read: the folder has no `new`: it is no Maildir")
