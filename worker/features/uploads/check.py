"""The check of an uploaded list: what `onboard check` finds, as facts that a page shows, and what a person may map."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.lists.foreseen import corrected_in_words, costs_in_words, foreseen, mix_in_words
from onboarding_worker.cli.lists.found_rows import FoundRows, ListFound, unread_words
from onboarding_worker.cli.running.summary import changed_in_words
from onboarding_worker.cli.sample_message import rendered
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import FieldProblem, invitation_channels
from onboarding_worker.core.rules.contact import Wording
from onboarding_worker.features.uploads.uploaded import MOST_ROWS, PART_BYTES, How
from onboarding_worker.lists.columns import OwnFile, our_name
from onboarding_worker.lists.dates import DateForm
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.importing.intake import PREFILLED
from onboarding_worker.lists.importing.judging import judge_all, options_of
from onboarding_worker.lists.known_customers import KnownChoices, KnownRule
from onboarding_worker.lists.lines import AcceptedLine, ListRefused
from onboarding_worker.lists.listing import CustomerList, open_list, open_table
from onboarding_worker.lists.options import ListOptions, Vocabulary
from onboarding_worker.lists.warned import Severity, Warned, problems_csv
from onboarding_worker.providers.row_rights import UPLOADS
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.templates.checks import problems as problems_of_templates
from onboarding_worker.wiring.container import Parts

MOST_SHOWN = 100  # kinds of problems, and of warnings
MOST_TITLES, LONGEST_TITLE = 30, 60  # that can be mapped, in characters
SAMPLE_LINES, SAMPLE_LETTERS = 40, 4000
A_REPORT = "the file is a report of ours: give it to `onboard run`, which acts on the rows that were changed"
TOO_LONG = f"it has more than {MOST_ROWS:,} rows: send it with `onboard run`, or in parts"
# What to do by an option of a command, at the end of a reason: the page has a form for that.
_OPTION = re.compile(r"[:;,] [^:;,]* --[a-z].*")
# Reads no column: any header will do.
_TITLES_ONLY = Vocabulary({}, needed=("",))


def options_for(parts: Parts, how: How) -> ListOptions:
    """How the list is read: the configuration, and above it what a person chose."""
    configured = parts.settings.import_
    options = options_of(
        parts.intake,
        mapping=how.mapping,
        ignore=frozenset(how.ignore).union(configured.ignore),
        dates=DateForm.parse(how.dates) if how.dates else configured.dates,
        if_used=PREFILLED,
        defaults=configured.defaults,
        sheet=how.sheet or None,
    )
    words = {column: {**options.values.get(column, {}), **ours} for column, ours in how.values.items()}
    return replace(options, values={**options.values, **words})


def rule_of(parts: Parts) -> KnownRule:
    return KnownRule(parts.settings.import_.known)


def check(
    parts: Parts, content: BinaryIO, how: How, *, step: Callable[[], None]
) -> tuple[dict[str, Any], Iterator[bytes]]:
    """What was found, as JSON for the page; and the file of all problems and warnings, in parts. Changes nothing.
    `step` is called between rows, and may raise."""
    options = options_for(parts, how)
    found: dict[str, Any] = {"columns": _columns(content, options), "refused": [], "suggested": {}}
    found |= {"rows": None, "words": {}, "at": written(parts.clock())}
    content.seek(0)  # a list begins where its stream stands
    try:
        reading = open_list(content, options)
        if reading.own is OwnFile.REPORT:
            raise ListRefused([A_REPORT])
        calls = CallsNow(parts.database, digest=content_digest(content), rule=rule_of(parts))
        rows = ListFound(parts, calls)
        choices = KnownChoices(rule=rule_of(parts))
        for number, line in enumerate(judge_all(parts.intake.of(UPLOADS), parts.batches, reading, choices), 1):
            step()
            if number > MOST_ROWS:
                raise ListRefused([TOO_LONG])
            rows.add(line)
        rows.finish(reading)
    except ListRefused as error:
        reasons = [_OPTION.sub("", reason) for reason in error.reasons]
        return found | {"refused": reasons, "suggested": error.renames}, iter(())
    found |= _facts(parts, rows, calls.batch) | {"words": unread_words(rows, reading, options, step)}
    return found, _file(rows, reading, step)


def _columns(content: BinaryIO, options: ListOptions) -> list[list[str | None]]:
    """The list's titles, each with our name; "": it is left out; None: it is not known. Empty where there are none."""
    try:
        table, _ = open_table(content, replace(options, vocabulary=_TITLES_ONLY))
    except ListRefused:
        return []
    titles = [title for title in getattr(table, "titles", ()) if title.strip()]
    shown = [title for title in titles if len(title) <= LONGEST_TITLE and title.isprintable()]
    return [[title, our_name(title, options)] for title in shown[:MOST_TITLES]]


def _facts(parts: Parts, found: ListFound, batch: int | None) -> dict[str, Any]:
    cost = found.cost
    whole = foreseen(parts, found.judged, cost.due, (), apart=cost.beyond_cap(), batch=batch, alone=False)
    chosen = ("rows", "served", "now", "credits", "messages", "forecast")
    of_changed = [changed_in_words(changed)] if (changed := whole["changed_addresses"]) else []
    of_changed += map(str.strip, corrected_in_words(whole.get("corrected", {})))
    return {
        **{name: whole[name] for name in chosen},
        "mix": mix_in_words(whole) + of_changed,
        "costs": costs_in_words(whole),
        "problems": _shown(found.problems),
        "warnings": _shown(*found.warnings),
        "templates": list(problems_of_templates(parts.templates)),
        "sample": _sample(parts, cost.first),
    }


def _sample(parts: Parts, line: AcceptedLine | None) -> dict[str, Any] | None:
    channel = next(iter(invitation_channels(line.customer.channel)), None) if line is not None else None
    if line is None or channel is None:
        return None
    try:
        customer = replace(line.customer, account=line.account)
        words = rendered(parts.settings, parts.templates, customer, channel, Wording.INVITATION.value)
    except CannotStart:
        return None  # the template's problem is shown
    text = "\n".join(words.text.splitlines()[:SAMPLE_LINES])[:SAMPLE_LETTERS]
    return {"row": line.row, "channel": channel, "subject": words.subject, "text": text, "language": words.language}


def _file(found: ListFound, reading: CustomerList, step: Callable[[], None]) -> Iterator[bytes]:
    def ordered() -> Iterator[tuple[int | None, FieldProblem, Severity]]:
        for one in found.in_order():
            step()
            yield one

    with TemporaryFile("w+b") as kept:
        out = io.TextIOWrapper(kept, encoding="utf-8-sig", newline="", write_through=True)
        problems_csv(out, ordered(), originals=reading.originals())
        kept.seek(0)
        yield from iter(partial(kept.read, PART_BYTES), b"")
        out.detach()


def _shown(*found: FoundRows) -> list[dict[str, Any]]:
    return [
        {"column": one.problem.column, "problem": one.problem.problem, "hint": one.problem.hint}
        | {"rows": one.count, "first": one.rows, "differs": one.differs}
        for one in Warned(chain.from_iterable(found)).kinds[:MOST_SHOWN]
    ]
