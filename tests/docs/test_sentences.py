"""The pages for users have short sentences: none of more than 30 words in Start, Concepts, How-to and Features."""

import re
from collections.abc import Iterator

from tests.docs.shown import DOCS, PARTS

PAGES = sorted(
    [
        *(DOCS / name for name in ("README.md", "concepts.md", "faq.md")),
        *(page for part in PARTS for page in DOCS.glob(f"{part}/*.md")),
    ]
)
MOST = 30


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page: without code, tables and headings. An item of a list ends a sentence."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    # In a list, a table may be indented.
    lines = [
        "" if re.match(r" {4}| *\||#|<!--|!\[", line) else re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", line)
        for line in text.split("\n")
    ]
    prose = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", "\n".join(lines))
    for paragraph in re.split(r"\n\s*\n", prose):
        yield from re.split(r"(?<=[.?!:;])[\s*)]+", " ".join(paragraph.split()))


def test_no_sentence_is_long():
    found = [(str(page.relative_to(DOCS)), one) for page in PAGES for one in sentences(page.read_text("utf-8"))]

    assert found
    assert [(page, one) for page, one in found if len(one.split()) > MOST] == []
