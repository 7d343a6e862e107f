"""Checks a line: its cells become a customer, or the list of all their problems. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from worker.core.customers.customers import PERSONAL, Channel, Customer, FieldProblem, Person, invitation_channels
from worker.core.customers.refusals import Refusal
from worker.core.model.channels import CHANNELS
from worker.core.model.placeholders import NAMES, real_name, real_names
from worker.lists import contacts, rules
from worker.lists.cells import as_text
from worker.lists.columns import shown
from worker.lists.identity import customer_id
from worker.lists.lines import Accepted, Rejected, unless_lost_in_sheet
from worker.lists.options import ListOptions
from worker.lists.parameters import put, storable

_UNKNOWN = tuple(field.default for field in fields(Person))
_ADDRESSES = {"email": "an email address", "phone": "a phone number"}
_LONGEST_CELL = 20_000
_NOT_STORABLE = Refusal(
    "it contains a NUL character or half of a surrogate pair", "type it again without control characters"
)


def accept(row: int, cells: Mapping[str, Any], options: ListOptions) -> Accepted | Rejected:
    """Check one line. `cells` are by our column names: text, or another value from JSON or a workbook."""
    problems: list[FieldProblem] = []
    values: dict[str, Any] = {}
    later: dict[str, str] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for column, cell in cells.items():
        if cell is None:
            continue
        rule = rules.RULES.get(column)
        if rule is None and "." in column:
            problem = _read_parameter(parameters, column, cell, options)
            if problem:
                problems.append(problem)
            continue
        text = cell.strip() if type(cell) is str and "#" not in cell else as_text(cell, column)
        if column in options.values and type(text) is str:
            text = options.values[column].get(text.casefold(), text)
        if not text:
            continue
        if isinstance(text, Refusal):
            problems.append(text.at(column))
        elif len(text) > _LONGEST_CELL:
            problems.append(
                Refusal(
                    f"{len(text):,} characters, more than {_LONGEST_CELL:,}", "look for a quote that is not closed"
                ).at(column)
            )
        elif rule is not None:
            value = rule(text)
            if type(value) is Refusal:
                problems.append(value.at(column))
            else:
                values[column] = value
        elif column in rules.READ_LAST:
            later[column] = text
        else:
            problems.append(FieldProblem(shown(column), "an unknown column", "leave it out, or check its name"))
    country = values.get("country", "")
    country_is_wrong = bool(problems) and any(problem.column == "country" for problem in problems)
    if "phone" in later:
        # Of a national number whose country is wrong, only what is wrong in every country can be said.
        read = contacts.phone_of_any_country if country_is_wrong else contacts.phone
        _keep(values, problems, "phone", read(later["phone"], country))
    if "date_of_birth" in later:
        _keep(
            values, problems, "date_of_birth", rules.date_of_birth(later["date_of_birth"], options.today, options.dates)
        )
    if not problems or not any(problem.column == "customer_id" for problem in problems):
        own = later.get("customer_id", "")
        kept = customer_id(own, hash_ids=options.hash_ids, phone=values.get("phone", ""), country=country)
        _keep(values, problems, "customer_id", kept)
    left_out = (*_left_out(values, problems, options.defaults), *_without_no_names(values))
    channel = _channel(values, problems)
    if not problems:
        return Accepted(row, _customer(values, channel, parameters), left_out)
    if_used = left_out + tuple(problem for problem in problems if problem.column in options.if_used)
    refusing = tuple(problem for problem in problems if problem.column not in options.if_used)
    if refusing:
        own_id = values.setdefault("customer_id", "")
        if country_is_wrong:
            values["phone"] = ""
        return Rejected(row, own_id, refusing, if_used, _customer(values, channel, parameters))
    return Accepted(row, _customer(values, channel, parameters), if_used)


def _left_out(
    values: dict[str, Any], problems: list[FieldProblem], defaults: Mapping[str, str]
) -> tuple[FieldProblem, ...]:
    """Take the problems out that refuse no line; their cells count as empty."""
    found = tuple(problem for problem in problems if problem.column in rules.LEFT_OUT)
    for problem in found:
        problems.remove(problem)
        default = rules.RULES[problem.column](defaults.get(problem.column, ""))
        if not isinstance(default, Refusal):
            values[problem.column] = default
    return found


def _without_no_names(values: dict[str, Any]) -> tuple[FieldProblem, ...]:
    """Take the names that are none out of the values; returns why each is none."""
    first, last, company = (values.get(column, "") for column in NAMES)
    if not (first or last or company):
        return ()
    kept = (*real_names(first, last), real_name(company))
    wrong = [column for column, name in zip(NAMES, kept, strict=True) if not name and column in values]
    return tuple(rules.no_name(values.pop(column)).at(column) for column in wrong)


def _keep(values: dict[str, Any], problems: list[FieldProblem], column: str, value: Any) -> None:
    if isinstance(value, Refusal):
        problems.append(value.at(column))
    else:
        values[column] = value


def _read_parameter(
    parameters: dict[str, dict[str, Any]], column: str, cell: Any, options: ListOptions
) -> FieldProblem | None:
    provider, _, name = column.partition(".")
    if isinstance(cell, str):
        cell = cell.strip()
        if not cell:
            return None  # not sent
        cell = unless_lost_in_sheet(cell) or cell
    if isinstance(cell, Refusal):
        return cell.at(column)
    if not storable(cell):
        return _NOT_STORABLE.at(column)
    value, problem = options.check_parameter(provider, name, cell)
    if problem:
        return FieldProblem(column, problem, f"see the parameters of {provider}")
    if not storable(value):  # JSON in a cell
        return _NOT_STORABLE.at(column)
    put(parameters.setdefault(provider, {}), name, value)
    return None


def _channel(values: Mapping[str, Any], problems: list[FieldProblem]) -> Channel:
    """The channel to invite on. A wrong email or phone has its own problem and is not reported as missing too."""
    channel: Channel | None = values.get("channel")
    if channel is None and "email" in values:
        return Channel.EMAIL
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


def _customer(values: dict[str, Any], channel: Channel, parameters: Mapping[str, Mapping[str, Any]]) -> Customer:
    """The customer with these values, which are by column and are used up."""
    person = Person(*map(values.pop, PERSONAL, _UNKNOWN))
    values["channel"] = channel
    return Customer(person=person, parameters=parameters, **values)
