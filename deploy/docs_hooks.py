"""Hooks of `make docs`: what the search finds first (pages that answer a user's question), what it leaves out (pages
for those who change the code), and whether a page is the same in the site as in the repository.

Markdown has two readings: that of MkDocs, and CommonMark, which sites of repositories have. A heading straight after a
table is a row of it for the one, and code in a list is text, if it is not far enough to the right.
"""

import logging
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

NOT_SEARCHED = ("decisions/", "inside/")
FIRST = ("faq.md", "how-to/", "troubleshooting.md")
FOR_AUTHORS = "how-to/adding-"
COMMON = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HEADINGS = {f"h{level}" for level in range(1, 7)}
SHAPES = HEADINGS | {
    "table",
    "tr",
    "th",
    "td",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
    "blockquote",
    "img",
    "a",
    "em",
    "strong",
}
log = logging.getLogger("mkdocs.hooks.shape")  # with `strict`, a warning in this tree of loggers fails the build


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs with the text of each page."""
    if found := search(page.file.src_uri):
        page.meta["search"] = found
    return markdown


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs with what it has made of the page."""
    if other := difference(html, COMMON.render(page.markdown)):
        log.warning("%s: %s", page.file.src_uri, other)
    return html


def search(path: str) -> dict[str, bool | int]:
    """What a page would say of itself in its front matter, as Material for MkDocs documents it."""
    if path.startswith(NOT_SEARCHED):
        return {"exclude": True}
    return {"boost": 2} if path.startswith(FIRST) and not path.startswith(FOR_AUTHORS) else {}


def difference(site: str, repository: str) -> str:
    """Where the site's reading of a page departs from the other one; "": nowhere."""
    ours, theirs = shapes(site), shapes(repository)
    for (shape, text), (other, _) in zip(ours, theirs, strict=False):
        if shape != other:
            return f"<{shape}> in the site is <{other}> in the repository, at {text.strip()[:60]!r}"
    return "" if len(ours) == len(theirs) else "it ends early in the site, or in the repository"


def shapes(html: str) -> list[tuple[str, str]]:
    reader = _Shapes()
    reader.feed(html)
    reader.close()
    return reader.found


class _Shapes(HTMLParser):
    """Headings, tables, lists, code …, in their order, each with the text that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SHAPES and ("class", "headerlink") not in attrs:  # MkDocs' own links to headings
            self.found.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, text = self.found[-1]
            self.found[-1] = (tag, text + data)
