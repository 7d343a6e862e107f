"""Help texts, messages and pages use the words of docs/reference/glossary.md, and none of the words that the worker had
before.

A word is in BANNED if it has no honest use in these texts. Comments, docstrings and names are not checked.
"""

import ast
import re
from collections.abc import Iterator
from typing import TypeGuard

import click

from tests.suite.packages import CODE, ROOT
from worker.cli.registry import main_group

BANNED = {
    "bell": "wake-up",
    "bells": "wake-ups",
    "rung": "woken",
    "shift": "dispatcher",
    "shifts": "dispatchers",
    "told to wait": "rate-limited",
    "told": "a verb that names the action: sent, published, reported",
    "untold": "unpublished",
    "teller": "publisher",
    "news": "update",
    "heard": "known, applied or consumed",
    "nobody": "the noun: no worker, no customer; unmatched (a webhook)",
    "somebody": "the noun: an operator, a person",
    "anybody": "the noun: any caller, any person",
    "whoever": "the noun: the worker, the caller, the operator",
    "which they were": "a sentence with a subject",
    "found out": "detected",
    "worked off": "processed",
    "taken in": "stored",
    "in doubt": "with an unknown outcome",
    "look up what": "reconcile",
    "lot of rows": "chunk of rows",
    "lots of rows": "chunks of rows",
    "is away": "cannot be reached",
    "stayed away": "stayed unreachable",
    "beside": "next to, in parallel, or in the same transaction",
    "standing batch": "daily batch",
    "stand-in": "placeholder",
    "fate": "status",
}
# Longer phrases first, so that "told to wait" is found and not "told". nobody@example.com is an address.
PHRASES = "|".join(sorted((phrase.replace(" ", r"\s+") for phrase in BANNED), key=len, reverse=True))
PATTERN = re.compile(rf"\b({PHRASES})\b(?!@)", re.IGNORECASE)


def found(text: str) -> Iterator[tuple[int, str]]:
    """Line and phrase of each banned phrase in the text, from line 1 on."""
    for match in PATTERN.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match[1].lower().split())


def complaint(name: str, line: int, phrase: str) -> str:
    return f"{name}:{line}: '{phrase}': write {BANNED[phrase]}"


def wrong_in_text(name: str, text: str) -> list[str]:
    return [complaint(name, line, phrase) for line, phrase in found(text)]


def wrong_in_code(name: str, source: str) -> list[str]:
    """A complaint for each banned phrase in a string literal with a space that is not a docstring.

    Messages reach the log and the terminal in many ways (`log.warning`, `click.echo`, an exception, a helper, a
    constant), so every such literal is checked. A literal without a space may be a key or a value.
    """
    tree, lines, complaints = ast.parse(source), source.splitlines(), []
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if has_docstring(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        for _, phrase in found(node.value) if " " in node.value.strip() else ():
            # Of a literal over several lines, the line with the phrase's first word.
            word = phrase.partition(" ")[0]
            here = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            line = next((number for number in here if word in lines[number - 1].lower()), node.lineno)
            complaints.append((line, phrase))
    return [complaint(name, line, phrase) for line, phrase in sorted(complaints)]


def has_docstring(node: ast.AST) -> TypeGuard[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The command line and the help of the command and of all its subcommands."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, click.Context(below, parent=context, info_name=name))


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_help_of_every_command_has_plain_words():
    texts = dict(commands(main_group, click.Context(main_group, info_name="onboard")))
    assert {"onboard", "onboard run", "onboard events dead list"} <= texts.keys()
    wrong = [one for name, text in texts.items() for one in wrong_in_text(f"{name} --help", text)]
    assert not wrong, "\n".join(wrong)


def test_every_message_in_the_code_has_plain_words():
    sources = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in CODE}

    assert "worker/cli/__init__.py" in sources
    wrong = [one for name, source in sources.items() for one in wrong_in_code(name, source)]
    assert not wrong, "\n".join(wrong)


def test_every_page_has_plain_words():
    texts = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
    wrong = [one for name, text in texts.items() for one in wrong_in_text(name, text)]
    assert not wrong, "\n".join(wrong)


# The checks find a word that comes back.

SAMPLE = '''"""A docstring with a bell."""
import logging

log = logging.getLogger("bell")


def work(name, error):
    """Nobody reads this one."""
    log.warning("the broker is away (%s): bells are lost", error)  # a comment with a bell
    log.info(
        "a long message that goes over two lines, and the account"
        f" {name} was told to wait"
    )
    raise ValueError(f"{name}: nobody knows")
'''


def test_a_word_that_comes_back_in_a_message_is_found_with_its_line_and_its_replacement():
    assert wrong_in_code("worker/sample.py", SAMPLE) == [
        "worker/sample.py:9: 'bells': write wake-ups",
        "worker/sample.py:9: 'is away': write cannot be reached",
        "worker/sample.py:12: 'told to wait': write rate-limited",
        "worker/sample.py:14: 'nobody': write the noun: no worker, no customer; unmatched (a webhook)",
    ]


def test_a_word_that_comes_back_on_a_page_is_found_even_over_two_lines():
    page = "# A page\n\nThe account was told to\nwait. Write to nobody@example.com.\n"

    assert wrong_in_text("page.md", page) == ["page.md:3: 'told to wait': write rate-limited"]


def test_a_word_that_comes_back_in_a_help_text_is_found():
    sample = click.Command("sample", help="Ring the bells.")

    ((name, text),) = commands(sample, click.Context(sample, info_name="onboard sample"))

    assert wrong_in_text(f"{name} --help", text) == ["onboard sample --help:3: 'bells': write wake-ups"]


def test_each_banned_phrase_is_found_in_a_sentence():
    assert [
        (phrase, got)
        for phrase in BANNED
        if (got := wrong_in_text("page", f"Here {phrase} stands.")) != [f"page:1: '{phrase}': write {BANNED[phrase]}"]
    ] == []
