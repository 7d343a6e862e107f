"""The commands as a whole: each is there under its name, and what none of them needs yet is not waited for."""

import subprocess
import sys

import click
import pytest

from worker.cli.invocation import global_options
from worker.cli.registry import COMMANDS, main_group

HEAVY = {"aiohttp", "alembic", "celery", "cryptography", "kombu", "pydantic", "redis", "rich", "sqlalchemy"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there_with_a_line_of_help_and_the_options_of_all(name: str):
    context = click.Context(main_group)
    command = main_group.get_command(context, name)

    assert command is not None
    assert (command.name, command.short_help) == (name, COMMANDS[name][1])
    assert command.help
    assert main_group.get_command(context, name) is command
    names = [parameter.name for parameter in command.params]
    assert [names.count(option.name) for option in global_options()] == [1, 1, 1]


def test_a_command_that_there_is_not_is_refused_and_like_ones_are_named(desk):
    ended = desk.onboard("chek", "customers.csv")

    assert ended.code == 2
    assert "No such command 'chek'" in ended.err


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [("--help", HEAVY), ("completion bash", HEAVY), ("sandbox --help", {"alembic", "celery", "kombu", "sqlalchemy"})],
)
def test_what_a_command_does_not_need_is_not_loaded(words: str, unneeded: set[str]):
    call = f"import sys; sys.argv[1:] = {words.split()}\ntry:\n  from worker.cli import main; main()\n"
    call += f"finally:\n  print(sorted({unneeded} & set(sys.modules)), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "[]\n")
