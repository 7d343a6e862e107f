"""What a row of a report that comes back has changed about a customer: its cells against what is stored. Pure. An empty
cell says nothing, so a report without details erases none; nor does a word for nothing. A cell that a spreadsheet or we
have rewritten says nothing either, as long as it can be what is stored: a mask, a date in another form, a number
without its plus sign."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from onboarding_worker.core.model.channels import ADDRESSES, channels_of
from onboarding_worker.core.model.customers import PERSONAL, UPDATABLE, Details, FieldProblem, Person, with_own
from onboarding_worker.lists import own_columns, phone_numbers, rules
from onboarding_worker.lists.cells import as_text
from onboarding_worker.lists.dates import DateForm, date_of_birth, readings
from onboarding_worker.lists.same_person import Match, compare
from onboarding_worker.providers.values import Refusal, masked_email, masked_phone
from onboarding_worker.templates.no_values import is_no_value, real_name, real_names
from onboarding_worker.templates.values import NAMES

OF_ROW = ("customer_id", "purpose", "account", "brand")  # what a report says of a row itself
LONGEST_CELL = 2_000  # characters; no value of a customer is nearly as long, and reading it takes time
_NOT_PERSONAL = tuple(column for column in UPDATABLE if column not in PERSONAL)
_FIXED = "a report cannot change it for a customer who is known"


@dataclass(frozen=True, repr=False)
class Correction:
    """The columns that are to change, with their new values. Personal, so it has no repr. `kept`: the names, the
    country, the locale and the time zone that the row says as they are stored."""

    values: Mapping[str, Any]
    kept: Collection[str] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        own = sorted(column for column in self.values if own_columns.is_own(column))
        return (*(column for column in UPDATABLE if column in self.values), *own)

    @property
    def addresses(self) -> dict[str, str]:
        """The new addresses by channel."""
        given = [column for column in ADDRESSES if column in self.values]
        return {channel: self.values[column] for column in given for channel in channels_of(column)}

    def of(self, stored: Details) -> "Correction":
        """Without the columns that are stored like this already."""
        return replace(self, values={name: value for name, value in self.values.items() if value != stored.get(name)})

    def applied(self, stored: Details) -> Details:
        """What is stored then. Of another person only what was changed, and `kept`, which two persons may well share:
        any other cell that is as it was is the first one's."""
        if not self.is_of_another(stored):
            return self._beside(stored)
        kept = {name: stored.get(name) for name in self.kept}
        person = Person(**{name: value for name, value in kept.items() if name in PERSONAL})
        others = {name: value for name, value in kept.items() if name not in PERSONAL}
        return self._beside(Details(person, **others, kind=stored.kind))

    def _beside(self, stored: Details) -> Details:
        personal = {column: value for column, value in self.values.items() if column in PERSONAL}
        own = ((column, value) for column, value in self.values.items() if own_columns.is_own(column))
        for_messages = {column.removeprefix(own_columns.PREFIX): value for column, value in own}
        others = {column: self.values[column] for column in _NOT_PERSONAL if column in self.values}
        return replace(stored, **others, person=with_own(replace(stored.person, **personal), for_messages))

    def is_of_another(self, stored: Details) -> bool:
        """Whether nothing is left of the person who is stored."""
        return compare(stored.person, self._beside(stored).person, stored.kind) is Match.ANOTHER


def correction_of(
    cells: Mapping[str, Any],
    stored: Details,
    *,
    today: date,
    dates: DateForm | None = None,
    mail_domains: Collection[str] = (),
) -> tuple[Correction, tuple[FieldProblem, ...]]:
    """What the cells change, and what is wrong with them. `dates`: the form of the file's dates. `mail_domains`: see
    `ListOptions`."""
    read = {column: as_text(cell, column) for column, cell in cells.items() if cell is not None}
    # A workbook's cell may be one that cannot be read, such as a number with lost digits.
    problems = [text.at(column) for column, text in read.items() if isinstance(text, Refusal)]
    given = {column: text for column, text in read.items() if isinstance(text, str) and text}
    names = _names(given, stored)
    given = {column: text for column, text in given.items() if names.get(column) != "" or not is_no_value(text)}
    changed: dict[str, Any] = {}
    for column, text in given.items():
        if column in OF_ROW:
            continue
        if column == "kind" and text.lower() == stored.kind.value:
            continue
        if column not in UPDATABLE and not own_columns.is_own(column):
            problems.append(FieldProblem(column, _FIXED, "leave the cell empty"))
            continue
        if len(text) > LONGEST_CELL:
            problems.append(FieldProblem(column, f"more than {LONGEST_CELL:,} characters", "shorten it"))
            continue
        if _says_what_is_stored(column, text, stored):
            continue
        if own_columns.is_own(column):
            value: Any = own_columns.value_of(text, mail_domains)
        else:
            value = _read(column, text, given, stored, today=today, dates=dates)
        if column in NAMES and isinstance(value, str) and not names[column]:
            value = rules.no_name(value)
        if isinstance(value, Refusal):
            problems.append(value.at(column))
        elif value != stored.get(column):
            changed[column] = value
    kept = tuple(column for column in (*NAMES, *_NOT_PERSONAL) if given.get(column) and column not in changed)
    return Correction(changed, kept), tuple(problems)


def guessed_letters(correction: Correction) -> tuple[FieldProblem, ...]:
    """The new values whose letters depend on an encoding that the file does not say."""
    return tuple(
        FieldProblem(column, "letters in an unknown encoding", "save the file as CSV UTF-8, or give --encoding")
        for column in correction.columns
        if not str(correction.values[column]).isascii()
    )


def _names(given: Mapping[str, str], stored: Details) -> dict[str, str]:
    """The names as they would be then; "" for one that is none."""
    first, last, company = (given.get(column) or stored.shown(column) for column in NAMES)
    return dict(zip(NAMES, (*real_names(first, last), real_name(company)), strict=True))


def _says_what_is_stored(column: str, text: str, stored: Details) -> bool:
    known = stored.shown(column)
    if text == known:
        return True
    match column:
        case "email":
            return bool(known) and text == masked_email(known)
        case "phone":
            return bool(known) and text in (masked_phone(known), known.removeprefix("+"))
        case "date_of_birth":
            return stored.person.date_of_birth in readings(text)
        case _:  # a spreadsheet may have saved the stored text in an encoding that has not all of its letters
            return len(text) == len(known) and all(
                ours == theirs or (theirs == "?" and not ours.isascii())
                for ours, theirs in zip(known, text, strict=True)
            )


def _read(
    column: str, text: str, given: Mapping[str, str], stored: Details, *, today: date, dates: DateForm | None
) -> Any:
    if column == "phone":
        country = rules.country(given["country"]) if given.get("country") else stored.country
        return phone_numbers.phone(text, country if isinstance(country, str) else stored.country)
    if column == "date_of_birth":
        return date_of_birth(text, today, dates)
    rule: Callable[[str], Any] = rules.RULES[column]
    return rule(text)
