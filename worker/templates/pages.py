"""Renders the page behind our own link: chooses its words as for messages, and styles it by the brand."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from importlib.resources import files

from markupsafe import Markup

from worker.templates.brand import Brand
from worker.templates.dates import in_words
from worker.templates.language import TemplateProblem, blocks, rendered
from worker.templates.library import DEFAULT, PAGE, Library
from worker.templates.page_values import Screen, page_variables
from worker.templates.template_files import TemplateFiles

TAGS = re.compile(r"<[^>]*>|&nbsp;|&#160;")
FORMS = (Screen.ASK, Screen.AGAIN, Screen.NOT_ME)
_POSTS = re.compile(r"<form[^>]*\bmethod=\"post\"", re.IGNORECASE)
# Without these a visitor does not know what the page is about, or what to press.
NEEDED_BLOCKS = frozenset({"ask_heading", "request", "button", "not_me_link", "not_me_words", "not_me_button"} | {
    f"{screen.value}_{part}" for screen in Screen for part in ("heading", "words") if screen is not Screen.ASK
})  # fmt: skip
# Of Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#name-accept-language
_LANGUAGE = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,4})[ \t]*(?:;[ \t]*q=([01](?:\.\d{0,3})?))?")
MOST_LANGUAGES, LONGEST_HEADER = 20, 500


class Pages:
    """The words of the page in all languages, and its style. Reads nothing but the library that it is given."""

    def __init__(self, library: Library, *, locale: str, brand: Brand, sender_name: str, timezone: str = "") -> None:
        """`locale`: for visitors without words in their language. `timezone`: of the times that the page names;
        not the customer's, which would be personal."""
        self._library, self._locale, self._brand = library, locale, brand
        self._files = TemplateFiles(library)
        self._sender_name, self._timezone = sender_name, timezone

    @cached_property
    def style(self) -> str:
        """The page's style: the same for all pages of a brand, so that a policy can name its hash."""
        brand = self._brand
        colours = {
            "brand": brand.colour,
            "brand-ink": brand.ink,
            "brand-hover": brand.hover,
            "brand-link": brand.link,
            "brand-link-dark": brand.link_in_the_dark,
        }
        named = " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        rules = (files("worker.templates") / "page.css").read_text("utf-8")
        return f":root {{ {named} }}\n{rules}"

    @property
    def logo(self) -> str:
        return self._brand.logo

    def render(
        self,
        screen: Screen,
        *,
        again: bool = False,
        locale: str = "",
        template: str = "",
        customer_kind: str = "individual",
        address: str = "",
        looks_again: str = "",
        token: str = "",
        ready_by: datetime | None = None,
    ) -> str:
        """The page, whole. For its addresses see `page_variables`. Raises TemplateProblem, without a value in it."""
        texts = self._library.find(template or DEFAULT, locale, PAGE, default=self._locale)
        if texts is None:
            raise TemplateProblem(f"{template or DEFAULT}: no page in the customer's or the default language")
        values = page_variables(
            screen,
            self._brand,
            sender_name=self._sender_name,
            language=texts.locale,
            again=again,
            customer_kind=customer_kind,
            address=address,
            looks_again=looks_again,
            token=token,
            ready_by=in_words(ready_by, language=texts.locale, timezone=self._timezone) if ready_by else "",
            style=Markup(self.style),  # noqa: S704 -- made here: our own rules, and colours that were checked
        )
        return rendered(self._files.template(texts.parts["page.html"]), values)

    def locale_of(self, accept_language: str) -> str:
        """The first language that a visitor reads and that there are words in; "" if there is none."""
        known = {locale.partition("-")[0].lower() for _, locale in self._library.sets}
        return next((one for one in languages(accept_language) if one.partition("-")[0].lower() in known), "")

    def problems(self) -> list[str]:
        """What is wrong with the operator's own pages, for `check`: one line each."""
        found: list[str] = []
        for name, locale in self._library.sets:
            texts = self._library.find(name, locale, PAGE, default=locale)
            if texts is None or texts.locale != locale or not self._files.is_own(source := texts.parts["page.html"]):
                continue
            try:
                found += self._problems_of(source, name, locale)
            except TemplateProblem as problem:
                found.append(str(problem))
        return found

    def _problems_of(self, source: str, name: str, locale: str) -> Iterator[str]:
        empty: set[str] = set()
        for screen in Screen:
            for kind in ("individual", "company"):
                page = self.render(screen, locale=locale, template=name, customer_kind=kind, address="/s/0")
                values = page_variables(screen, self._brand, sender_name="-", language=locale, customer_kind=kind)
                shown = blocks(self._files.template(source), values)
                empty |= {block for block in NEEDED_BLOCKS & shown.keys() if not TAGS.sub("", shown[block]).strip()}
                lacking = NEEDED_BLOCKS - shown.keys()
                empty |= lacking if screen is Screen.ASK else set()
                if screen in FORMS and not _POSTS.search(page):
                    yield f'{self._files.at_fault(source)}: the screen {screen.value} lacks its <form method="post">'
        for block in sorted(empty):
            yield (
                f"{self._files.at_fault(source)}: the block {block} is empty; fill it with {{% block {block} %}}…"
                "{% endblock %}, or leave it out of a file that extends page.html"
            )


def languages(accept_language: str) -> Sequence[str]:
    """The languages that a visitor reads, best first. A header that is none has no languages."""
    if len(accept_language) > LONGEST_HEADER:
        return ()
    found = []
    for part in accept_language.split(",")[:MOST_LANGUAGES]:
        match = _LANGUAGE.fullmatch(part.strip())
        if match and (weight := float(match[2] or 1)) > 0:
            found.append((weight, match[1]))
    return [tag for _, tag in sorted(found, key=lambda one: -one[0])]
