"""What an import would make of a list's rows, counted: for `check`, for the person who approves, and for --strict."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from operator import attrgetter
from typing import Any

from onboarding_worker.core.model.channels import ADDRESSES, CHANNELS
from onboarding_worker.core.model.customers import Channel, Customer, FieldProblem, invitation_channels
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.core.rules.text_numbers import country_of
from onboarding_worker.lists.importing.intake import Intake, judge
from onboarding_worker.lists.importing.routing import MOST_KEPT
from onboarding_worker.lists.known_customers import (
    ANOTHER_PERSON,
    AS_USUAL,
    WAS_ERASED,
    KnownChoices,
    owned_by,
    refuses_lists,
)
from onboarding_worker.lists.lines import (
    OWN,
    AcceptedLine,
    Line,
    OldLink,
    PlainRows,
    RefusedLine,
    Returned,
    same_customer,
)
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.refreshed import foreseen, known_among, still_lacking
from onboarding_worker.providers.parameters import parse_cell, unknown_parameter

_AT_ONCE = 1000  # lines in one question to the database
_SMS = Channel.SMS.value
_SAID = attrgetter("channel", "template", "locale", "brand", "country")


@dataclass
class Judged:
    """The counts of a list's rows, before anything is sent."""

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    known: int = 0
    changed: int = 0  # of the accepted: those that change the address of a customer with a live link
    old_links: Counter[OldLink] = field(default_factory=Counter)  # that these old addresses have
    routes: dict[str, int] = field(default_factory=dict)
    unsent: dict[str, int] = field(default_factory=dict)  # of the rows, by account: those that ask for no message
    messages: dict[str, int] = field(default_factory=dict)
    # For channels with quiet hours: the number of customers by channel and possible time zones.
    nights: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)  # for a forecast: the texts by country
    # For a forecast: the texts by template, language and brand, so their lengths; 0: only a fallback uses it.
    wordings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    brands: Counter[str] = field(default_factory=Counter)  # the rows by brand; "": the default one's
    countries: Counter[str] = field(default_factory=Counter)  # for a forecast: the rows by country
    sets: Counter[str] = field(default_factory=Counter)  # the rows that set each column that needs a right
    # For a forecast: the rows by channel, template, language and brand.
    spoken: Counter[tuple[Channel, str, str, str]] = field(default_factory=Counter)
    # Rows by their channels, and by the other channels on which they have an address.
    reach: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)


def options_of(intake: Intake, *, mapping: Mapping[str, str] | None = None, **how: Any) -> ListOptions:
    """How rows of lists and events are read by this configuration. `how` and `mapping`: a command's options."""
    return ListOptions(
        today=intake.clock().date(),
        mapping={**intake.columns, **(mapping or {})},
        values=intake.values,
        check_parameter=parse_cell,
        known_parameter=unknown_parameter,
        mail_domains=intake.mail_domains,
        **how,
    )


def judge_chunk(
    intake: Intake, lines: Sequence[Line], report: ReturnedReport | None
) -> list[AcceptedLine | RefusedLine]:
    """Judge these lines; those of a report are settled, in their order."""
    returned = [line for line in lines if isinstance(line, Returned)]
    if report is None or not returned:
        return [judge(intake, line) for line in lines]
    settled = iter(report.settle(returned))
    return [next(settled) if isinstance(line, Returned) else judge(intake, line) for line in lines]


def judge_all(
    intake: Intake,
    batches: Batches,
    lines: Iterable[Line],
    choices: KnownChoices = AS_USUAL,
    *,
    report: ReturnedReport | None = None,
) -> Iterator[AcceptedLine | RefusedLine]:
    """Judge each line of a list as the import does: also by who was erased, and by whose id it is. Changes nothing."""
    each = iter(lines)
    report = report.foreseeing() if report is not None else None
    while chunk := judge_chunk(intake, list(islice(each, _AT_ONCE)), report):
        accepted = [line for line in chunk if isinstance(line, AcceptedLine)]
        erased, beside, others = foreseen(batches, accepted, rule=choices.rule, now=intake.clock())
        known = {one.row: one for one in beside}
        if not (erased or known or others or any([line.lacks for line in accepted])):
            for new in accepted:
                new.is_new = True
            yield from chunk
            continue
        for line in chunk:
            if not isinstance(line, AcceptedLine):
                yield line
            elif line.customer.customer_id in erased and not choices.allow_erased:
                yield line.refused(WAS_ERASED)
            elif lacks := still_lacking(line.lacks, known.get(line.row), batches.wide):
                yield line.refused(*lacks)
            elif (found := known.get(line.row)) is None:
                line.is_new, warning = line.customer.customer_id not in erased, others.get(line.row)
                yield line if warning is None else replace(line, warnings=(*line.warnings, warning))
            elif refuses_lists(found.owner, batches.wide):
                yield line if choices.take_over else line.refused(owned_by(found.owner))
            elif found.is_another and not choices.another_person:
                yield line.refused(ANOTHER_PERSON)
            else:
                # An empty cell erases nothing: the customer is written to in the language that is stored.
                known_as = line.customer if found.is_another else found.merged
                customer = replace(line.customer, country=known_as.country, locale=known_as.locale)
                yield replace(line, customer=customer, old_links=found.links, takes_id=found.is_another)


def judge_together(
    intake: Intake, batches: Batches, found: Iterable[Line | PlainRows], choices: KnownChoices
) -> Iterator[AcceptedLine | RefusedLine | PlainRows]:
    """As `judge_all`, of a list that is no report. Plain rows stay together if nothing is stored of their customers."""
    each, alike = iter(found), _Alike(intake)
    while some := _some(each):
        plain = [one for one in some if isinstance(one, PlainRows)]
        known = known_among(batches, plain, now=intake.clock()) if plain else ()
        parts = list[Line | PlainRows]()
        for one in some:
            if isinstance(one, PlainRows):
                alone = alike.judge(one)
                if known:
                    alone |= {row for row, id_ in zip(one.rows, one.values["customer_id"], strict=True) if id_ in known}
                parts += [one.line(part) if isinstance(part, int) else part for part in one.apart_from(alone)]
            else:
                parts.append(one)
        lines = judge_all(intake, batches, [one for one in parts if not isinstance(one, PlainRows)], choices)
        yield from (one if isinstance(one, PlainRows) else next(lines) for one in parts)


def _some(each: Iterator[Line | PlainRows]) -> list[Line | PlainRows]:
    some, rows = list[Line | PlainRows](), 0
    for one in each:
        some.append(one)
        rows += len(one.rows) if isinstance(one, PlainRows) else 1
        if rows >= _AT_ONCE:
            break
    return some


class _Alike:
    """The groups of a list's plain rows: those of one differ in nothing but `OWN`. Of each, one row is judged."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._judged: dict[Any, tuple[AcceptedLine, Customer, Sequence[Callable[[Customer], Any]] | None]] = {}

    def judge(self, plain: PlainRows) -> set[int]:
        """Judge the rows by their groups. Returns those that must be judged alone."""
        groups = [*zip(*(column for name, column in plain.values.items() if name not in OWN), strict=True)]
        own = (plain.values.get(name, repeat("")) for name in OWN)
        lines, alone = list[AcceptedLine](), set[int]()
        for row, group, customer_id, email, first, last, company in zip(plain.rows, groups, *own, strict=False):
            if group not in self._judged:
                self._judge(group, plain.line(row))
            line, customer, asked = self._judged[group]
            lines.append(line)
            customer.customer_id, person = customer_id, customer.person
            person.email, person.first_name, person.last_name, person.company_name = email, first, last, company
            if asked is None or any([refuses(customer) for refuses in asked]):
                alone.add(row)
        plain.judged = lines
        return alone

    def _judge(self, group: Any, line: AcceptedLine) -> None:
        is_usual = isinstance(judge(self._intake, line), AcceptedLine) and not (line.warnings or line.lacks)
        asked = self._intake.asked_alone(line.customer) if is_usual else None
        if len(self._judged) >= MOST_KEPT:
            self._judged.clear()
        self._judged[group] = line, replace(line.customer, person=replace(line.customer.person)), asked


def count(judged: Judged, line: AcceptedLine | RefusedLine | PlainRows) -> None:
    """Count a line, or several. Accepted ones are counted by `count_accepted` as well."""
    rows = len(line.rows) if isinstance(line, PlainRows) else 1
    judged.total += rows
    if isinstance(line, AcceptedLine | PlainRows):
        judged.accepted += rows
    elif line.duplicate_of is not None:
        judged.duplicate += 1
    elif line.known:
        judged.known += 1
    else:
        judged.rejected += 1


def count_accepted(judged: Judged, groups: Mapping[tuple[Any, ...], int], *, asks: bool = True) -> None:
    """Count for a forecast what so many lines of these groups need. Most lines of a list are in a few of them. `asks`:
    a session is asked for; else only the messages of one that is there are counted."""
    for group, rows in groups.items():
        account, asked, template, locale, brand, country, person, old_links, zones, texted, sets = group
        judged.sets.update(dict.fromkeys(sets, rows))
        judged.changed += rows if old_links else 0
        for link in old_links:
            judged.old_links[link] += rows
        judged.brands[brand] += rows
        channels = invitation_channels(asked)
        if asks:
            judged.routes[account] = judged.routes.get(account, 0) + rows
        if asks and not channels:
            judged.unsent[account] = judged.unsent.get(account, 0) + rows
        for channel in channels:
            judged.messages[channel] = judged.messages.get(channel, 0) + rows
        for night in zones:
            judged.nights[night] += rows
        if texted:
            judged.texts[texted] += rows
        judged.spoken[asked, template, locale, brand] += rows
        judged.countries[country] += rows
        there = dict(zip(ADDRESSES, person, strict=True))
        if there["phone"] and channels:
            judged.wordings[template, locale, brand] += rows if Channel.SMS in channels else 0
        spare = tuple(name for name, of in CHANNELS.items() if channels and there[of.address] and name not in channels)
        judged.reach[channels, spare] += rows


def group_of(line: AcceptedLine, hours: Hours) -> tuple[Any, ...]:
    """All that a forecast counts of the line, also the time zones whose quiet hours delay its messages."""
    customer = line.customer
    person, channels = customer.person, invitation_channels(customer.channel)
    zones = [(one, hours.zones(customer, (one,))) for one in channels if one in hours.quiet] if hours.quiet else ()
    texted = country_of(person.phone) if _SMS in channels else ""
    there = bool(person.email), bool(person.phone)
    return line.account, *_SAID(customer), there, line.old_links, tuple(zones), texted, line.sets


def problems_of(line: RefusedLine) -> list[FieldProblem]:
    if line.duplicate_of is not None:
        return [same_customer(line.duplicate_of)]
    return list(line.problems)
