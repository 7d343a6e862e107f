"""Hooks of `make docs`: what the pages say of the code is made from the code, so that it cannot differ.

`decisions/README.md` gets the titles of all decisions, and `reference/commands.md` the help of all commands.
Here is also what the search finds first (pages that answer a user's question), and what it leaves out (pages for those
who change the code).
"""

from collections.abc import Iterator
from typing import Any

import click

DECISIONS = "decisions/"
DECISIONS_INDEX = "decisions/README.md"
COMMANDS = "reference/commands.md"
NOT_SEARCHED = (DECISIONS, "inside/")
FIRST = ("faq.md", "how-to/", "troubleshooting.md")
FOR_AUTHORS = "how-to/adding-"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs with the text of each page."""
    if found := search(page.file.src_uri):
        page.meta["search"] = found
    if page.file.src_uri == DECISIONS_INDEX:
        return f"{markdown}\n{decisions(files.src_uris)}"
    if page.file.src_uri == COMMANDS:
        return f"{markdown}\n{commands()}"
    return markdown


def search(path: str) -> dict[str, bool | int]:
    """What a page would say of itself in its front matter, as Material for MkDocs documents it."""
    if path.startswith(NOT_SEARCHED):
        return {"exclude": True}
    return {"boost": 2} if path.startswith(FIRST) and not path.startswith(FOR_AUTHORS) else {}


def decisions(files: Any) -> str:
    """A list of links. `files`: MkDocs' files by their path in docs/."""
    pages = sorted(path for path in files if path.startswith(DECISIONS) and path != DECISIONS_INDEX)
    titles = {path: files[path].content_string.partition("\n")[0].removeprefix("# ") for path in pages}
    return "\n".join(f"- [{title}]({path.removeprefix(DECISIONS)})" for path, title in titles.items())


def commands() -> str:
    """A heading and the help of each command."""
    from onboarding_worker.cli.registry import main_group

    parts = _helps(main_group, click.Context(main_group, info_name="onboard", max_content_width=100))
    return "\n".join(f"## {path}\n\n```text\n{text}\n```\n" for path, text in parts)


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _helps(below, click.Context(below, parent=context, info_name=name))
