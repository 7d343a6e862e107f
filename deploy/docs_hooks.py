"""Hooks of `make docs`: what the search finds first (pages that answer a user's question), and what it leaves out (pages
for those who change the code).
"""

from typing import Any

NOT_SEARCHED = ("decisions/", "inside/")
FIRST = ("faq.md", "how-to/", "troubleshooting.md")
FOR_AUTHORS = "how-to/adding-"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs with the text of each page."""
    if found := search(page.file.src_uri):
        page.meta["search"] = found
    return markdown


def search(path: str) -> dict[str, bool | int]:
    """What a page would say of itself in its front matter, as Material for MkDocs documents it."""
    if path.startswith(NOT_SEARCHED):
        return {"exclude": True}
    return {"boost": 2} if path.startswith(FIRST) and not path.startswith(FOR_AUTHORS) else {}
