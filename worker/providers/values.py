"""A value that is given for a column or a parameter: why it is refused, in words, also one that a program has written
in another form than it had; a documented parameter's type and bounds, and the reading and checking of its values. And
addresses and links for people who must recognise one, and must not read it: `j…@example.com`, `+370…01`. Pure.

Problems name the bound and never the value: values may be personal.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from onboarding_worker.adapters.strict_json import NoObject, read_list, read_object
from onboarding_worker.core.model.channels import is_mail
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.sessions import Opening


class Refusal(NamedTuple):
    """Why a rule refuses a cell, and what to do. The text describes the value and never repeats it."""

    problem: str
    hint: str = ""

    def at(self, column: str) -> FieldProblem:
        return FieldProblem(column, self.problem, self.hint, unread=True)


def characters(text: str) -> str:
    """The length in words, to describe a value without repeating it."""
    return "1 character" if len(text) == 1 else f"{len(text):,} characters"


AS_TEXT = "format the column as text in the spreadsheet, and enter the value again"
# As a spreadsheet writes a long number into a CSV file, or as text. Ids such as 12E5 are no such number.
_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}")
_LOST = Refusal("a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost", AS_TEXT)


# As a program writes a whole number that it has kept as a float: 1001.0. Neither 1.000 nor 10.1.0 is one for sure.
_FLOAT = re.compile(r"[+-]?(?:(\d{4,})[.,]0+|(\d{1,3})[.,](?:0{1,2}|0{4,}))")


def unless_rewritten(text: str) -> Refusal | None:
    """Why a number or an id is not used that a program has written in another form than it had; None for all others.

    1001.0 and 1001 are one customer, and 4915112345678.0 without its dot is the number of another person."""
    if text[:1].isalpha():  # most ids
        return None
    if _SHORTENED.fullmatch(text):
        return _LOST
    found = _FLOAT.fullmatch(text)
    return written_as_float(found[1] or found[2]) if found else None


def written_as_float(digits: str) -> Refusal:
    """Why a number with a fraction of zeros is not used. `digits`: those before the fraction."""
    shown = digits if len(digits) <= _FEW_DIGITS else masked_phone(digits)
    return Refusal("a whole number that a program has written with .0", f"write the digits alone: {shown}")


_FEW_DIGITS = 6  # that name no person: no phone number is as short


HIDDEN = "•••"


def masked_email(address: str) -> str:
    """The first letter and the domain; "" for no address."""
    local, at, domain = address.rpartition("@")
    if not at:
        return "…" if address else ""
    return f"{local[:1]}…@{domain}"


def masked_phone(number: str) -> str:
    """The country code's first digits and the last two; "" for no number."""
    if not number:
        return ""
    return f"{number[:4]}…{number[-2:]}" if len(number) > 8 else "…"


def masked(channel: str, address: str) -> str:
    return masked_email(address) if is_mail(channel) else masked_phone(address)


def masked_link(link: str) -> str:
    """The link's host: what follows it opens the session. A link of no host is `https://…`."""
    with suppress(ValueError):
        parts = urlsplit(link)
        if parts.hostname:
            return f"{parts.scheme}://{parts.hostname}/…"
    return "https://…"


def masked_opening(opening: Opening) -> Opening:
    """What a customer needs for the session, with nothing in it that opens it."""
    return Opening(
        masked_link(opening.link),
        HIDDEN if opening.digits else "",
        opening.vendor,
        dict.fromkeys(opening.vendor_parameters, HIDDEN),
    )


UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Texts for the reference, about the values that we fill.
NAMED, PERSONAL = "{} (`prefill` name or all)", "{} (`prefill` all)"
EXTERNAL_REF = "column external_ref, else the job's id"
# Zero-width characters that some names need.
JOINERS = {0x200C: None, 0x200D: None}


class Type(StrEnum):
    TEXT = "text"
    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    LIST = "a list"
    RECORDS = "a list of JSON objects"
    OBJECT = "a JSON object"
    CHOICE = "one of a few words"
    DATE = "a date"
    URL = "an https address"
    URI = "an address with its scheme"


@dataclass(frozen=True)
class Parameter:
    """`least` and `most` bound a text's length, a number's value, or the length of each of a list's items.

    `also` is the second type of a parameter with two types; a cell is read as the first type that fits. `pattern`
    must match a whole text, or each item of a list; `shape` describes the pattern for messages. `items` is the most
    items of a list. `fields` are the documented members of an object, or of each object of RECORDS; an object without
    fields accepts any members. `texts_only`: an object of objects of texts. `instead`: the value cannot be given as a
    parameter, and this text names its source. `null`: what null means at the provider; a null of JSON is sent then, and
    else it is an empty cell. Values outside `usual` or below `warn_below` are sent, with a warning.
    `source` is the source of bounds that are not on the provider's own page. `default` is the provider's documented
    default; `filled` is what we send if no value is given. Both are texts for the reference.
    """

    name: str
    type: Type
    least: int | None = None
    most: int | None = None
    also: Type | None = None
    ascii: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""
    shape: str = ""
    items: int | None = None
    nullable: bool = False
    null: str = ""
    fields: tuple["Parameter", ...] = ()
    texts_only: bool = False
    instead: str = ""
    usual: frozenset[str] = frozenset()
    warn_below: int | None = None
    source: str = ""
    default: str = ""
    filled: str = ""

    @cached_property
    def types(self) -> tuple[Type, ...]:
        return (self.type, self.also) if self.also else (self.type,)

    def problem(self, value: Any) -> str | None:
        """The problem of a value that would be sent; None if there is none."""
        if type(value) is str and self.type not in _PYTHON:  # asked for each row of a list
            return self._text_problem(value)
        if value is None:
            return None if self.nullable else "must not be null"
        kind = next((kind for kind in self.types if _fits(kind, value)), None)
        if kind is None:
            return "must be " + " or ".join(self.types)
        match kind:
            case Type.INTEGER | Type.NUMBER:
                return self._out_of_bounds(value, "")
            case Type.LIST | Type.RECORDS if self.items is not None and len(value) > self.items:
                return f"must have at most {self.items} items"
            case Type.RECORDS:
                return self._records_problem(value)
            case Type.LIST:
                if not all(isinstance(item, str) for item in value):
                    return "must be a list of texts"
                return next((problem for item in value if (problem := self._text_problem(item))), None)
            case Type.OBJECT:
                return self._object_problem(value)
            case Type.BOOLEAN:
                return None
            case _:
                return self._text_problem(value)

    def parse(self, cell: Any) -> tuple[Any, str | None]:
        """The value of a list's cell, and its problem. The caller leaves out empty cells.

        A value that is not a text comes from JSON, from an event or from a spreadsheet's numbers, and has its type.
        """
        if cell is None:
            return None, None if self.null else "is empty; leave the cell out"
        if not isinstance(cell, str):
            whole = isinstance(cell, float) and cell.is_integer() and Type.INTEGER in self.types
            value = int(cell) if whole else cell
            return value, _rewritten(value) or self.problem(value)
        text = cell.strip()
        if not text:
            return None, "is empty; leave the cell out"
        if text == "null" and self.nullable:
            return None, None
        for kind in self.types:
            value = _read(kind, text, alone=self.also is None)
            if value is not _UNREAD:
                return value, _rewritten(value) or self.problem(value)
        return None, "must be " + " or ".join(self.types)

    def warning_about(self, value: Any) -> str | None:
        """The warning about a valid value; None if there is none."""
        if self.warn_below is not None and isinstance(value, int) and value < self.warn_below:
            return f"is below {self.warn_below}"
        items = value if isinstance(value, list | tuple) else [value]
        if self.usual and any(isinstance(item, str) and item not in self.usual for item in items):
            return "is not a documented name"
        return None

    def _text_problem(self, value: str) -> str | None:
        if not value.isprintable() and not value.translate(JOINERS).isprintable():
            return "must not contain control characters or line breaks"
        if self.ascii and not value.isascii():
            return "must be ASCII"
        if problem := self._out_of_bounds(len(value), " characters"):
            return problem
        if self.choices and value not in self.choices:
            return "must be one of " + ", ".join(self.choices)
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"must be {self.shape}"
        types = self.type, self.also
        if Type.DATE in types and not _is_date(value):
            return "must be a real date as YYYY-MM-DD"
        if Type.URL in types and not _is_address(value, "https"):
            return "must be a valid https address"
        if Type.URI in types and not _is_address(value):
            return "must be a valid address, such as https://www.example.com/done"
        return None

    def _records_problem(self, value: Sequence[Any]) -> str | None:
        for number, item in enumerate(value, start=1):
            if not isinstance(item, Mapping):
                return "must be a list of JSON objects"
            if problem := self._object_problem(item):
                return f"in item {number}: {problem}"
        return None

    def _out_of_bounds(self, size: float, unit: str) -> str | None:
        if self.least is not None and size < self.least:
            return f"must be at least {self.least}{unit}"
        if self.most is not None and size > self.most:
            return f"must be at most {self.most}{unit}"
        return None

    def _object_problem(self, value: Mapping[str, Any]) -> str | None:
        known = {member.name: member for member in self.fields}
        for name, inner in value.items():
            if known and name not in known:
                return f"must have no fields but {', '.join(known)}"
            if known and (problem := known[name].problem(inner)):
                return f"{name} {problem}"
            is_texts = isinstance(inner, Mapping) and all(isinstance(one, str) for one in inner.values())
            if self.texts_only and not is_texts:
                return "must be an object of objects of texts: {step: {field: value}}"
        return None


def _rewritten(value: Any) -> str | None:
    """Why a text, or one of a list's, is not used that a program has written in another form than it had."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if isinstance(text, str) and (why := unless_rewritten(text)):
            return f"must not be {why.problem}; {why.hint}"
    return None


_UNREAD = object()
_PYTHON: Mapping[Type, tuple[type, ...]] = {
    Type.INTEGER: (int,),
    Type.NUMBER: (int, float),
    Type.BOOLEAN: (bool,),
    Type.LIST: (list, tuple),
    Type.RECORDS: (list, tuple),
    Type.OBJECT: (Mapping,),
}


def _fits(kind: Type, value: Any) -> bool:
    if isinstance(value, bool):  # in Python a bool is an int too
        return kind is Type.BOOLEAN
    return isinstance(value, _PYTHON.get(kind, (str,)))


def _read(kind: Type, text: str, *, alone: bool) -> Any:
    """`text` as `kind`, or _UNREAD if it does not look like that type. `alone`: the parameter has no other type."""
    match kind:
        case Type.BOOLEAN:
            return text.lower() == "true" if text.lower() in ("true", "false") else _UNREAD
        case Type.INTEGER:
            # Spreadsheets save 600 as 600.0.
            return int(text.partition(".")[0]) if re.fullmatch(r"[+-]?\d{1,15}(\.0+)?", text, re.ASCII) else _UNREAD
        case Type.NUMBER:
            return (
                float(text)
                if re.fullmatch(r"[+-]?\d{1,15}\.\d{1,15}", text, re.ASCII)
                else _read(Type.INTEGER, text, alone=True)
            )
        case Type.OBJECT:
            return _strict(read_object(_raw(text))) if text.startswith("{") else _UNREAD
        case Type.RECORDS:
            return _strict(read_list(_raw(text))) if text.startswith("[") else _UNREAD
        case Type.LIST if text.startswith("["):
            return _strict(read_list(_raw(text)))
        case Type.LIST:
            items = [item for item in (part.strip() for part in text.split(";")) if item]
            return items if alone or ";" in text else _UNREAD
        case _:
            return text


def _raw(text: str) -> bytes:
    # Half of a surrogate pair becomes bytes that are no UTF-8, and is refused as such.
    return text.encode("utf-8", "surrogatepass")


def _strict(found: Any) -> Any:
    return _UNREAD if isinstance(found, NoObject) else found


def _is_date(value: str) -> bool:
    with suppress(ValueError):
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII) and date.fromisoformat(value))
    return False


def _is_address(value: str, scheme: str = "") -> bool:
    """Whether it is an address with a host: of this scheme, if one is given."""
    with suppress(ValueError):
        parts = urlsplit(value)
        fits = parts.scheme == scheme if scheme else bool(parts.scheme)
        return fits and bool(parts.hostname) and " " not in value and (parts.port or 1) > 0
    return False


def wrong_ours(
    ours: Iterable[tuple[str, str, Any]],
    parameters: Mapping[str, Parameter],
    whose: str,
    hints: Mapping[str, str] = MappingProxyType({}),
) -> list[FieldProblem]:
    """What the provider would refuse of our values, each given as its column, its parameter and itself."""
    return [
        FieldProblem(column, f"{problem} ({whose} {name})", hints.get(name, "correct it, or leave it out"))
        for column, name, value in ours
        if (problem := parameters[name].problem(value))
    ]


@lru_cache(maxsize=1024)
def language_of(locale: str, known: Collection[str]) -> str:
    """The provider's code of the locale's language, if it is one of `known`; else ""."""
    language, *rest = locale.lower().replace("_", "-").split("-")
    if language == "zh" and {"tw", "hant", "hk"} & set(rest) and "zh_tw" in known:
        return "zh_tw"
    language = "no" if language in ("nb", "nn") else language
    return language if language in known else ""
