"""The section `[bounces]`: a mailbox and return paths need each other, and what a mail then carries."""

from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.features.bounces.return_path import WAY_BACK
from tests.settings.samples import loaded, problems, tree

PATHS = {"return_path": "bounces+{token}@bounce.example.com"}
MAILBOX = {"url": "maildir:///var/mail/bounces"}


def test_what_lacks_its_other_half_does_not_start(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (MAILBOX, "bounces.url: needs `return_path`"),
        ({"unsubscribe": True}, "bounces.unsubscribe: needs `return_path`"),
        (PATHS | {"unsubscribe": True}, "bounces.unsubscribe: needs `return_path`, and `url`"),
    ]
    for bounces, said in cases:
        with subtests.test(bounces=bounces):
            (line,) = problems(tmp_path, tree(bounces=bounces))
            assert line.startswith(said)
    assert problems(tmp_path, tree(bounces={**PATHS, **MAILBOX, "unsubscribe": True})) == []


def test_return_paths_without_mails_do_not_start(tmp_path: Path) -> None:
    configuration = tree(bounces=PATHS | MAILBOX)
    del configuration["email"]
    (line,) = problems(tmp_path, configuration)
    assert line.startswith("bounces.return_path: needs the section [email]")


def test_return_paths_that_no_process_reads_are_warned_of(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, tree(bounces=PATHS)).warnings
    assert warning.startswith("bounces.return_path: ")
    assert loaded(tmp_path, tree(bounces=PATHS | MAILBOX)).warnings == ()


def test_a_far_mailbox_has_tls(tmp_path: Path) -> None:
    configuration = tree(bounces=PATHS | {"url": {"env": "BOUNCES"}})
    (line,) = problems(tmp_path, configuration, BOUNCES="imap://u:p@mail.internal/INBOX")
    assert "is accepted for this machine (127.0.0.1, ::1, localhost) only" in line
    assert problems(tmp_path, configuration, BOUNCES="imaps://u:p@mail.internal/INBOX") == []


def test_a_mail_says_how_to_ask_for_no_more_if_that_is_wanted(tmp_path: Path, keyring: Keyring) -> None:
    key = "0197f3a05c1d7e30b4a3d0c4a1b2c3d4"
    for more, lines in (({"unsubscribe": True}, 1), ({}, 0)):
        returning = WAY_BACK.mails(loaded(tmp_path, tree(bounces={**PATHS, **MAILBOX, **more})), keyring)
        mail = returning(key)
        asked = f"List-Unsubscribe: <mailto:{mail.address}?subject=unsubscribe>"
        assert mail.headers == (asked,) * lines
        assert mail.address.startswith("bounces+")
    assert WAY_BACK.mails(loaded(tmp_path, tree()), keyring) is None
