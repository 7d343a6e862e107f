"""`onboard events bounces`: a mail goes out with a return path of its own, comes back, and its row shows it."""

from tests.desk.desk import Desk, Played, customers
from tests.features.bounces.bounced import report
from tests.features.bounces.declared import mailbox
from tests.features.bounces.test_reading import deliver


def test_a_mail_that_comes_back_makes_its_row_bounced_once(desk: Desk, played: Played):
    mailbox(desk)
    desk.onboard("run", desk.list_of(customers(3)))
    senders = [mail.sender for mail in played.sandbox.mailbox]
    assert len(set(senders)) == 3
    delayed, answer = report(senders[1], action="delayed", status="4.4.1"), b"From: ona@example.com\r\n\r\nWho are you?"
    deliver(desk.path / "mail", report(senders[0]), delayed, report(senders[0]), answer)

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
    mailbox(desk)
    desk.onboard("run", desk.list_of(customers(1)))
    (sender,) = [mail.sender for mail in played.sandbox.mailbox]
    deliver(desk.path / "mail", report(sender))
    desk.onboard("run", desk.list_of(customers(2), "second.csv"))
    desk.onboard("run", "second.csv")
    assert not list((desk.path / "mail" / "new").iterdir())


def test_without_a_mailbox_it_says_what_to_configure(desk: Desk):
    ended = desk.onboard("events", "bounces", "read")
    assert ended.code == 2
    assert "[bounces] url" in ended.err


def test_a_mailbox_that_cannot_be_read_is_one_line(desk: Desk):
    mailbox(desk)
    (desk.path / "mail" / "new").rmdir()
    ended = desk.onboard("events", "bounces", "read")
    assert ended.code == 1
    (line,) = ended.lines
    assert line.startswith("the mailbox cannot be read: the folder has no `new`: it is no Maildir")
