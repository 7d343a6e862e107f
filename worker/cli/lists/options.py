"""The options of commands that read a list. What reads it (`listed`) is loaded when a command runs: not for --help."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from worker.cli.shared_options import Read
from worker.core.foundation.notation import listed_in_words
from worker.lists.formats import FORMS, Form
from worker.lists.known_customers import KnownRule
from worker.lists.sources import LIST_SOURCES, schemes_of

if TYPE_CHECKING:
    from worker.cli.lists.listed import Listed
    from worker.lists.dates import DateForm
    from worker.lists.options import ListOptions
    from worker.wiring.container import Parts

FETCHED = f"; {listed_in_words(schemes_of(sources))} are fetched" if (sources := LIST_SOURCES.offered()) else ""
LIST_HELP = f"""
LIST is CSV, XLSX or Parquet with a header row, or has JSON objects, one per line or in an array; also compressed
with gzip or ZIP. - is standard input{FETCHED}. docs/reference/list-format.md describes
every column. Rows are numbered as in a spreadsheet: the header is row 1. In JSON the first line or object is row 1.
"""


def _date_form(text: str) -> "DateForm":
    from worker.lists.dates import DateForm

    return DateForm.parse(text)


def list_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for reading a list; the command gets `listed`."""

    @click.argument("path", metavar="LIST", type=click.Path(dir_okay=False, allow_dash=True))
    @click.option("--format", "form", type=click.Choice(FORMS), help="LIST's format.  [default: by its content]")
    @click.option("--sheet", metavar="NAME", help="The sheet of a workbook that has several.")
    @click.option(
        "--map",
        "mapped",
        multiple=True,
        metavar="THEIRS=OURS",
        help="Read LIST's column THEIRS as our column OURS, such as Mail=email. Repeatable.",
    )
    @click.option(
        "--ignore-column", "ignored", multiple=True, metavar="NAME", help="A column of LIST to ignore. Repeatable."
    )
    @click.option(
        "--hash-ids",
        is_flag=True,
        help="Replace each customer_id by a hash: for all of your lists, or for none.",
    )
    @click.option(
        "--dates",
        type=Read("form", _date_form),
        help="The form of LIST's dates, such as DD/MM/YYYY. YYYY-MM-DD is always read.",
    )
    @click.option("--encoding", help="LIST's encoding, if it is not UTF-8, such as cp1252.")
    @click.option("--delimiter", help="The character between cells, such as ; or tab.  [default: detected]")
    @click.option("--strict", is_flag=True, help="Refuse the whole list if one of its rows is rejected.")
    @wraps(command)
    def wrapped(
        path: str,
        form: Form | None,
        sheet: str | None,
        mapped: tuple[str, ...],
        ignored: tuple[str, ...],
        hash_ids: bool,
        dates: "DateForm | None",
        encoding: str | None,
        delimiter: str | None,
        strict: bool,
        **more: Any,
    ) -> Any:
        from worker.cli.lists.listed import Listed
        from worker.lists.importing.intake import PREFILLED
        from worker.lists.importing.judging import options_of

        def options(parts: "Parts") -> "ListOptions":
            return options_of(
                parts.intake,
                mapping=dict(map(_pair, mapped)),
                ignore=frozenset(ignored).union(parts.settings.import_.ignore),
                dates=dates or parts.settings.import_.dates,
                if_used=PREFILLED,
                defaults=parts.settings.import_.defaults,
                hash_ids=hash_ids,
                form=form,
                sheet=sheet,
                encoding=encoding,
                delimiter="\t" if delimiter in ("\\t", "tab") else delimiter,
            )

        return command(listed=Listed(path, options=options, strict=strict), **more)

    return wrapped


def known_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for customers who are there already, which `Listed.choices` follows. Below `list_options`."""

    @click.option(
        "--known",
        type=click.Choice([rule.value for rule in KnownRule if rule is not KnownRule.RETURNED]),
        help="Customers who are known already: skip leaves them as they are, refresh takes their details from LIST,"
        " invite also invites those again who have finished.  [default: of the configuration, else refresh]",
    )
    @click.option(
        "--allow-erased",
        is_flag=True,
        help="Bring back customers who were erased on request. Without it their rows are rejected.",
    )
    @click.option(
        "--another-person",
        is_flag=True,
        help="Let a row take over the id of a customer with whom it agrees in nothing: name, date of birth, email,"
        " phone. Without it such a row is rejected.",
    )
    @click.option(
        "--take-over",
        is_flag=True,
        help='Take over customers whom a sender of events with `customers = "own"` has requested first. Its sessions'
        " and links for them count no more. Without it their rows are rejected.",
    )
    @wraps(command)
    def wrapped(
        listed: "Listed", known: str | None, allow_erased: bool, another_person: bool, take_over: bool, **more: Any
    ) -> Any:
        listed.known = known
        listed.allowed = {"allow_erased": allow_erased, "another_person": another_person, "take_over": take_over}
        return command(listed=listed, **more)

    return wrapped


def _pair(text: str) -> tuple[str, str]:
    from worker.lists.columns import known_name, nearest
    from worker.lists.options import ADOPTED

    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise click.UsageError(f"--map: expected THEIRS=OURS, such as --map Mail=email, not {text!r}")
    if ours not in ADOPTED and known_name(ours) is None:
        meant = nearest(ours)
        hint = f"; did you mean {meant}?" if meant else "; docs/reference/list-format.md has them all"
        raise click.UsageError(f"--map: there is no column {ours!r} to map {theirs!r} to{hint}")
    return theirs, ours
