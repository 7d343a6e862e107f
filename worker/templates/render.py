"""Writes an invitation: chooses the files of its template, and fills in the values of its customer.

Refused, with a TemplateProblem that names no value: a template that is not there or cannot be used, and a link that is
none. What a file may do is decided in `language`, which files a message has in `library`, what a value is in `values`.

Of a list, most messages differ in a few values that the files only show, or ask whether there are any. Such files are
rendered once, with a mark in place of each of these values. The text is kept by all other values, and filled in for
each customer. Files that do more with one of them, such as `{{ name|upper }}`, are rendered for each message.
"""

import re
from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jinja2 import Template, nodes
from markupsafe import escape

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.channels import address_of
from onboarding_worker.core.model.customers import MESSAGE
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.content import NotContent, content_of, segments
from onboarding_worker.templates.language import TemplateProblem, name_of, own_columns, parsed
from onboarding_worker.templates.library import DEFAULT, NEEDED, Library, Texts
from onboarding_worker.templates.values import LINK, LINK_LENGTH, VARIABLES, VENDOR, variables

SUBJECT_LENGTH = 200
OUTPUT_LENGTH = 256 * 1024  # characters of one rendered part
PIECES = 64  # of a rendering, after which its length is checked
DIGEST_LENGTH = 16  # hexadecimal digits
MOST_PREPARED = 256  # in memory, of all languages and minutes in which links end
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")
CONTENT = "whatsapp.txt"
NO_BRAND = Brand()
# The variables that differ from message to message.
PERSONAL = ("first_name", "last_name", "name", "company_name", "link", "link_path", "digits")
_personal = itemgetter(*PERSONAL)
_others = itemgetter(*(name for name in VARIABLES if name not in (*PERSONAL, VENDOR, MESSAGE)))
# Characters for private use: `plain` leaves them out of each value, and no link has them.
_MARK = re.compile("\ue000(" + "|".join(PERSONAL) + rf"|{MESSAGE}\.[a-z0-9_]+)\ue001")


class _Files(NamedTuple):
    """What the files of a message say. `only_show`: they only show what is personal. `digest` says if a message was
    made from the same files, brand and greeting as another. `needs`: see `Templates.needs`."""

    only_show: bool
    digest: str
    needs: Mapping[str, str]


class Templates:
    """The built-in templates and the operator's own, which shadow them. Each file is read and compiled once.

    `directory` None: built-in templates only. `locale` is for customers without templates in their language.
    `brand` is the look of rows without a brand, `brands` those of the others by their names. `greeting` False: messages
    have no name of a customer. `domains`: those of our own addresses, which a column of a list may show.

    Never raises because of the directory's content: `checks.problems` lists it, and `render` refuses.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        locale: str = "en",
        brand: Brand = NO_BRAND,
        brands: Mapping[str, Brand] = MappingProxyType({}),
        greeting: bool = True,
        domains: Collection[str] = (),
    ) -> None:
        self.library = Library.read(directory)
        self.names = self.library.names  # the values that a line's `template` may have; empty means "default"
        self.locale, self.greeting, self.domains = locale, greeting, domains
        self.brands = {**brands, "": brand}
        self._looks = {name: one.values for name, one in self.brands.items()}
        self._find = lru_cache(maxsize=1024)(self.library.find)
        self._needs = lru_cache(maxsize=1024)(self._find_needs)
        self._files = lru_cache(maxsize=1024)(self._look_at)
        self._prepared: dict[Hashable, dict[str, list[str]]] = {}

    def render(self, invitation: Invitation, *, channel: str, now: datetime) -> Message:
        """The message on a channel at `now` (aware UTC). Raises TemplateProblem, with no value in its text."""
        brand = self.brands.get(invitation.customer.brand)
        if brand is None:
            raise TemplateProblem("the row is of a brand that the configuration does not have")
        name = invitation.customer.template or brand.template or DEFAULT
        if name not in self.names:
            raise TemplateProblem("the line names a template that does not exist")
        # With no character that ends or hides a link.
        link = invitation.opening.link
        if len(link) > LINK_LENGTH or not LINK.fullmatch(link):
            raise TemplateProblem("the link is not a plain http or https address")
        texts = self._find(name, invitation.customer.locale, channel, default=self.locale)
        if texts is None:
            raise TemplateProblem(f"no template for {channel} in the customer's or the default language")
        return self.fill_in(texts, invitation, channel, now)

    def language(self, channel: str, *, template: str, locale: str, brand: str) -> str:
        """The language of a message on this channel to a customer who has these; "": it cannot be written."""
        look = self.brands.get(brand, NO_BRAND)
        texts = self._find(template or look.template or DEFAULT, locale, channel, default=self.locale)
        return texts.locale if texts is not None else ""

    def prepare(self, channel: str) -> None:
        """Check and compile the files of a channel's usual message, which a process otherwise does at its first one."""
        self._needs(self.brands[""].template or DEFAULT, self.locale, channel)

    def lacks(self, channel: str) -> bool:
        """True if nobody can be written to on this channel in the default language, and no template is built in."""
        is_built_in = any(file.rpartition("/")[2] in NEEDED[channel] for file in self.library.built_in())
        return not is_built_in and self._find(DEFAULT, self.locale, channel, default=self.locale) is None

    def values(self, texts: Texts, invitation: Invitation, now: datetime) -> dict[str, Any]:
        """The variables of the message."""
        look = self._looks[invitation.customer.brand]
        return variables(invitation, look, language=texts.locale, now=now, greeting=self.greeting, domains=self.domains)

    def fill_in(self, texts: Texts, invitation: Invitation, channel: str, now: datetime) -> Message:
        """The message with these texts, whatever its link is. Raises TemplateProblem."""
        files = self._files(invitation.customer.brand, tuple(texts.parts.values()))
        values = self.values(texts, invitation, now)
        for column, file in files.needs.items():
            if column not in values[MESSAGE]:
                raise TemplateProblem(f"{file}: shows {MESSAGE}.{column}, which the customer does not have")
        parts = self._filled(texts, values) if files.only_show else self._rendered(texts, values)
        subject = plain(parts.get("subject.txt", ""), most=SUBJECT_LENGTH)
        if "subject.txt" in parts and not subject:
            raise TemplateProblem(f"{texts.parts['subject.txt']}: renders no text")
        text = parts.get("body.txt") or parts.get("sms.txt") or parts.get(CONTENT) or ""
        if CONTENT in parts:
            try:
                content_of(text)
            except NotContent as error:
                raise TemplateProblem(f"{texts.parts[CONTENT]}: {error}") from None
        charged = segments(text).count if "sms.txt" in parts else 1
        return Message(
            key=invitation.key,
            at=invitation.at or now,
            to=address_of(invitation.customer.person, channel),
            language=texts.locale,
            subject=subject,
            text=text,
            html=parts.get("body.html", ""),
            valid_for=invitation.expires_at - now,
            brand=invitation.customer.brand,
            digest=files.digest,
            segments=charged,
        )

    @cached_property
    def own_columns(self) -> frozenset[str]:
        """The columns of lists that the operator's files use, each NAME of `message.NAME`."""
        found: set[str] = set()
        for name in self.library.own:
            with suppress(TemplateProblem):
                self.library.template(name)
                found.update(own_columns(self.library.sources[name]))
        return frozenset(found)

    def needs(self, name: str, locale: str, channel: str) -> Mapping[str, str]:
        """The columns of lists without which this message cannot be written, each with the file that shows it and does
        not ask whether there is one."""
        return self._needs(name or DEFAULT, locale, channel) if self.own_columns else {}

    def _find_needs(self, name: str, locale: str, channel: str) -> Mapping[str, str]:
        texts = self._find(name, locale, channel, default=self.locale)
        with suppress(TemplateProblem):  # `checks.problems` has it, and each message says it
            return self._files("", tuple(texts.parts.values())).needs if texts is not None else {}
        return {}

    def _look_at(self, brand: str, sources: tuple[str, ...]) -> "_Files":
        for source in sources:
            self.library.template(source)  # raises the problem of a file that cannot be used
        files = dict.fromkeys(file for source in sources for file in self.library.chain(source))
        made_from = [self.greeting, self.brands[brand], *((file, self.library.sources[file]) for file in files)]
        digest = sha256(repr(made_from).encode()).hexdigest()[:DIGEST_LENGTH]
        needs = {
            column: file
            for file in files
            for column, (_, careless) in own_columns(self.library.sources[file]).items()
            if careless
        }
        return _Files(all(only_shows(parsed(self.library.sources[file])) for file in files), digest, needs)

    def _filled(self, texts: Texts, values: Mapping[str, Any]) -> dict[str, str]:
        """Each part, from what is prepared: its text in pieces, of which every second is the name of a value."""
        # What a text with marks depends on: all other values, and which personal values there are.
        there = tuple(map(bool, _personal(values)))
        own = values[MESSAGE]
        key = (*texts.parts.values(), _others(values), there, *values[VENDOR].items(), *own)
        prepared = self._prepared.get(key)
        if prepared is None:
            marks: dict[str, Any] = {name: f"\ue000{name}\ue001" for name in PERSONAL if values[name]}
            marks[MESSAGE] = {name: f"\ue000{MESSAGE}.{name}\ue001" for name in own}
            made = self._rendered(texts, {**values, **marks})
            prepared = {part: _MARK.split(text) for part, text in made.items()}
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            self._prepared[key] = prepared
        if own:
            values = {**values, **{f"{MESSAGE}.{name}": value for name, value in own.items()}}
        parts = {}
        for part, pieces in prepared.items():
            text, names = pieces.copy(), pieces[1::2]
            if part.endswith(".html"):  # escaped as Jinja's autoescape does
                text[1::2] = [str(escape(values[name])) for name in names]
            else:
                text[1::2] = [values[name] for name in names]
            parts[part] = "".join(text)
            if len(parts[part]) > OUTPUT_LENGTH:
                raise too_long(texts.parts[part])
        return parts

    def _rendered(self, texts: Texts, values: Mapping[str, Any]) -> dict[str, str]:
        """Each part. A text has no blank lines at its ends, and not several in a row, which conditions leave behind."""
        made = {part: rendered(self.library.template(source), values) for part, source in texts.parts.items()}
        return {
            part: (text if part.endswith(".html") else BLANK_LINES.sub("\n\n", text.replace("\r\n", "\n"))).strip()
            for part, text in made.items()
        }


def rendered(template: Template, variables: Mapping[str, object]) -> str:
    """The rendered text, at most OUTPUT_LENGTH characters. Raises TemplateProblem.

    Jinja's own message may quote a value, so the problem names only the type of the error.
    """
    pieces: list[str] = []
    length = 0
    try:
        source = template.root_render_func(template.new_context(dict(variables)))
        while length <= OUTPUT_LENGTH and (some := list(islice(source, PIECES))):
            length += sum(map(len, some))
            pieces += some
    except Exception as error:
        raise TemplateProblem(f"{template.name}: does not render ({type(error).__name__})") from None
    if length > OUTPUT_LENGTH:
        raise too_long(str(template.name))
    return "".join(pieces)


def too_long(name: str) -> TemplateProblem:
    return TemplateProblem(f"{name}: renders more than {OUTPUT_LENGTH // 1024} KiB")


def only_shows(node: nodes.Node, *, may_be_shown: bool = False) -> bool:
    """True if the file, or this part of it, shows personal values, or asks whether there are any, and does nothing else
    with them."""
    children, in_them = node.iter_child_nodes(), False
    match node:
        case nodes.Getattr() | nodes.Getitem() if name_of(node, of=MESSAGE):
            return may_be_shown
        case nodes.Name():
            return may_be_shown or node.name not in PERSONAL
        case nodes.If() | nodes.CondExpr():
            if not only_shows(node.test, may_be_shown=True):
                return False
            children = (child for child in children if child is not node.test)
            in_them = may_be_shown and isinstance(node, nodes.CondExpr)
        case nodes.Output():
            in_them = True
        case nodes.And() | nodes.Or() | nodes.Not():
            in_them = may_be_shown
    return all(only_shows(child, may_be_shown=in_them) for child in children)
