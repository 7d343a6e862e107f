"""The commands as a whole: each is there under its name, and what none of them needs yet is not waited for."""

import subprocess
import sys

import click
import pytest

from onboarding_worker.cli.completions import Batch
from onboarding_worker.cli.invocation import Invocation, global_options, log_info
from onboarding_worker.cli.registry import COMMANDS, GROUPS, main_group
from onboarding_worker.cli.shared_options import NAMES_OF_BATCHES, print_json
from onboarding_worker.core.foundation import shipped
from tests.desk.desk import customers, own_logging
from tests.suite.of_features import ALL_HERE, needs, of_features

HEAVY = {"aiohttp", "alembic", "celery", "cryptography", "kombu", "pydantic", "redis", "rich", "sqlalchemy"}


def command_of(name: str) -> click.Command:
    command: click.Command = main_group
    for word in name.split():
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), word)
        assert below is not None
        command = below
    return command


def test_each_command_is_there_with_a_line_of_help_and_the_options_of_all(subtests: pytest.Subtests):
    for name in COMMANDS:
        with subtests.test(name=name):
            command = command_of(name)

            assert (command.name, command.short_help) == (name.split()[-1], COMMANDS[name].help)
            assert command.help
            assert command_of(name) is command
            names = [parameter.name for parameter in command.params]
            assert [names.count(option.name) for option in global_options()] == [1, 1, 1, 1]


@pytest.mark.parametrize("in_parts", [False, True])
def test_the_facts_of_a_command_are_one_line_with_their_letters_as_they_are(capsys, in_parts: bool):
    print_json({"to": "Kazlauskienė", "rows": [1, 2]}, in_parts=in_parts)
    assert capsys.readouterr().out == '{"to": "Kazlauskienė", "rows": [1, 2]}\n'


def test_the_help_of_a_command_that_takes_a_batch_names_those_of_events(desk, subtests: pytest.Subtests):
    for name in [*("cancel", "pause", "report", "resolve", "resume", "retry", "status"), *of_features("TAKES_BATCHES")]:
        with subtests.test(name=name):
            assert desk.onboard(name, "--help").out.count("events-2026-11-20") == 1


def test_the_help_shows_each_command_once_in_a_group(desk):
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    shown = {of: desk.onboard(*of.split(), "--help").out.splitlines() for of in groups}

    used = {one.group for one in COMMANDS.values()}
    assert used == set(GROUPS) if ALL_HERE else used <= set(GROUPS)  # a group may have commands of features alone
    for name, command in COMMANDS.items():
        of, _, word = name.rpartition(" ")
        (line,) = (line for line in shown[of] if line.split()[:1] == [word] and line.startswith("  "))
        assert command.help in line


def test_no_command_takes_a_batch_without_saying_so_in_its_help():
    for command in map(command_of, COMMANDS):
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            if any(isinstance(param.type, Batch) for param in one.params):
                assert one.epilog == NAMES_OF_BATCHES


def test_what_there_is_not_is_refused_and_what_was_meant_is_named(desk, monkeypatch, subtests: pytest.Subtests):
    monkeypatch.setitem(shipped.COMMANDS, "take-out", "taken_out")
    for typed, meant in [
        ("chek customers.csv", "did you mean `onboard check`?"),
        ("stauts", "did you mean `onboard status`?"),
        ("start", "did you mean `onboard up`?"),
        ("migrate", "did you mean `onboard db upgrade`?"),
        ("zzz", "`onboard --help` lists them"),
        ("take-out", "take-out: this feature is not installed"),
        ("events take-in", "events take-in: this feature is not installed"),
        ("events webhook list", "did you mean `onboard events webhooks`?"),
        ("webhook list", "did you mean `onboard events webhooks`?"),
        ("events zzz", "`onboard events --help` lists them"),
        ("run customers.csv --dry-run", "`onboard check LIST` is the dry run"),
        ("run nowhere.csv", "nowhere.csv: the file cannot be opened: No such file or directory"),
    ]:
        with subtests.test(typed=typed, meant=meant):
            monkeypatch.setitem(shipped.COMMANDS, "events take-in", "taken_in")
            ended = desk.onboard(*typed.split())

            assert ended.code == 2
            assert meant in ended.err


@pytest.mark.parametrize(("given", "level"), [(None, "info"), ("warning", "warning"), ("error", "error")])
def test_a_process_that_runs_until_it_is_ended_logs_info_unless_a_level_is_given(given: str | None, level: str):
    invocation = Invocation(log_level=given)

    with own_logging():
        log_info(invocation)

    assert invocation.log_level == level


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        ("--help", HEAVY),
        ("run --help", HEAVY | {"phonenumbers", "psycopg"}),
        ("completion bash", HEAVY),
        ("sandbox --help", {"alembic", "celery", "kombu", "sqlalchemy"}),
    ],
)
def test_what_a_command_does_not_need_is_not_loaded(words: str, unneeded: set[str]):
    call = f"import sys; sys.argv[1:] = {words.split()}\ntry:\n  from onboarding_worker.cli import main; main()\n"
    call += f"finally:\n  print(sorted({unneeded} & set(sys.modules)), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "[]\n")


SENDS = {"aiohttp", "aiosmtplib", "celery", "jinja2", "kombu", "psycopg", "redis", "uvloop", "yarl"}
WRITES = {
    "onboarding_worker.core.claim.flush",
    "onboarding_worker.core.work.store.claim_jobs",
    "onboarding_worker.events.store.inbox",
    "onboarding_worker.lists.store.added_lines",
    "onboarding_worker.web.webhooks.store.webhooks",
}


# Whatever reads addresses. Rows are never objects, so the ORM has no use at all.
READS = {"cryptography", "phonenumbers", "sqlalchemy.orm"}


# Whatever works on rows, and what only long lists and long looks need.
WORKS = {
    "multiprocessing",
    "rich.live",
    "onboarding_worker.core.claim.claims",
    "onboarding_worker.core.messages.message_context",
    "onboarding_worker.core.work.store.job_context",
}


CALLS = """
import sys
from onboarding_worker.cli import main
for words in {typed}:
    sys.argv[1:] = words.split()
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
print(sorted({unneeded} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("typed", "needed"),
    [
        (["status", "account list", "report latest"], set()),  # one process for all that may load the same
        (["report latest --out report.html"], {"jinja2"}),
        pytest.param(["customer find C-0001"], {"cryptography"}, marks=needs("service_desk")),
        (["check customers.csv"], {"cryptography", "jinja2", "phonenumbers"}),
    ],
)
def test_a_command_that_reads_a_sqlite_database_loads_nothing_that_sends_writes_or_works(
    desk, typed: list[str], needed: set[str]
):
    desk.onboard("import", desk.list_of(customers(2)))
    call = CALLS.format(typed=typed, unneeded=(SENDS | WRITES | READS | WORKS) - needed)
    ended = subprocess.run(
        [sys.executable, "-c", call], cwd=desk.path, env=desk.environ, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (0, "[]")
