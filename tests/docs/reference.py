"""Writes what pages say of other files: the help of each command into `reference/commands.md`, and the titles of all
decisions into `decisions/README.md`: `python -m tests.docs.reference`."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from onboarding_worker.cli.registry import main_group

DOCS = Path(__file__).parents[2] / "docs"
# The rest of the page: nothing comes after it.
START = "<!-- made by `python -m tests.docs.reference` -->\n"
WIDTH = 80  # whatever the terminal has


def commands() -> str:
    """A heading and the help of each command, without the options that all have: those of `onboard` itself."""
    settings = main_group.context_settings | {"terminal_width": WIDTH}
    parts = _helps(main_group, click.Context(main_group, info_name="onboard", **settings))
    return "\n".join(f"## {path}\n\n```text\n{text}\n```\n" for path, text in parts)


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, _own(command).get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _helps(below, click.Context(below, parent=context, info_name=name))


def _own(command: click.Command) -> click.Command:
    if command is main_group:
        return command
    shown = copy.copy(command)
    of_all = {one.name for one in main_group.params}
    shown.params = [one for one in command.params if one.name not in of_all]
    shown.add_help_option = False
    return shown


def decisions() -> str:
    """A link to each, with its title."""
    pages = sorted((DOCS / "decisions").glob("0*.md"))
    titles = {page.name: page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for page in pages}
    return "".join(f"- [{title}]({name})\n" for name, title in titles.items())


MADE: dict[str, Callable[[], str]] = {"reference/commands.md": commands, "decisions/README.md": decisions}


def whole(page: str) -> str:
    """The page as it is above the mark, and below as it must be."""
    return f"{(DOCS / page).read_text(encoding='utf-8').partition(START)[0]}{START}\n{MADE[page]()}"


if __name__ == "__main__":
    for page in MADE:
        (DOCS / page).write_text(whole(page), encoding="utf-8")
