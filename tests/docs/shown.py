"""The commands that the pages of Start, How-to and Features show, in the order of a page."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.deploy.compose_file import ROOT

DOCS = ROOT / "docs"
PARTS = ("start", "how-to", "features")
PAGES = sorted(str(page.relative_to(DOCS)) for part in PARTS for page in (DOCS / part).glob("*.md"))
DATA = {"csv", "json", "toml", "jinja", "python", "markdown"}  # what a block holds that is no command
# What a line of a block begins with, if it is a command. A page that shows another program needs it here.
PROGRAMS = (
    "aws",
    "celery",
    "cp",
    "createdb",
    "docker",
    "export",
    "kubectl",
    "make",
    "mkdir",
    "pg_dump",
    "pg_restore",
    "pip",
    "pipx",
    "python",
    "python3.11",
    "sha256sum",
    "sqlite3",
    "systemctl",
    "umask",
    "useradd",
    "vault",
)
COMMAND = re.compile(rf"^(?:\$ )?(?:\S*/)?(onboard|{'|'.join(map(re.escape, PROGRAMS))}) (.*)$")


@dataclass(frozen=True)
class Shown:
    """A command of a page. `block`: it stands in a block of code, not in a sentence."""

    program: str
    words: tuple[str, ...]
    block: bool

    def __str__(self) -> str:
        return shlex.join((self.program, *self.words))


def text_of(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def commands_of(page: str) -> Iterator[Shown]:
    """Each command once, from top to bottom."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for text, block in _code(text_of(page).replace("\\\n", " ")):  # a line may go on in the next one
        for part in text.split(" && "):
            found = COMMAND.match(part)
            if found is None:
                continue
            # What is in brackets may be left out.
            words = shlex.split(re.sub(r"\[[^\]]*\]", "", found[2]), comments=True)
            command = Shown(found[1], tuple(words), block)
            if (found[1], command.words) not in seen:
                seen.add((found[1], command.words))
                yield command


def _code(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of blocks, and what sentences show in backticks; and whether it is of a block."""
    fence: str | None = None
    indented, above = False, ""
    sentence = ""
    for line in [*text.splitlines(), ""]:
        mark = re.match(r" *```(\w*)$", line)
        if mark:
            fence = mark[1] if fence is None else None
        elif fence is not None:
            if fence not in DATA:
                yield line.strip(), True
        elif re.match(r" {4,}\S", line) and (indented or not above.strip()):
            indented = True
            yield line.strip(), True
        else:
            indented = indented and not line.strip()
            # A line break may stand inside of backticks.
            sentence = f"{sentence} {line.strip()}" if line.strip() else ""
            spans = re.findall(r"`(onboard [^`]+)`", sentence)
            for span in spans:
                yield span, False
            if sentence.count("`") % 2 == 0:
                sentence = ""
        above = line
