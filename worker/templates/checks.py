"""What is wrong with an operator's own templates, for `check`: each is tried with samples. Refuses nothing itself. A
problem is a line with the file's name, and what to do. A doubt is a value that an answer may lack."""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from html.parser import HTMLParser

from onboarding_worker.core.model.customers import MESSAGE, Customer, CustomerKind, Person, with_own
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation, Wording, advice_for
from onboarding_worker.templates.content import segments
from onboarding_worker.templates.language import (
    TemplateProblem,
    answer_values,
    blocks,
    blocks_in,
    never_shown,
    own_columns,
)
from onboarding_worker.templates.library import BUILT_IN, DEFAULT, MESSAGES, PAGE, Texts
from onboarding_worker.templates.pages import FORMS, Pages
from onboarding_worker.templates.render import CONTENT, NO_BRAND, Templates
from onboarding_worker.templates.values import VENDOR, Screen

# Twilio accepts no text above 1,600 characters, and each segment costs money.
MOST_SEGMENTS = 10
# Without these a customer does not know what the message is about, what to press, or until when.
NEEDED_BLOCKS = frozenset({"heading", "request", "button", "expiry"})
# Without these a visitor of the page does not know what it is about, or what to press.
NEEDED_OF_PAGE = frozenset({"ask_heading", "request", "button", "not_me_link", "not_me_words", "not_me_button"} | {
    f"{screen.value}_{part}" for screen in Screen for part in ("heading", "words") if screen is not Screen.ASK
})  # fmt: skip
TAGS = re.compile(r"<[^>]*>|&nbsp;|&#160;")
_POSTS = re.compile(r"<form[^>]*\bmethod=\"post\"", re.IGNORECASE)

LINK_PATH = "sample"
SAMPLE = Invitation(
    customer=Customer("sample", person=Person(first_name="Maria", last_name="Example")),
    opening=Opening(f"https://verify.example.com/{LINK_PATH}"),
    expires_at=datetime(2026, 11, 27, 14, 30, tzinfo=UTC),
    sender_name="Example Bank",
)
SAMPLE_COMPANY = Customer("sample", kind=CustomerKind.COMPANY, person=Person(company_name="Example Ltd"))
SAMPLES = tuple(
    replace(SAMPLE, wording=kind.value, customer=customer, advice=advice_for(kind.value))
    for kind in Wording
    for customer in (SAMPLE.customer, Customer("sample"), SAMPLE_COMPANY)
)
SAMPLE_NOW = SAMPLE.expires_at - timedelta(days=7)


def with_columns(invitation: Invitation, columns: Collection[str]) -> Invitation:
    """The invitation of a customer whose list has these columns for messages too, with invented values."""
    customer = invitation.customer
    person = with_own(customer.person, {name: f"Example {name}" for name in columns})
    return replace(invitation, customer=replace(customer, person=person))


def problems(templates: Templates) -> list[str]:
    library, locale = templates.library, templates.locale
    found = list(library.problems)
    if library.find(DEFAULT, locale, "email", default=locale) is None:
        found.append(f'[invitations] locale = "{locale}": there is no template in that language')
    for name in sorted(library.own - library.unreadable.keys()):
        try:
            library.template(name)
            layouts = library.chain(name)[1:]
            above = set().union(*(blocks_in(library.sources[one]) for one in layouts))
            found += never_shown(name, library.sources[name], above) if layouts else []
        except TemplateProblem as problem:
            found.append(str(problem))
    for name, of_set in library.sets:
        for channel in MESSAGES:
            found += _set_problems(templates, name, of_set, channel)
    found += _page_problems(Pages(library, locale=locale, brand=templates.brands[""], sender_name=SAMPLE.sender_name))
    for name in sorted(templates.names - {DEFAULT}):
        every = filter(None, (library.find(name, locale, channel, default=locale) for channel in MESSAGES))
        if not any(all(source.startswith(f"{name}/") for source in texts.parts.values()) for texts in every):
            found.append(f"{name}: no text in the default locale {locale}; other languages get the built-in text")
    return list(dict.fromkeys(found))


def doubts(templates: Templates, answers: Collection[str], columns: Collection[str] = ()) -> list[str]:
    """Warnings of the operator's templates: values that an answer may lack, and columns that lists may lack. `answers`
    those that answers may have, of "digits", "provider" and "vendor"; `columns` those that lists have for messages."""
    library, found = templates.library, []
    for name in sorted(library.own):
        try:
            used = answer_values(library.sources[name]) if library.template(name) else {}
        except TemplateProblem:
            continue  # one of the problems
        for column, (line, _) in sorted(own_columns(library.sources[name]).items()):
            if column not in columns:
                near = get_close_matches(column, columns, n=1)
                meant = f"did you mean {MESSAGE}.{near[0]}?" if near else f"name it in [import] {MESSAGE}_columns"
                found.append(f"{name}, line {line}: {MESSAGE}.{column} is not a known column of lists; {meant}")
        for value, (line, careless) in sorted(used.items()):
            if re.split(r"\W", value)[0] not in answers:
                found.append(f"{name}, line {line}: {value} is always empty: no account's provider answers it")
            elif careless:
                found.append(
                    f"{name}, line {line}: {value} is empty where an answer lacks it;"
                    f" say what to write then, as in {{% if {value} %}}…{{% endif %}}"
                )
    return found


def _set_problems(templates: Templates, name: str, locale: str, channel: str) -> list[str]:
    library = templates.library
    lacking = library.lacking(name, locale, channel)
    if lacking:
        return [f"{name}/{locale}: lacks {' and '.join(lacking)}, so its {channel} is not used"]
    texts = library.find(name, locale, channel, default=locale)
    if texts is None or (templates.brands[""] == NO_BRAND and not any(map(library.is_own, texts.parts.values()))):
        return []
    found: list[str] = []
    empty: dict[tuple[str, str], str] = {}  # one line for each block and file, with the first sample that shows it
    for sample in (*SAMPLES, _with_answer(templates, texts)):
        try:
            sample = with_columns(sample, templates.needs(name, locale, channel))
            made = templates.fill_in(texts, sample, channel, SAMPLE_NOW)
            for part, block in _empty_blocks(templates, texts, sample):
                who = "a company" if sample.customer.kind is CustomerKind.COMPANY else "a person"
                empty.setdefault((part, block), f"the {sample.wording} to {who}")
        except TemplateProblem as problem:
            found.append(str(problem))
            continue
        named = ("body.html", "button") in empty  # then the block says it better
        if not named and has_empty_button(made.html, SAMPLE.opening.link):
            found.append(
                f"{library.at_fault(texts.parts['body.html'])}: a link to {{{{ link }}}} has no text, so"
                " customers would see an empty button; write words between its <a> and </a>"
            )
        by_part = dict.fromkeys(("body.txt", "sms.txt", CONTENT), made.text)
        by_part |= {"body.html": made.html, "subject.txt": made.subject}
        for part, source in texts.parts.items():
            # A button of an approved template has the link's host already.
            needed = LINK_PATH if part == CONTENT else SAMPLE.opening.link
            if part != "subject.txt" and needed not in by_part[part]:
                found.append(f"{source}: lacks {{{{ link }}}}")
            if part == "subject.txt" and SAMPLE.opening.link in by_part[part]:
                found.append(f"{source}: {{{{ link }}}} is a secret and must not be in a subject")
            if part == "sms.txt" and (size := segments(made.text)).count > MOST_SEGMENTS:
                takes = f"takes {size.count} text messages of {size.encoding.value}"
                found.append(f"{source}: {takes}; shorten it to at most {MOST_SEGMENTS}")
    words = f"{BUILT_IN}/{DEFAULT}/{texts.locale.partition('-')[0]}"
    for (part, block), which in empty.items():
        fill = f"fill it with {{% block {block} %}}…{{% endblock %}}"
        if f"{words}/{part}" in library.sources:
            fill += f', or begin the file with {{% extends "{words}/{part}" %}} and leave the block out'
        found.append(f"{library.at_fault(texts.parts[part])}: the block {block} is empty in {which}; {fill}")
    return found


def _empty_blocks(templates: Templates, texts: Texts, sample: Invitation) -> list[tuple[str, str]]:
    """Part and name of the blocks without which a customer does not know what to do, and that have no words."""
    values = templates.values(texts, sample, SAMPLE_NOW)
    return [
        (part, name)
        for part, source in texts.parts.items()
        for name, text in blocks(templates.library.template(source), values).items()
        if name in NEEDED_BLOCKS and not TAGS.sub("", text).strip()
    ]


def _with_answer(templates: Templates, texts: Texts) -> Invitation:
    """The sample of a session whose answer has every value that the texts use."""
    names, columns = set[str](), set[str]()
    for source in texts.parts.values():
        with suppress(TemplateProblem):  # rendering says it
            for file in templates.library.chain(source, strict=True):
                names.update(answer_values(templates.library.sources[file]))
                columns.update(own_columns(templates.library.sources[file]))
    keys = [name.removeprefix(VENDOR).strip('.[]"') for name in names if name.startswith(VENDOR)]
    opening = Opening(SAMPLE.opening.link, "0123456", "Vendor", dict.fromkeys(keys, "A1B2C3D4"))
    return replace(with_columns(SAMPLE, columns), opening=opening)


def _page_problems(pages: Pages) -> list[str]:
    library, found = pages.library, list[str]()
    for name, locale in library.sets:
        texts = library.find(name, locale, PAGE, default=locale)
        if texts is None or texts.locale != locale or not library.is_own(source := texts.parts["page.html"]):
            continue
        try:
            found += _problems_of_page(pages, source, name, locale)
        except TemplateProblem as problem:
            found.append(str(problem))
    return found


def _problems_of_page(pages: Pages, source: str, name: str, locale: str) -> Iterator[str]:
    empty: set[str] = set()
    for screen in Screen:
        for kind in ("individual", "company"):
            page = pages.render(screen, locale=locale, template=name, customer_kind=kind, address="/s/0")
            shown = blocks(pages.library.template(source), pages.values(screen, locale, customer_kind=kind))
            empty |= {block for block in NEEDED_OF_PAGE & shown.keys() if not TAGS.sub("", shown[block]).strip()}
            lacking = NEEDED_OF_PAGE - shown.keys()
            empty |= lacking if screen is Screen.ASK else set()
            if screen in FORMS and not _POSTS.search(page):
                yield f'{pages.library.at_fault(source)}: the screen {screen.value} lacks its <form method="post">'
    for block in sorted(empty):
        yield (
            f"{pages.library.at_fault(source)}: the block {block} is empty; fill it with {{% block {block} %}}…"
            "{% endblock %}, or leave it out of a file that extends page.html"
        )


class _Buttons(HTMLParser):
    """The links of a page: for each its address and whether a reader sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self._open = given.get("href") or ""
            self.links.append((self._open, False))
        elif tag == "img" and self._open is not None and given.get("alt"):
            self.links[-1] = (self._open, True)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None and data.strip():
            self.links[-1] = (self._open, True)


def has_empty_button(html: str, link: str) -> bool:
    page = _Buttons()
    page.feed(html)
    return any(address == link and not visible for address, visible in page.links)
