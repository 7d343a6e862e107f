"""Each command that a page of Start or How-to shows, run in this process on a desk that has sent the quickstart's list.

The name of a command in a sentence (`onboard pause`, without the batch that it needs) may be one that asks for more.
What cannot be run here is in `NOT_RUN` or `OTHERS`, with the reason; such a command of ours is parsed as usual.
The blocks of the pages in `RUN_WHOLE` are run by `test_shown_commands.py`, which also looks at the mailbox.
"""

import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import click
import pytest

from onboarding_worker.cli.registry import main_group
from onboarding_worker.core.foundation.clock import system_clock
from onboarding_worker.core.foundation.features import NOT_INSTALLED
from tests.desk.desk import DATABASE, Desk, Played
from tests.docs.shown import PAGES, commands_of, text_of
from tests.docs.test_shown_commands import PAGES as RUN_WHOLE
from tests.suite.of_features import is_missing, needs_all, of_features
from tests.suite.some import some

GOES_ON = (0, 1, 3)  # done; something needs a person; rows wait
Values = dict[str, str]

# Commands of ours that do not end, or need more than a desk, by their first words.
NOT_RUN = {
    "up": "does not end; tests/runtime starts it",
    "web": "does not end; tests/cli/events/test_web.py starts it",
    "worker": "needs a broker, and does not end; tests/runtime starts it",
    "beat": "needs a broker, and does not end; tests/runtime starts it",
    "bus": "needs a broker; tests/cli/events/test_bus.py",
    "sandbox": "does not end; each of these tests has one",
    "demo": "makes a folder of its own, and starts processes; tests/sandbox",
    "status --watch": "does not end; tests/cli/batches/test_progress.py",
    "import export.csv": "needs the sessions of another tool; tests/cli/lists/test_adopt.py",
    "db copy": "needs PostgreSQL; tests/cli/installation/test_database_copy.py",
    "db grant": "needs PostgreSQL and its roles; tests/cli/installation/test_roles.py",
    **dict(of_features("NOT_RUN")),
}
# Programs that are not ours.
OTHERS = {
    "make": "commands of the checkout; tests/deploy/test_makefile.py",
    "export": "a shell's",
    "mkdir": "a shell's; its folders are made",
    "cp": "a shell's, as root",
    "useradd": "changes the machine",
    "systemctl": "changes the machine; tests/deploy/test_systemd.py reads the units",
    "docker": "starts containers; tests/deploy/test_compose_form.py reads the file",
    "celery": "Flower's own command of Celery; tests/runtime/test_monitoring.py asks what it asks",
    "pip": "installs; tests/deploy/test_wheel.py",
    "pipx": "installs; tests/deploy/test_wheel.py",
    "python3.11": "installs; tests/deploy/test_wheel.py",
    "sha256sum": "the system's",
    "umask": "a shell's",
    "sqlite3": "a program of SQLite",
    "pg_dump": "a program of PostgreSQL",
    "createdb": "a program of PostgreSQL",
    "pg_restore": "a program of PostgreSQL",
    "aws": "a service of others",
    "vault": "a service of others",
}
# What the pages write for a value of the reader's own.
VALUES = {
    "BATCH": "latest",
    "LIST": "customers.csv",
    "FILE": "customers.csv",
    "../customers.csv": "customers.csv",
    "ID": "C-1001",
    "NAME": "kyc",
    "ADDRESS": "ona@example.com",
}
# Answers to what a command asks on a terminal, and a wait that no process of this test needs.
ADDED = {"cancel": ("--yes",), **dict(of_features("ANSWERS"))}


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    played = Played()
    yield played
    played.close()


@pytest.fixture(scope="module")
def ports(played: Played) -> tuple[str, ...]:
    return ("--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port))


@pytest.fixture(scope="module")
def sent(ports: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart's first list was sent, to be copied."""
    desk = Desk(tmp_path_factory.mktemp("sent"))
    listed = re.search(r"^```csv\n(.*?)^```$", text_of("start/quickstart.md"), re.MULTILINE | re.DOTALL)
    assert listed is not None
    desk.write("customers.csv", listed[1])
    assert desk.onboard("init", "--sandbox", *ports).code == 0
    assert desk.onboard("run", "customers.csv", "--yes").code == 1  # one row is rejected
    return desk.path


@pytest.fixture
def desk(sent: Path, played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("ONBOARDING_CONFIG", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    copied = Path(shutil.copytree(sent, tmp_path / "desk"))
    return Desk(copied, {"SANDBOX": f"http://127.0.0.1:{played.sandbox.port}"})


def _journal(desk: Desk) -> Values:
    desk.add('[privacy]\njournal = "onboarding.journal"\n')
    (desk.path / "onboarding.journal").touch()
    return {}


def _from_nothing(desk: Desk) -> Values:
    """The reader has a list, and a list of one row; the configuration comes from the page."""
    for path in (desk.config, *desk.path.glob("onboarding.db*")):
        path.unlink()
    desk.write("me.csv", "customer_id,email\nME-1,me@example.com\n")
    return {}


def _no_list(desk: Desk) -> Values:
    (desk.path / "customers.csv").unlink()
    return {}


# What a page's reader has done by then, besides sending the list. Returns values of this page alone.
PREPARED: dict[str, Callable[[Desk], Values]] = {
    "how-to/backup.md": _journal,
    "how-to/going-live.md": _from_nothing,
    "start/quickstart.md": _no_list,
    **dict(of_features("PREPARED")),
}


def read(words: Sequence[str]) -> tuple[click.Command, list[str]]:
    """The command, and the words that are left for it."""
    command: click.Command = main_group
    context, left = click.Context(main_group, info_name="onboard"), list(words)
    while isinstance(command, click.Group) and left and (below := command.get_command(context, left[0])):
        command, context = below, click.Context(below, parent=context, info_name=left.pop(0))
    return command, left


def is_run(words: tuple[str, ...]) -> bool:
    return not is_missing(words) and not any(words[: len(begin.split())] == tuple(begin.split()) for begin in NOT_RUN)


def filled(words: tuple[str, ...], values: Values) -> list[str]:
    """With values of the reader's own. A time that the page names lies ahead."""
    ahead = (system_clock() + timedelta(days=3)).isoformat(timespec="minutes")
    return [ahead if re.fullmatch(r"20\d\d-\d\d-\d\dT.+", word) else values.get(word, word) for word in words]


@pytest.mark.usefixtures("pilots_looked_at_every")
@pytest.mark.parametrize("page", [page for page in PAGES if any(commands_of(page))])
def test_the_commands_of_a_page_run(page: str, desk: Desk, ports: tuple[str, ...]):
    values = VALUES | PREPARED.get(page, lambda desk: {})(desk)
    for shown in some(commands_of(page)):
        if shown.program != "onboard":
            assert OTHERS[shown.program]
            if shown.program == "mkdir":
                for folder in [word for word in shown.words if not word.startswith("-")]:
                    (desk.path / folder).mkdir(parents=True, exist_ok=True)
            continue
        words = filled(shown.words, values)
        command, left = read(words)
        if not is_run(shown.words):
            if left:
                with contextlib.chdir(desk.path):
                    command.make_context(command.name, left)  # raises at a mistake
            continue
        if shown.block and page in RUN_WHOLE:
            continue
        name = " ".join(words[:2])
        if "--first" in words:  # a new list: no batch has it yet
            (desk.path / DATABASE).unlink(missing_ok=True)
        added = ADDED.get(name, ADDED.get(words[0], ()))
        if name == "init --sandbox":
            added = (*ports, "--force")
        if words == ["init"]:  # in another folder
            desk.config.unlink()
        ended = desk.onboard(*words, *added)
        named = not shown.block and not left and ended.err.startswith("Usage:")
        gone = NOT_INSTALLED in ended.err  # such as a format of lists
        assert named or gone or ended.code in GOES_ON, (shown, ended.out, ended.err)
        if words == ["init"]:  # the reader's own accounts are the sandbox's again
            assert desk.onboard("init", "--sandbox", "--force", *ports).code == 0


@needs_all
def test_a_reason_is_given_for_no_command_that_the_pages_do_not_show():
    shown = [command for page in PAGES for command in commands_of(page)]

    assert {one.program for one in shown} - {"onboard"} == OTHERS.keys()
    assert [name for name in NOT_RUN if not any(str(one).startswith(f"onboard {name}") for one in shown)] == []
