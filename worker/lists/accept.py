"""Checks a line: its cells become a customer, or the list of all their problems. Its id appears in logs and reports, so
it must not be personal data. Pure."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache, partial
from typing import Any

import phonenumbers

from onboarding_worker.adapters.strict_json import has_unstorable_text
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import (
    PERSONAL,
    Channel,
    Customer,
    FieldProblem,
    Person,
    invitation_channels,
)
from onboarding_worker.lists import own_columns, phone_numbers, rules
from onboarding_worker.lists.cells import counts_as_empty, empty_word, means_nothing, text_of
from onboarding_worker.lists.columns import shown
from onboarding_worker.lists.dates import date_of_birth
from onboarding_worker.lists.lines import AcceptedLine, PlainRows, RefusedLine
from onboarding_worker.lists.options import SESSION, ListOptions
from onboarding_worker.providers.values import Refusal, characters, unless_rewritten
from onboarding_worker.templates.no_values import PLAIN, STARTS, is_no_value, real_name, real_names
from onboarding_worker.templates.values import NAMES

LONGEST_ID = 100
_LONGEST_HASHED = 1000
_LOOKS_LIKE_EMAIL = re.compile(r"\S+@\S+")
_LOOKS_LIKE_PHONE = re.compile(r"[+(](?=(?:\D*\d){7,15}\D*\Z)[\d\s().\-/]+\Z")
_PLAIN_NUMBER = re.compile(r"\d[\d\s().\-/]{6,24}\Z")
_NOT_A_DIGIT = re.compile(r"\D")
_HINT = "give another id, or use --hash-ids to keep only a hash of it"

_UNKNOWN = tuple(field.default for field in fields(Person) if field.name in PERSONAL)
_ADDRESSES = {"email": "an email address", "phone": "a phone number"}
_EMAIL = Channel.EMAIL  # a member of an enumeration takes its time to find
_USUAL = {"customer_id", "email"}
_LONGEST_CELL = 20_000
_PLAIN_ID = re.compile(r"[A-Za-z][!-?A-~]{0,98}[0-9]\Z")  # in which `customer_id` finds nothing to refuse
_NOT_STORABLE = Refusal(
    "it contains a NUL character or half of a surrogate pair", "type it again without control characters"
)


def customer_id(text: str, *, hash_ids: bool, phone: str, country: str) -> str | Refusal:
    """The id as it is stored. `phone` (E.164) and `country` are the line's, empty where it has none.

    With `hash_ids` every id is hashed, so that the stored id depends only on the list's id.
    """
    if not text:
        return Refusal("it is empty", "give each customer an id of your own that stays the same")
    if lost := unless_rewritten(text):
        return lost
    if is_no_value(text):  # all customers without an id would be one
        return Refusal("a word or a sign for no value", "give each customer an id of your own that stays the same")
    if hash_ids:
        return _hashed(text)
    if not (text.isascii() and text.isprintable()):
        return rules.not_ascii(text, "use letters, digits and punctuation, or use --hash-ids")
    if len(text) > LONGEST_ID:
        return Refusal(f"{characters(text)}, more than {LONGEST_ID}", "use a shorter id, or use --hash-ids")
    if "@" in text and _LOOKS_LIKE_EMAIL.search(text):
        return Refusal("it looks like an email address", _HINT)
    if text[:1].isalpha():
        return text
    if _LOOKS_LIKE_PHONE.match(text) or (_PLAIN_NUMBER.match(text) and _is_phone(text, phone, country)):
        return Refusal("it looks like a phone number", _HINT)
    return text


def _is_phone(number: str, phone: str, country: str) -> bool:
    """Plain numbers are the most common ids, so they count as phone numbers only if the line's phone or country says
    so."""
    digits = _NOT_A_DIGIT.sub("", number).lstrip("0")
    if phone and len(digits) >= 7 and phone.endswith(digits):
        return True
    if not (number.startswith("0") and country):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, country))
    except phonenumbers.NumberParseException:
        return False


def _hashed(text: str) -> str | Refusal:
    if len(text) > _LONGEST_HASHED:
        return Refusal(f"{characters(text)}, more than {_LONGEST_HASHED:,}", "use a shorter id")
    # Email addresses are equal in upper and lower case; other ids may differ by case.
    stable = text.lower() if "@" in text else text
    return "h-" + hashlib.sha256(stable.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def accept(
    row: int, cells: Mapping[str, Any] | FieldProblem, options: ListOptions, further: tuple[FieldProblem, ...] = ()
) -> AcceptedLine | RefusedLine:
    """Check one line. `cells` are by our column names: text, or another value from JSON or a workbook. `further`: the
    problems that its reader found."""
    if isinstance(cells, FieldProblem):
        return RefusedLine(row, "", (cells,))
    problems: list[FieldProblem] = []
    left_out: list[FieldProblem] = []  # they refuse no line: their cells count as empty
    values: dict[str, Any] = {}
    later: dict[str, str] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for_messages: dict[str, str] = {}
    are_names = True
    is_usual = not (further or options.defaults or options.hash_ids)  # and all cells: then nothing below finds anything
    for column, cell in cells.items():
        if type(cell) is str and column not in options.values:  # most cells are good, and as most lists have them
            if not cell:
                continue
            plain = _PLAIN_VALUES.get(column)
            if plain is not None and (known := plain(cell)) is not None:
                values[column] = known
                continue
        is_usual = False
        rule = rules.RULES.get(column)
        is_own = rule is None and "." in column and own_columns.is_own(column)
        if rule is None and "." in column and not is_own:
            if problem := _read_parameter(parameters, column, cell, options):
                (left_out if empty_word(problem) else problems).append(problem)
            continue
        if cell is None:
            continue
        is_plain = type(cell) is str and cell[:1] in PLAIN and (column in NAMES or cell.isascii())
        text = cell.strip() if is_plain else text_of(cell, column)
        if column in options.values and type(text) is str and text.casefold() in options.values[column]:
            text, cell = options.values[column][text.casefold()], None
        if type(text) is str and (text[:1] not in PLAIN or text[:3] in STARTS) and means_nothing(text, column):
            left_out += counts_as_empty(column, cell)
            continue
        if isinstance(text, Refusal):
            value: Any = text
        elif len(text) > _LONGEST_CELL:
            value = Refusal(f"{characters(text)}, more than {_LONGEST_CELL:,}", "look for a quote that is not closed")
        elif rule is not None:
            value = rule(text)
        elif column in rules.READ_LAST:
            later[column] = text
            continue
        elif is_own:
            value = own_columns.add(for_messages, column, text, options.mail_domains)
        else:
            value = Refusal("an unknown column", "leave it out, or check its name")
            column = shown(column)
        if type(value) is Refusal:
            refuses = column not in rules.LEFT_OUT and value is not own_columns.NO_VALUE
            (problems if refuses else left_out).append(value.at(column))
        elif not is_own:
            values[column] = value
            are_names = are_names and column not in NAMES
    if is_usual and "channel" not in values and values.keys() >= _USUAL:
        person = Person(*map(values.pop, PERSONAL, _UNKNOWN))
        return AcceptedLine(row, Customer(person=person, channel=_EMAIL, **values))
    for column, default in options.defaults.items():
        value = rules.RULES[column](default)
        if not isinstance(value, Refusal) and all(problem.column != column for problem in problems):
            values.setdefault(column, value)
    country = values.get("country", "")
    wrong = {problem.column for problem in problems} if problems else ()
    country_is_wrong = "country" in wrong
    last: dict[str, Any] = {}
    if "phone" in later:
        # Of a national number whose country is wrong, only what is wrong in every country can be said.
        read = phone_numbers.phone_of_any_country if country_is_wrong else phone_numbers.phone
        last["phone"] = read(later["phone"], country)
    if "date_of_birth" in later:
        last["date_of_birth"] = date_of_birth(later["date_of_birth"], options.today, options.dates)
    if "customer_id" not in wrong and (options.hash_ids or "customer_id" not in values):
        own, phone = later.get("customer_id") or values.get("customer_id", ""), last.get("phone", "")
        phone = "" if isinstance(phone, Refusal) else phone
        last["customer_id"] = customer_id(own, hash_ids=options.hash_ids, phone=phone, country=country)
    for column, value in last.items():
        if type(value) is Refusal:
            problems.append(value.at(column))
        else:
            values[column] = value
    if not are_names or options.defaults:
        left_out += _without_no_names(values)
    channel = _channel(values, problems)
    refusing, if_used = tuple(problems), tuple(left_out)
    if problems:
        if_used += tuple(problem for problem in problems if problem.column in options.if_used)
        refusing = tuple(problem for problem in problems if problem.column not in options.if_used)
    refusing = further + refusing
    own_id = values.setdefault("customer_id", "")
    if refusing and country_is_wrong:
        values["phone"] = ""
    # The values are by column, and are used up.
    person = Person(*map(values.pop, PERSONAL, _UNKNOWN))
    if for_messages:
        person.message = for_messages
    values["channel"] = channel
    customer = Customer(person=person, parameters=parameters, **values)
    if refusing:
        return RefusedLine(row, own_id, refusing, if_used=if_used, rest=customer)
    return AcceptedLine(row, customer, if_used=if_used)


def _plain_value(column: str, cell: str) -> Any:
    """The value of a good cell; None: `accept` looks closer at it."""
    text, is_name = cell.strip(), column in NAMES
    begins_plainly = cell[:1] in PLAIN or (is_name and cell[:1].isalpha())
    if not (begins_plainly and (is_name or cell.isascii())) or len(text) > rules.LONGEST_ADDRESS:
        return None
    if text[:3] in STARTS and means_nothing(text, column):
        return None
    value = rules.RULES[column](text)
    return None if type(value) is Refusal or (is_name and not real_name(value)) else value


# By column, also those whose cells are mostly the same few, or names that many people have.
_PLAIN_VALUES: dict[str, Callable[[str], Any]] = {
    column: lru_cache(maxsize=1 << 13)(partial(_plain_value, column))
    for column in rules.RULES.keys() - {"address", "entity_id", "external_ref"}
}
_PLAIN_VALUES["email"] = lambda cell: cell if rules.PLAIN_EMAIL.match(cell) else None
_PLAIN_VALUES["customer_id"] = lambda cell: cell if _PLAIN_ID.match(cell) else None


_NEEDED = ("customer_id", "email")
_PLAIN: Mapping[str, Callable[[str], Any]] = {
    **_PLAIN_VALUES,
    "customer_id": _PLAIN_ID.match,
    "email": rules.PLAIN_EMAIL.match,
    "channel": {_EMAIL.value: _EMAIL}.get,
}
_DEFAULTS = {field.name: field.default for field in (*fields(Person), *fields(Customer))} | {"channel": _EMAIL}


def plain_rows(first: int, cells: Mapping[str, Sequence[str]], options: ListOptions) -> tuple[PlainRows, set[int]]:
    """Rows below each other, from their cells by column; and which of them `accept` must look at. It would accept the
    others, with the same values."""
    rows = range(first, first + len(cells["customer_id"]))
    values: dict[str, Sequence[Any]] = {"channel": [_EMAIL] * len(rows)}
    is_usual = "email" in cells and not (options.defaults or options.hash_ids or cells.keys() & options.values.keys())
    closer = set[int]() if is_usual else {*rows}
    for column, each in cells.items() if is_usual else ():
        if column not in _PLAIN:
            closer.update(row for row, cell in zip(rows, each, strict=True) if cell)
            continue
        known = [*map(_PLAIN[column], each)]
        values[column] = each if column in _NEEDED else known
        for place, value in enumerate(known) if not all(known) else ():
            if value is None and (each[place] or column in _NEEDED):
                closer.add(rows[place])
            elif value is None:
                known[place] = _DEFAULTS[column]
    return PlainRows(rows, values), closer if 4 * len(closer) < len(rows) else {*rows}


def _without_no_names(values: dict[str, Any]) -> list[FieldProblem]:
    """Take the names that are none out of the values; returns why each is none."""
    first, last, company = (values.get(column, "") for column in NAMES)
    kept = (*real_names(first, last), real_name(company))
    found: list[FieldProblem] = []
    for column, name in zip(NAMES, kept, strict=True):
        if not name and (none := values.pop(column, "")):
            found += counts_as_empty(column, none) if is_no_value(none) else (rules.no_name(none).at(column),)
    return found


def _read_parameter(
    parameters: dict[str, dict[str, Any]], column: str, cell: Any, options: ListOptions
) -> FieldProblem | None:
    provider, _, name = column.partition(".")
    hint = f"see the parameters of {provider}"
    if isinstance(cell, str):
        text = text_of(cell, column)
        if column in options.values and isinstance(text, str) and text.casefold() in options.values[column]:
            text, cell = options.values[column][text.casefold()], None
        if isinstance(text, str) and means_nothing(text, column):
            return next(iter(counts_as_empty(column, cell)), None)  # not sent
        cell = text
    if provider == SESSION:
        column, hint = f"{SESSION}_{name}", "see docs/how-to/adopt.md"
    if isinstance(cell, Refusal):
        return cell.at(column)
    if has_unstorable_text(cell):
        return _NOT_STORABLE.at(column)
    value, problem = options.check_parameter(provider, name, cell)
    if problem and (cell is None or (isinstance(cell, str) and is_no_value(cell))):
        return next(iter(counts_as_empty(column, cell)), None)
    if problem:
        return FieldProblem(column, problem, hint)
    if has_unstorable_text(value):  # JSON in a cell
        return _NOT_STORABLE.at(column)
    *outer, last = name.split(".")  # `a.b` is `b` inside `a`; the header's check excludes clashes
    holder = parameters.setdefault(provider, {})
    for part in outer:
        holder = holder.setdefault(part, {})
    holder[last] = value
    return None


def _channel(values: Mapping[str, Any], problems: list[FieldProblem]) -> Channel:
    """The channel to invite on. A wrong email or phone has its own problem and is not reported as missing too."""
    channel: Channel | None = values.get("channel")
    if channel is None and "email" in values:
        return _EMAIL
    if channel is Channel.NONE:
        return channel
    wrong = {problem.column for problem in problems}
    if channel is None:
        if "phone" in values:
            return Channel.SMS
        if not wrong & {"email", "phone", "channel"}:
            hint = "fill in email or phone, or set channel to none"
            problems.append(FieldProblem("channel", "neither an email address nor a phone number", hint))
        return Channel.NONE
    needed = dict.fromkeys(CHANNELS[name].address for name in invitation_channels(channel))
    for column in needed:
        if column not in values and column not in wrong:
            why = f"it needs {_ADDRESSES[column]}, but {column} is empty"
            problems.append(FieldProblem("channel", why, f"fill in {column}"))
    return channel
