"""Renders the page behind our own link: chooses its words as for messages, and styles it by the brand."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from importlib.resources import files

from markupsafe import Markup

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.library import DEFAULT, PAGE, Library
from onboarding_worker.templates.render import rendered
from onboarding_worker.templates.values import LENGTH, Screen, base_of, direction, in_words

FORMS = (Screen.ASK, Screen.AGAIN, Screen.NOT_ME)
# Of Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#name-accept-language
_LANGUAGE = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,4})[ \t]*(?:;[ \t]*q=([01](?:\.\d{0,3})?))?")
MOST_LANGUAGES, LONGEST_HEADER = 20, 500


class Pages:
    """The words of the page in all languages, and its style. Reads nothing but the library that it is given."""

    def __init__(self, library: Library, *, locale: str, brand: Brand, sender_name: str, timezone: str = "") -> None:
        """`locale`: for visitors without words in their language. `timezone`: of the times that the page names; not the
        customer's, which would be personal."""
        self.library, self._locale, self.logo = library, locale, brand.logo
        self._look, self._template = brand.values, brand.template or DEFAULT
        self._sender_name, self._timezone = sender_name, timezone

    @cached_property
    def style(self) -> str:
        """The page's style: the same for all pages of a brand, so that a policy can name its hash."""
        colours = {
            "brand": "colour",
            "brand-ink": "ink",
            "brand-hover": "hover_colour",
            "brand-link": "link_colour",
            "brand-link-dark": "link_colour_dark",
        }
        named = " ".join(f"--{name}: {self._look[colour]};" for name, colour in colours.items())
        rules = (files("onboarding_worker.templates") / "page.css").read_text("utf-8")
        return f":root {{ {named} }}\n{rules}"

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
        """The page, whole. `address` is the link's own path; `looks_again`: where a page that waits looks again, if
        that is another. `again`: see PAGE_VARIABLES. Raises TemplateProblem, without a value in it."""
        name = template or self._template
        texts = self.library.find(name, locale, PAGE, default=self._locale)
        if texts is None:
            raise TemplateProblem(f"{name}: no page in the customer's or the default language")
        values = self.values(screen, texts.locale, customer_kind=customer_kind)
        not_me = f"{address}/not-me" if address else ""
        values |= {"again": again or screen is Screen.AGAIN, "token": token, "not_me": not_me}
        values |= {"action": not_me if screen is Screen.NOT_ME else address, "address": looks_again or address}
        if ready_by:
            values["ready_by"] = in_words(ready_by, language=texts.locale, timezone=self._timezone)[0]
        return rendered(self.library.template(texts.parts["page.html"]), values)

    def values(self, screen: Screen, language: str, *, customer_kind: str) -> dict[str, object]:
        """The variables of the page: exactly the keys of PAGE_VARIABLES. What is of one visit is empty."""
        return {
            "screen": screen.value,
            "again": screen is Screen.AGAIN,
            "customer_kind": customer_kind,
            "sender_name": plain(self._sender_name, most=LENGTH),
            **dict.fromkeys(("action", "token", "address", "not_me", "ready_by"), ""),
            "style": Markup(self.style),  # noqa: S704 -- made here: our own rules, and colours that were checked
            **self._look,
            "language": language,
            "direction": direction(language),
        }

    def locale_of(self, accept_language: str) -> str:
        """The first language that a visitor reads and that there are words in; "" if there is none."""
        known = {base_of(locale) for _, locale in self.library.sets}
        return next((one for one in languages(accept_language) if base_of(one) in known), "")


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
