"""Every `onboard` command that a page shows exists, with the options that the page gives it."""

import re
import shlex
from collections.abc import Iterator

import click

from onboarding_worker.cli.registry import main_group
from tests.deploy.compose_file import ROOT
from tests.suite.of_features import is_missing

PAGES = [ROOT / "README.md", ROOT / "PACKAGE.md", *sorted((ROOT / "docs").rglob("*.md"))]
# At the begin of a line of code, after a prompt or a path, or in backticks.
TYPED = re.compile(r"(?:^ {4,}|^\$ |^|`|&& |\| )(?:\S*/)?onboard ([a-z][^\n`]*)", re.MULTILINE)


def typed(text: str) -> Iterator[str]:
    code = re.findall(r"```.*?```", text, re.DOTALL)
    inside = [line for block in code for line in block.splitlines()] + re.findall(r"^ {4}.*$", text, re.MULTILINE)
    spans = re.findall(r"`onboard [^`\n]+`", text)
    for line in [*inside, *spans]:
        for match in TYPED.finditer(line):
            yield re.split(r"\s#|\s{2,}|\s[|>;]|&&|…|\.\.\.", match[1])[0].strip()


def wrong(line: str) -> str:
    """What is wrong with the words after `onboard`; "": nothing."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if is_missing(words):
        return ""
    command: click.Command = main_group
    context = click.Context(main_group, info_name="onboard")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        names = words[0].split("|")  # keys new|rotate
        found = [command.get_command(context, name) for name in names]
        if None in found:
            # An argument, not a command: a group that also takes some.
            return "" if command is not main_group and command.invoke_without_command else f"no command {words[0]}"
        command, words = found[0], words[1:]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    given = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
    missing = [name for word in given for name in word.split("|") if name not in options]
    return f"no option {' '.join(missing)}" if missing else ""


def test_the_commands_of_the_pages_exist():
    lines = {(str(page.relative_to(ROOT)), line) for page in PAGES for line in typed(page.read_text("utf-8")) if line}

    assert lines
    assert [(page, line, said) for page, line in sorted(lines) if (said := wrong(line))] == []


def test_a_wrong_command_and_a_wrong_option_are_found():
    assert wrong("rum customers.csv") == "no command rum"
    assert wrong("resume --all --reasons x") == "no option --reasons"
