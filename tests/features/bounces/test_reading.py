"""Reports are taken from a mailbox exactly once, whatever dies; other mails stay."""

import errno
import os
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Webhook
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.features.bounces import mailbox, reader
from onboarding_worker.features.bounces.mailbox import CannotRead, Imap, Maildir
from onboarding_worker.features.bounces.reader import BounceReader
from onboarding_worker.features.bounces.return_path import ReturnPath
from onboarding_worker.settings import deadline
from onboarding_worker.settings.addresses import MailServer
from onboarding_worker.web.webhooks.store.webhooks import Webhooks
from tests.features.bounces.bounced import report
from tests.features.bounces.imap_server import Mailbox, serving

ANSWER = b"From: ona@example.com\r\nTo: bounces@bounce.example.com\r\n\r\nWho are you?"


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


class Reads:
    """Reads a mailbox into a database."""

    def __init__(self, database: Database, keyring: Keyring, clock: Callable) -> None:
        self.database, self.keyring, self.clock = database, keyring, clock
        pattern = "bounces+{token}@bounce.example.com"
        self.return_path = ReturnPath(pattern, keyring)
        self.webhooks = Webhooks(database, keyring, {})

    def report(self, number: int = 1, **changed: str) -> bytes:
        return report(self.return_path.of(uuid.UUID(int=number).hex), **changed)

    def reader(self, open_mailbox: Callable) -> BounceReader:
        return BounceReader(open_mailbox, self.return_path, self.webhooks, self.keyring, self.clock)

    @property
    def stored(self) -> list[tuple[str, str]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.select(Webhook.source, Webhook.event))]


@pytest.fixture
def reads(database: Database, keyring: Keyring, clock: Callable) -> Reads:
    return Reads(database, keyring, clock)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    return tmp_path / "mail"


def deliver(maildir: Path, *mails: bytes) -> None:
    """Each under its number, from 1."""
    for number, mail in enumerate(mails, start=1):
        (maildir / "new" / str(number)).write_bytes(mail)


def test_a_maildir_gives_its_reports_and_keeps_the_mails_of_people(reads: Reads, maildir: Path):
    for name, mail in {"1.a": reads.report(1), "2.b": ANSWER, "3.c": reads.report(2, action="delayed")}.items():
        (maildir / "new" / name).write_bytes(mail)
    (maildir / "new" / "4.link").symlink_to("/etc/passwd")
    (maildir / "new" / "5.folder").mkdir()

    read = reads.reader(lambda: Maildir(maildir)).read()

    assert read.reports == {"bounced": 1, "delayed": 1}
    assert read.left == {"it has no report of a delivery": 1}
    assert sorted(path.name for path in (maildir / "new").iterdir()) == ["4.link", "5.folder"]
    assert [path.name for path in (maildir / "cur").iterdir()] == ["2.b:2,S"]
    assert sorted(reads.stored) == [("sender/email", "bounced"), ("sender/email", "delayed")]
    assert reads.reader(lambda: Maildir(maildir)).read().reports == {}


def test_what_is_no_mail_keeps_no_mail_behind_it_from_being_read(reads: Reads, maildir: Path):
    for number in range(3):
        (maildir / "new" / f"1.{number}").symlink_to("/etc/passwd")
    (maildir / "new" / "2.mail").write_bytes(reads.report())
    assert [mail.id for mail in Maildir(maildir).unread(most=1)] == ["2.mail"]


def refuse(monkeypatch, names: set[str], error: int = errno.EACCES) -> None:
    """Let the files of these names not be opened."""
    opens = os.open

    def refuses(path, *given, **options):
        if Path(path).name in names:
            raise OSError(error, os.strerror(error))
        return opens(path, *given, **options)

    monkeypatch.setattr(os, "open", refuses)


def test_a_mail_that_this_user_may_not_read_stops_no_other(reads: Reads, maildir: Path, monkeypatch):
    deliver(maildir, reads.report(1), reads.report(2), reads.report(3))
    refuse(monkeypatch, {"2"})
    reader = reads.reader(lambda: Maildir(maildir))

    first, again = reader.read(), reader.read()

    assert first.reports == {"bounced": 2}
    assert first.left == again.left == {"it cannot be read: Permission denied": 1}
    assert [path.name for path in (maildir / "new").iterdir()] == ["2"]
    assert [mail.id for mail in Maildir(maildir).unread(most=1)] == ["2"]
    monkeypatch.undo()
    assert reader.read().reports == {"bounced": 1}


def test_mails_that_cannot_be_read_hide_none_behind_them(reads: Reads, maildir: Path, monkeypatch):
    deliver(maildir, *[reads.report()] * 4)
    refuse(monkeypatch, {"1", "2"})
    assert [mail.id for mail in Maildir(maildir).unread(most=1)] == ["1", "2", "3"]


def test_what_was_read_before_an_error_is_stored(reads: Reads, maildir: Path, monkeypatch):
    deliver(maildir, reads.report(1), reads.report(2))
    refuse(monkeypatch, {"2"}, errno.EMFILE)
    with pytest.raises(CannotRead, match="the Maildir cannot be read: Too many open files"):
        reads.reader(lambda: Maildir(maildir)).read()
    assert len(reads.stored) == 1
    assert [path.name for path in (maildir / "new").iterdir()] == ["2"]


def test_a_mail_that_cannot_be_removed_keeps_no_other_in_the_maildir(reads: Reads, maildir: Path, monkeypatch):
    deliver(maildir, reads.report(1), reads.report(2))
    unlink = Path.unlink

    def refuses(path, *given):
        if path.name == "1":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, *given)

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(CannotRead, match="the Maildir cannot be changed: Operation not permitted"):
        reads.reader(lambda: Maildir(maildir)).read()
    assert len(reads.stored) == 2
    assert [path.name for path in (maildir / "new").iterdir()] == ["1"]


def test_a_process_that_dies_after_the_commit_takes_the_report_once(reads: Reads, maildir: Path):
    deliver(maildir, reads.report())

    class Dies(Maildir):
        def remove(self, ids):
            raise SystemExit

    with pytest.raises(SystemExit):
        reads.reader(lambda: Dies(maildir)).read()
    assert (maildir / "new" / "1").exists()
    read = reads.reader(lambda: Maildir(maildir)).read()
    assert (read.reports, read.again) == ({}, 1)
    assert len(reads.stored) == 1
    assert not (maildir / "new" / "1").exists()


def test_a_process_that_dies_before_the_commit_leaves_the_report(reads: Reads, maildir: Path, monkeypatch):
    deliver(maildir, reads.report())
    broken = reads.reader(lambda: Maildir(maildir))
    reads.database.close()
    monkeypatch.setattr(reads.webhooks, "keep", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        broken.read()
    assert (maildir / "new" / "1").exists()


def test_two_reports_with_the_same_words_about_two_mails_are_two(reads: Reads, maildir: Path):
    deliver(maildir, reads.report(1), reads.report(2))
    assert reads.reader(lambda: Maildir(maildir)).read().reports == {"bounced": 2}


WORD = "p%C3%A4%20ss"


def imap(port: int, *, secret: str = WORD, scheme: str = "imap", context: ssl.SSLContext | None = None):
    server = MailServer.imap(f"{scheme}://bounces:{secret}@127.0.0.1:{port}/Returned%20mail")
    return lambda: Imap(server, context)


def test_an_imap_mailbox_gives_its_reports_and_marks_other_mails_as_read(reads: Reads):
    box = Mailbox(reads.report(1), ANSWER, reads.report(2) + b"x" * 1_000_000)
    with serving(box) as port:
        read = reads.reader(imap(port)).read()
        again = reads.reader(imap(port)).read()
    assert read.reports == {"bounced": 2}
    assert list(box.mails) == [2]
    assert box.flags[2] == {"\\Seen"}
    assert again.reports == {}
    assert 'SELECT "Returned mail"' in box.commands


def test_a_mail_that_the_server_does_not_give_stops_no_other(reads: Reads):
    box = Mailbox(*(reads.report(number) for number in (1, 2, 3, 4)))
    box.refused, box.empty = {1}, {2}
    with serving(box) as port:
        reader = reads.reader(imap(port))
        first, again = reader.read(), reader.read()
    assert first.reports == {"bounced": 2}
    left = {"the server refuses to give it": 1, "the server gives no content of it": 1}
    assert first.left == again.left == left
    assert box.unread == [1, 2]


def test_mails_without_content_hide_none_behind_them(reads: Reads):
    box = Mailbox(*(reads.report(number) for number in (1, 2, 3, 4)))
    box.refused, box.empty = {1}, {2}
    with serving(box) as port, closing(imap(port)()) as mailbox:
        assert [mail.id for mail in mailbox.unread(most=1)] == ["1", "2", "3"]


@pytest.mark.parametrize("step", ["FETCH 2", "STORE", "EXPUNGE", "SEARCH", "SELECT"])
def test_a_connection_that_breaks_anywhere_loses_no_report_and_takes_none_twice(reads: Reads, step: str):
    box = Mailbox(reads.report(1), reads.report(2))
    box.faults.add(step)
    with serving(box) as port:
        with pytest.raises(CannotRead) as caught:
            reads.reader(imap(port)).read()
        reads.reader(imap(port)).read()
    assert "ss" not in str(caught.value).split(":")[0]
    assert len(reads.stored) == 2
    assert box.unread == []


def timed_out():
    return pytest.raises(CannotRead, match="timed out")


STEPS = ["GREETING", "AUTHENTICATE", "SEARCH", "FETCH 2", "STORE", "LOGOUT"]


def late_once_it_drips(monkeypatch: pytest.MonkeyPatch, box: Mailbox) -> None:
    """The session's time is over as soon as the server drips."""
    over = mailbox.ALL_SECONDS
    monkeypatch.setattr(deadline, "monotonic", lambda: monotonic() + (0.0 if box.drips else over))


@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_drips_holds_the_reader_for_the_sessions_time_and_no_report_is_lost(
    reads: Reads, step: str, monkeypatch
):
    box = Mailbox(reads.report(1), reads.report(2))
    box.drips.add(step)
    with serving(box) as port:
        with monkeypatch.context() as short, nullcontext() if step == "LOGOUT" else timed_out():
            late_once_it_drips(short, box)
            reads.reader(imap(port)).read()
        assert box.drips == set()
        reads.reader(imap(port)).read()
    assert len(reads.stored) == 2
    assert box.unread == []


def test_what_was_read_is_removed_before_a_server_drips(reads: Reads, monkeypatch):
    monkeypatch.setattr(reader, "CHUNK_SECONDS", 0.0)
    box = Mailbox(*(reads.report(number) for number in (1, 2, 3)))
    box.drips.add("FETCH 3")
    with serving(box) as port:
        with monkeypatch.context() as short, timed_out():
            late_once_it_drips(short, box)
            reads.reader(imap(port)).read()
        assert list(box.mails) == [3]
        read = reads.reader(imap(port)).read()
    assert (read.reports, read.again) == ({"bounced": 1}, 0)


def test_looks_at_a_slow_server_take_all_mails_and_each_once(reads: Reads, monkeypatch):
    monkeypatch.setattr(mailbox, "READING_SECONDS", 0.3)
    box = Mailbox(*(reads.report(number) for number in range(1, 6)))
    box.slow = 0.2
    looks = []
    with serving(box) as port:
        while box.mails and len(looks) < 50:  # a look that a busy machine begins late reads none
            looks.append(reads.reader(imap(port)).read())
    assert looks[0].reports != {"bounced": 5}
    assert sum(look.reports.get("bounced", 0) for look in looks) == 5
    assert {look.again for look in looks} == {0}
    assert box.mails == {}


@pytest.mark.parametrize("what", ["announces a mail without an end", "says other things without an end"])
def test_a_server_that_sends_too_much_fills_no_memory(reads: Reads, what: str):
    box = Mailbox(reads.report())
    if what.startswith("announces"):
        box.announced = 10**12
    else:
        box.chatter = [b"* 1 EXISTS " + b"a" * 900_000] * 75
    with serving(box) as port, pytest.raises(CannotRead, match="the server sends more than 64 MB as one answer"):
        reads.reader(imap(port)).read()
    assert reads.stored == []


def test_a_refused_log_in_says_which_key_to_correct_and_not_the_servers_words(reads: Reads):
    with serving(Mailbox()) as port, pytest.raises(CannotRead) as caught:
        reads.reader(imap(port, secret="wrong")).read()
    assert "bounces.url" in str(caught.value)
    assert "not allowed in" not in str(caught.value)


def test_the_servers_certificate_is_checked(reads: Reads):
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    box = Mailbox(reads.report())
    with serving(box, ours) as port:
        with pytest.raises(CannotRead, match="certificate"):
            reads.reader(imap(port, scheme="imaps", context=theirs)).read()
        assert "AUTHENTICATE" not in box.commands
        authority.configure_trust(theirs)
        assert reads.reader(imap(port, scheme="imaps", context=theirs)).read().reports == {"bounced": 1}


def test_a_server_that_is_not_there_is_named(reads: Reads):
    with serving(Mailbox()) as port:
        pass
    with pytest.raises(CannotRead, match=f"127.0.0.1:{port}: cannot be reached"):
        reads.reader(imap(port)).read()
