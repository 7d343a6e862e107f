"""Judges lines: each is routed, or refused because no account or sender of this configuration can serve it.

A list is judged in chunks: made in this process, or in a child of it while this process stores them. The child reads,
judges and seals a large list on a core of its own (decision 91). Both make their chunks by `chunks`: a list becomes the
same rows wherever it is judged.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from worker.core.customers.customers import Channel, Customer, FieldProblem, invitation_channels
from worker.core.messages.quiet_hours import Hours, issue_at
from worker.core.messages.text_numbers import country_of
from worker.core.model.channels import CHANNELS, address_of
from worker.core.model.sessions import floor_of, max_age_of
from worker.lists.formats.opening import Content
from worker.lists.importing.forked import ChildEnded, Forked, forked
from worker.lists.importing.intake import Chosen, Intake, brand_for, choose_account
from worker.lists.known_customers import ANOTHER_PERSON, AS_USUAL, WAS_ERASED, KnownChoices, owned_by, refuses_lists
from worker.lists.lines import (
    AcceptedLine,
    Line,
    OldLink,
    RefusedLine,
    Returned,
    Settles,
    same_customer,
)
from worker.lists.listing import CustomerList
from worker.lists.options import ListOptions
from worker.lists.store.batches import Batches
from worker.lists.store.new_rows import SealedLines, seal
from worker.lists.store.refreshed import still_lacking
from worker.lists.warned import Warned
from worker.plans.deadlines import RowTimes, group_of
from worker.providers.parameters import parse_cell, unknown_parameter

_AT_ONCE = 1000  # lines in one question to the database
A_REPORT = FieldProblem("", "a row of a report", "give the report to `onboard run` or `onboard import`")
# No message contains these columns: only providers receive them, and only from accounts with `prefill = "all"`.
PREFILLED = frozenset({"date_of_birth", "sex", "nationality", "address"})
_NOT_USED = ": nothing here uses this column"


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
    # For a forecast: the texts by template, language and brand, which say how long they are; 0 for what only a
    # fallback uses.
    wordings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    brands: Counter[str] = field(default_factory=Counter)  # the rows by brand; "": the default one's
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


def judge(intake: Intake, line: Line) -> AcceptedLine | RefusedLine:
    """Route an accepted line; refuse a line that no account or sender of this configuration can serve."""
    problems: tuple[FieldProblem, ...] = ()
    match line:
        case RefusedLine(duplicate_of=None):
            problems, warnings = _by_use(intake, line, intake.providers.keys())
            problems = (*line.problems, *problems)
            return RefusedLine(
                line.row, line.customer_id, (*problems, *_further(intake, line, problems)), warnings=warnings
            )
        case RefusedLine():
            return line
        case Returned():
            return RefusedLine(line.row, "", (A_REPORT,))
    customer = line.customer
    if intake.routes_have_brands and (brand := brand_for(customer, intake.routes)):  # the one that writes to it
        customer = replace(customer, brand=brand)
    customer, landline = intake.without_texts_to_landlines(customer)
    chosen = choose_account(customer, intake.routes, able=intake.able, known=intake.providers.keys())
    warnings = landline
    if line.if_used:
        accounts: Collection[str] = intake.providers.keys()
        if isinstance(chosen, Chosen):
            accounts = (chosen.account, *chosen.fallback_accounts)
        problems, unused = _by_use(intake, line, accounts)
        warnings += unused
    if not isinstance(chosen, Chosen):
        problems += chosen
    problems += tuple(intake.unsendable(customer))
    lacks = tuple(intake.lacking(customer))
    # Whether a row above is stored by now depends on the chunk, and on its release: so its value does not count here.
    problems += tuple(one for one in lacks if one.column in line.above)
    if problems or not isinstance(chosen, Chosen):
        return RefusedLine(line.row, customer.customer_id, problems, warnings=warnings)
    if customer.parameters:
        warnings += tuple(intake.doubtful(chosen.account, customer))
    lifetime = intake.lifetime(chosen.account, customer)
    quiet_until = None
    if intake.hours.quiet and intake.hours.concern(channels := invitation_channels(customer.channel)):
        floor = floor_of(chosen.freshness, lifetime=lifetime)
        zones, now = intake.hours.zones(customer, channels), intake.clock()
        at = issue_at(channels, zones, intake.hours.quiet, max_age=max_age_of(lifetime, floor=floor), now=now)
        quiet_until = at if at > now else None  # before then its message could not leave
    return line_of(customer, chosen, lifetime, row=line.row, quiet_until=quiet_until, warnings=warnings, lacks=lacks)


def line_of(customer: Customer, chosen: Chosen, lifetime: timedelta | None, *, row: int, **more: Any) -> AcceptedLine:
    """The line of a customer for whom this account was chosen. `lifetime`: of its links. `more`: see `AcceptedLine`."""
    return AcceptedLine(
        row=row,
        customer=customer,
        account=chosen.account,
        route=chosen.reason,
        floor_seconds=int(floor_of(chosen.freshness, lifetime=lifetime).total_seconds()),
        fallback_accounts=chosen.fallback_accounts,
        freshness_seconds=None if chosen.freshness is None else int(chosen.freshness.total_seconds()),
        **more,
    )


def judge_chunk(intake: Intake, lines: Sequence[Line], returns: Settles | None) -> list[AcceptedLine | RefusedLine]:
    """Judge these lines; those of a report are settled, in their order."""
    returned = [line for line in lines if isinstance(line, Returned)] if returns is not None else []
    if returns is None or not returned:
        return [judge(intake, line) for line in lines]
    settled = iter(returns.settle(returned))
    return [next(settled) if isinstance(line, Returned) else judge(intake, line) for line in lines]


def judge_all(
    intake: Intake,
    batches: Batches,
    lines: Iterable[Line],
    choices: KnownChoices = AS_USUAL,
    *,
    returns: Settles | None = None,
) -> Iterator[AcceptedLine | RefusedLine]:
    """Judge each line of a list as the import does: also by who was erased on request, and by whose id it is. Changes
    nothing."""
    each = iter(lines)
    returns = returns.foreseeing() if returns is not None else None
    while chunk := judge_chunk(intake, list(islice(each, _AT_ONCE)), returns):
        accepted = [line for line in chunk if isinstance(line, AcceptedLine)]
        erased = set() if choices.allow_erased else batches.erased([line.customer.customer_id for line in accepted])
        known = {one.row: one for one in batches.known(accepted, rule=choices.rule, now=intake.clock())}
        for line in chunk:
            if not isinstance(line, AcceptedLine):
                yield line
            elif line.customer.customer_id in erased:
                yield line.refused(WAS_ERASED)
            elif lacks := still_lacking(line.lacks, known.get(line.row), batches.wide):
                yield line.refused(*lacks)
            elif (found := known.get(line.row)) is None:
                yield line
            elif refuses_lists(found.owner, batches.wide):
                yield line if choices.take_over else line.refused(owned_by(found.owner))
            elif found.is_another and not choices.another_person:
                yield line.refused(ANOTHER_PERSON)
            else:
                yield replace(line, old_links=found.links)


def _further(intake: Intake, line: RefusedLine, problems: Sequence[FieldProblem]) -> Iterator[FieldProblem]:
    """What this configuration refuses in the good cells of a refused line: one look at a row shows all of it."""
    if line.rest is None:
        return
    wrong = {problem.column for problem in problems}
    if not line.rest.person.phone:
        wrong.add("phone")
    rest, _ = intake.without_texts_to_landlines(line.rest)
    found = [*intake.unsendable(rest), *intake.lacking(rest)]
    # Where a wrong column may decide the route, only the account that the line names is asked.
    is_routed = rest.account or all(rule.when.keys().isdisjoint(wrong) for rule in intake.routes)
    if is_routed and "account" not in wrong:
        chosen = choose_account(rest, intake.routes, able=intake.able, known=intake.providers.keys())
        found[:0] = () if isinstance(chosen, Chosen) else chosen
    yield from (problem for problem in found if problem.column not in wrong)


def _by_use(
    intake: Intake, line: AcceptedLine | RefusedLine, accounts: Collection[str]
) -> tuple[tuple[FieldProblem, ...], tuple[FieldProblem, ...]]:
    """The problems of columns that one of these accounts uses, and warnings for those that none of them uses, or that
    are no names."""
    used = tuple(problem for problem in line.if_used if intake.uses(problem.column, accounts))
    unused = tuple(
        replace(problem, problem=f"{problem.problem}; left out{_NOT_USED if problem.column in PREFILLED else ''}")
        for problem in line.if_used
        if problem not in used
    )
    return used, unused


def count(judged: Judged, line: AcceptedLine | RefusedLine, hours: Hours | None = None) -> None:
    """Count a line. With `hours`, for a forecast, count also the time zones whose quiet hours delay its messages."""
    judged.total += 1
    match line:
        case AcceptedLine():
            judged.accepted += 1
            judged.changed += bool(line.old_links)
            judged.old_links.update(line.old_links)
            judged.routes[line.account] = judged.routes.get(line.account, 0) + 1
            judged.brands[line.customer.brand] += 1
            channels = invitation_channels(line.customer.channel)
            if not channels:
                judged.unsent[line.account] = judged.unsent.get(line.account, 0) + 1
            for channel in channels:
                judged.messages[channel] = judged.messages.get(channel, 0) + 1
                if hours is not None and (zones := hours.zones(line.customer, (channel,))):
                    judged.nights[channel, zones] += 1
                if hours is not None and channel == Channel.SMS:
                    judged.texts[country_of(line.customer.person.phone)] += 1
            person = line.customer.person
            if hours is not None and person.phone and channels:
                words = (line.customer.template, line.customer.locale, line.customer.brand)
                judged.wordings[words] += Channel.SMS in channels
            spare = tuple(name for name in CHANNELS if channels and address_of(person, name) and name not in channels)
            judged.reach[tuple(channels), spare] += 1
        case RefusedLine(duplicate_of=None, known=""):
            judged.rejected += 1
        case RefusedLine(duplicate_of=None):
            judged.known += 1
        case _:
            judged.duplicate += 1


def problems_of(line: RefusedLine) -> list[FieldProblem]:
    """The problems of a refused line, as `check` shows them."""
    if line.duplicate_of is not None:
        return [same_customer(line.duplicate_of)]
    return list(line.problems)


log = logging.getLogger(__name__)
LARGE = 500_000  # bytes of a list, some 5,000 rows: a smaller one is stored in one or two transactions


@dataclass
class Chunk:
    """Lines that are stored together. `done`: the lines of the list up to here. `last`: the row of the last of them.
    `hint`: `CustomerList.hint` up to here. `warned`: the warnings of its lines."""

    accepted: SealedLines
    done: int = 0
    last: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    hint: FieldProblem | None = None
    warned: Warned = field(default_factory=Warned)


def chunks(
    judged: Callable[[Sequence[Line]], list[AcceptedLine | RefusedLine]],
    reading: CustomerList,
    hours: Hours,
    sealed: Callable[[Sequence[AcceptedLine]], SealedLines],
    after: int,
    *,
    size: int,
    times: RowTimes | None = None,
) -> Iterator[Chunk]:
    """The list's lines behind the row `after`, judged, so many together; the last chunk may be empty."""
    lines = iter(reading)
    done = 0
    while some := list(islice(lines, size)):
        done, last = done + len(some), some[-1].row
        if times is None:
            found = judged([line for line in some if line.row > after])
        else:  # of imported rows too: each takes its place in the plan
            found = judged(some)
            for place, line in enumerate(found):
                if isinstance(line, AcceptedLine):
                    at, _ = times.next(group_of(line.account, line.customer, hours))
                    found[place] = replace(line, planned_at=at)
            found = [line for line in found if line.row > after]
        accepted = [line for line in found if isinstance(line, AcceptedLine)]
        refused = [line for line in found if isinstance(line, RefusedLine)]
        warned = Warned()
        for line in found:
            for warning in line.warnings:
                warned.add(line.row, warning)
        yield Chunk(sealed(accepted), done, last, refused, reading.hint, warned)
    if not done:
        yield Chunk(sealed([]))


@contextmanager
def judging_child(
    intake: Intake, batches: Batches, content: Content, reading: CustomerList
) -> Iterator[Forked[Chunk] | None]:
    """A process that makes the chunks of the list `reading`, while this one stores them; None where it does not pay or
    cannot be made. Begin it before any thread. `content` is what was opened."""
    size = os.path.getsize(content) if isinstance(content, str | os.PathLike) and os.path.exists(content) else 0
    if size < LARGE:
        yield None
        return

    def made(batch_id: int, after: int) -> Iterator[Chunk]:
        def judged(lines: Sequence[Line]) -> list[AcceptedLine | RefusedLine]:
            return [judge(intake, line) for line in lines]

        sealed = partial(seal, batches.keyring, batch_id)
        yield from chunks(judged, reading, intake.hours, sealed, after, size=batches.lines_at_once)

    with forked(made) as child:
        yield child


def of_child_or_here(
    child: Forked[Chunk] | None, here: Callable[[int], Iterator[Chunk]], batch_id: int, after: int
) -> Iterator[Chunk]:
    """The chunks behind the row `after`: the child's; and from `here` what it does not come to, or all without one."""
    if child is not None:
        try:
            for chunk in child.items(batch_id, after):
                after = max(after, chunk.last)
                yield chunk
            return
        except ChildEnded as error:
            log.warning("the import goes on in one process: %s", error)
    yield from here(after)
