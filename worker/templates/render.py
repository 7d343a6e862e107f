"""Renders the text of an invitation: chooses the template, fills in the variables, and keeps the result harmless."""

import re
from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from worker.core.customers.customers import Customer, CustomerKind, Person
from worker.core.messages.text_numbers import segments
from worker.core.messages.wording import Invitation, Rendered
from worker.templates.answer_values import sample_of
from worker.templates.brand import Brand
from worker.templates.content import NotContent, content_of
from worker.templates.language import (
    TemplateProblem,
    answer_values,
    blocks,
    blocks_in,
    check_length,
    never_shown,
    parsed,
    rendered,
)
from worker.templates.library import BUILT_IN, DEFAULT, MESSAGES, NEEDED, Library, Texts
from worker.templates.names import plain
from worker.templates.pages import TAGS, Pages
from worker.templates.prepared import Prepared, key_of, marked, only_shows
from worker.templates.template_files import TemplateFiles
from worker.templates.values import is_link, path_of, variables

SUBJECT_LENGTH = 200
DIGEST_LENGTH = 16  # hexadecimal digits
# Twilio accepts no text above 1,600 characters, and each segment costs money.
MOST_SEGMENTS = 10
# Without these a customer does not know what the message is about, what to press, or until when.
NEEDED_BLOCKS = frozenset({"heading", "request", "button", "expiry"})
MOST_PREPARED = 256  # in memory, of all languages and minutes in which links end
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")

SAMPLE = Invitation(
    customer=Customer("sample", person=Person(first_name="Maria", last_name="Example")),
    link="https://verify.example.com/sample",
    expires_at=datetime(2026, 11, 27, 14, 30, tzinfo=UTC),
    sender_name="Example Bank",
)
SAMPLE_COMPANY = Customer("sample", kind=CustomerKind.COMPANY, person=Person(company_name="Example Ltd"))
KINDS = ("invitation", "reminder", "new_link")
SAMPLES = tuple(
    replace(SAMPLE, kind=kind, customer=customer)
    for kind in KINDS
    for customer in (SAMPLE.customer, Customer("sample"), SAMPLE_COMPANY)
)
NO_BRAND = Brand()
CONTENT = "whatsapp.txt"
SAMPLE_NOW = SAMPLE.expires_at - timedelta(days=7)


class Templates:
    """The built-in templates and the operator's own, which shadow them. Each file is read and compiled once.

    `directory` None: built-in templates only. `locale` is for customers without templates in their language.
    `greeting` False: messages have no name of a customer.

    Never raises because of the directory's content: `problems` lists it, and `render` refuses.
    """

    def __init__(
        self, directory: Path | None, *, locale: str = "en", brand: Brand = NO_BRAND, greeting: bool = True
    ) -> None:
        self._locale = locale
        self._greeting = greeting
        self._brand = brand
        self._library = Library.read(directory)
        self._names = self._library.names
        self._find = lru_cache(maxsize=1024)(self._library.find)
        self._files = TemplateFiles(self._library)
        self._shows: dict[tuple[str, ...], bool] = {}  # whether these files only show personal values
        self._prepared: dict[Hashable, dict[str, Prepared]] = {}
        self._digests: dict[tuple[str, ...], str] = {}

    @property
    def names(self) -> frozenset[str]:
        """The values that a line's `template` may have. Empty means "default"."""
        return self._names

    def render(self, invitation: Invitation, *, channel: str, now: datetime) -> Rendered:
        """The text for a channel at `now` (aware UTC). Raises TemplateProblem, with no value in its text."""
        name = invitation.customer.template or DEFAULT
        if name not in self.names:
            raise TemplateProblem("the line names a template that does not exist")
        if not is_link(invitation.link):
            raise TemplateProblem("the link is not a plain http or https address")
        texts = self._find(name, invitation.customer.locale, channel, default=self._locale)
        if texts is None:
            raise TemplateProblem(f"no template for {channel} in the customer's or the default language")
        return self._fill_in(texts, invitation, now)

    def lacks(self, channel: str) -> bool:
        """True if nobody can be written to on this channel in the default language, and no template is built in."""
        is_built_in = any(file.rpartition("/")[2] in NEEDED[channel] for file in self._library.built_in())
        return not is_built_in and self._find(DEFAULT, self._locale, channel, default=self._locale) is None

    def built_in(self) -> dict[str, str]:
        """The built-in files by their names, to start from."""
        return self._library.built_in()

    def problems(self) -> list[str]:
        """The problems of the operator's templates, for `check`: one line each."""
        found = list(self._library.problems)
        if self._library.find(DEFAULT, self._locale, "email", default=self._locale) is None:
            found.append(f'[invitations] locale = "{self._locale}": there is no template in that language')
        for name in sorted(self._library.own):
            if name in self._library.unreadable:
                continue
            try:
                self._files.template(name)
                layouts = self._files.chain(name)[1:]
                above = set().union(*(blocks_in(self._library.sources[one]) for one in layouts))
                found += never_shown(name, self._library.sources[name], above) if layouts else []
            except TemplateProblem as problem:
                found.append(str(problem))
        for name, locale in self._library.sets:
            for channel in MESSAGES:
                found += self._set_problems(name, locale, channel)
        found += Pages(self._library, locale=self._locale, brand=self._brand, sender_name=SAMPLE.sender_name).problems()
        for name in sorted(self.names - {DEFAULT}):
            if not any(self._has(name, self._locale, channel) for channel in MESSAGES):
                found.append(
                    f"{name}: no text in the default locale {self._locale}; other languages get the built-in text"
                )
        return list(dict.fromkeys(found))

    def doubts(self, answers: Collection[str]) -> list[str]:
        """Warnings of the operator's templates: values that an answer may lack. `answers` are those that answers of the
        accounts may have, of "digits", "provider" and "vendor"."""
        found = []
        for name in sorted(self._library.own):
            try:
                used = answer_values(self._library.sources[name]) if self._files.template(name) else {}
            except TemplateProblem:
                continue  # one of the problems
            for value, (line, careless) in sorted(used.items()):
                if re.split(r"\W", value)[0] not in answers:
                    found.append(f"{name}, line {line}: {value} is always empty: no account's provider answers it")
                elif careless:
                    found.append(
                        f"{name}, line {line}: {value} is empty where an answer lacks it;"
                        f" say what to write then, as in {{% if {value} %}}…{{% endif %}}"
                    )
        return found

    def _has(self, name: str, locale: str, channel: str) -> bool:
        texts = self._library.find(name, locale, channel, default=locale)
        return texts is not None and all(source.startswith(f"{name}/") for source in texts.parts.values())

    def _set_problems(self, name: str, locale: str, channel: str) -> list[str]:
        lacking = self._library.lacking(name, locale, channel)
        if lacking:
            return [f"{name}/{locale}: lacks {' and '.join(lacking)}, so its {channel} is not used"]
        texts = self._library.find(name, locale, channel, default=locale)
        if texts is None or (self._brand == NO_BRAND and not self._is_own(texts)):
            return []
        found: list[str] = []
        empty: dict[tuple[str, str], str] = {}  # one line for each block and file, with the first sample that shows it
        for sample in (*SAMPLES, self._with_answer(texts)):
            try:
                made = self._fill_in(texts, sample, SAMPLE_NOW)
                for part, block in self._empty_blocks(texts, sample):
                    empty.setdefault((part, block), _sample(sample))
            except TemplateProblem as problem:
                found.append(str(problem))
                continue
            named = ("body.html", "button") in empty  # then the block says it better
            if not named and has_empty_button(made.html, SAMPLE.link):
                found.append(
                    f"{self._files.at_fault(texts.parts['body.html'])}: a link to {{{{ link }}}} has no text, so"
                    " customers would see an empty button; write words between its <a> and </a>"
                )
            by_part = dict.fromkeys(("body.txt", "sms.txt", CONTENT), made.text)
            by_part |= {"body.html": made.html, "subject.txt": made.subject}
            for part, source in texts.parts.items():
                # A button of an approved template has the link's host already.
                needed = path_of(SAMPLE.link) if part == CONTENT else SAMPLE.link
                if part != "subject.txt" and needed not in by_part[part]:
                    found.append(f"{source}: lacks {{{{ link }}}}")
                if part == "subject.txt" and SAMPLE.link in by_part[part]:
                    found.append(f"{source}: {{{{ link }}}} is a secret and must not be in a subject")
                if part == "sms.txt" and (size := segments(made.text)).count > MOST_SEGMENTS:
                    found.append(
                        f"{source}: takes {size.count} text messages of {size.encoding.value};"
                        f" shorten it to at most {MOST_SEGMENTS}"
                    )
        words = f"{BUILT_IN}/{DEFAULT}/{texts.locale.partition('-')[0]}"
        for (part, block), which in empty.items():
            fill = f"fill it with {{% block {block} %}}…{{% endblock %}}"
            if f"{words}/{part}" in self._library.sources:
                fill += f', or begin the file with {{% extends "{words}/{part}" %}} and leave the block out'
            found.append(f"{self._files.at_fault(texts.parts[part])}: the block {block} is empty in {which}; {fill}")
        return found

    def _empty_blocks(self, texts: Texts, sample: Invitation) -> list[tuple[str, str]]:
        """Part and name of the blocks without which a customer does not know what to do, and that have no words."""
        values = self._values(texts, sample, SAMPLE_NOW)
        return [
            (part, name)
            for part, source in texts.parts.items()
            for name, text in blocks(self._files.template(source), values).items()
            if name in NEEDED_BLOCKS and not TAGS.sub("", text).strip()
        ]

    def _with_answer(self, texts: Texts) -> Invitation:
        """The sample of a session whose answer has every value that the texts use."""
        names: set[str] = set()
        for source in texts.parts.values():
            with suppress(TemplateProblem):  # rendering says it
                for file in self._files.chain(source, strict=True):
                    names.update(answer_values(self._library.sources[file]))
        return replace(SAMPLE, opening=sample_of(names))

    def _is_own(self, texts: Texts) -> bool:
        """True if any file of these texts is the operator's, even if only the layout."""
        return any(map(self._files.is_own, texts.parts.values()))

    def _fill_in(self, texts: Texts, invitation: Invitation, now: datetime) -> Rendered:
        values = self._values(texts, invitation, now)
        parts = self._parts(texts, values)
        subject = plain(parts.get("subject.txt", ""), most=SUBJECT_LENGTH)
        if "subject.txt" in parts and not subject:
            raise TemplateProblem(f"{texts.parts['subject.txt']}: renders no text")
        text = parts.get("body.txt") or parts.get("sms.txt") or parts.get(CONTENT) or ""
        if CONTENT in parts:
            try:
                content_of(text)
            except NotContent as error:
                raise TemplateProblem(f"{texts.parts[CONTENT]}: {error}") from None
        return Rendered(texts.locale, subject, text, parts.get("body.html", ""), self._digest(texts))

    def _digest(self, texts: Texts) -> str:
        """What says whether a message was made from the same files, brand and greeting as another."""
        sources = tuple(texts.parts.values())
        if sources not in self._digests:
            files = dict.fromkeys(file for source in sources for file in self._files.chain(source))
            made_from = [self._greeting, self._brand, *((file, self._library.sources[file]) for file in files)]
            self._digests[sources] = sha256(repr(made_from).encode()).hexdigest()[:DIGEST_LENGTH]
        return self._digests[sources]

    def _values(self, texts: Texts, invitation: Invitation, now: datetime) -> dict[str, Any]:
        return variables(invitation, self._brand, language=texts.locale, now=now, greeting=self._greeting)

    def _parts(self, texts: Texts, values: Mapping[str, Any]) -> dict[str, str]:
        """Each part, rendered: from what is prepared, if the files only show what is personal."""
        sources = tuple(texts.parts.values())
        if sources not in self._shows:
            self._shows[sources] = all(self._only_shows(source) for source in sources)
        if not self._shows[sources]:
            return self._rendered(texts, values)
        key = (sources, *key_of(values))
        prepared = self._prepared.get(key)
        if prepared is None:
            made = self._rendered(texts, marked(values))
            prepared = {part: Prepared.of(text, is_html=part.endswith(".html")) for part, text in made.items()}
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            self._prepared[key] = prepared
        parts = {part: one.filled(values) for part, one in prepared.items()}
        for part, text in parts.items():
            check_length(texts.parts[part], len(text))
        return parts

    def _rendered(self, texts: Texts, values: Mapping[str, Any]) -> dict[str, str]:
        made = {part: rendered(self._files.template(source), values) for part, source in texts.parts.items()}
        return {part: text.strip() if part.endswith(".html") else _tidy(text) for part, text in made.items()}

    def _only_shows(self, source: str) -> bool:
        self._files.template(source)  # raises the problem of a file that cannot be used
        return all(only_shows(parsed(self._library.sources[file])) for file in self._files.chain(source))


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
    """True if the page has a link to this address that a reader cannot see."""
    page = _Buttons()
    page.feed(html)
    return any(address == link and not visible for address, visible in page.links)


def _sample(sample: Invitation) -> str:
    """Which of the sample messages it is, in words."""
    who = "a company" if sample.customer.kind is CustomerKind.COMPANY else "a person"
    return f"the {sample.kind} to {who}"


def _tidy(text: str) -> str:
    """The text without blank lines at its ends and without several in a row, which conditions leave behind."""
    return BLANK_LINES.sub("\n\n", text.replace("\r\n", "\n")).strip()
