"""The commands that a page of docs/ tells its reader to type."""

import re
from pathlib import Path


def commands(page: Path, about: str) -> list[str]:
    """Each whole command that has these words, in a block or in the text."""
    text = page.read_text(encoding="utf-8")
    found = (block or inline for block, inline in re.findall(r"^    (\S.*)$|`([^`]+)`", text, re.MULTILINE))
    return [re.sub(r"\s+", " ", one.partition(" #")[0]).strip() for one in found if about in one]


def first_block(page: Path) -> list[str]:
    """The page's first commands, which its reader types one after the other."""
    block = re.search(r"(?:^    .*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [] if block is None else [line.strip() for line in block[0].splitlines()]
