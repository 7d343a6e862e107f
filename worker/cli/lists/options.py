"""The options of commands that read a list, the `[import]` block that makes them unnecessary, and the errors of a list
that cannot be read."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Protocol

import click

from worker.cli.exits import CannotStart
from worker.cli.shared_options import Read
from worker.core.foundation.plural import listed_in_words
from worker.lists.columns import known_name, nearest
from worker.lists.importing.judging import PREFILLED, options_of
from worker.lists.importing.list_import import ImportChoices, TooManyRefused
from worker.lists.known_customers import KnownRule
from worker.lists.lines import ListRefused, Settles
from worker.lists.options import FORMS, Form, ListOptions
from worker.lists.rules import WORDED, DateForm
from worker.lists.sources import LIST_SOURCES, CannotFetch, fetch, is_address, name_of, schemes_of, shown_name
from worker.lists.store.batches import STDIN
from worker.plans.store.plans import Plan, PlanRefused
from worker.settings.model import Import
from worker.wiring.background import Report, settles
from worker.wiring.container import Parts

FETCHED = f"; {listed_in_words(schemes_of(sources))} are fetched" if (sources := LIST_SOURCES.offered()) else ""
LIST_HELP = f"""
LIST is CSV, XLSX or Parquet with a header row, or has JSON objects, one per line or in an array; also compressed
with gzip or ZIP. - is standard input{FETCHED}. docs/reference/list-format.md describes
every column. Rows are numbered as in a spreadsheet: the header is row 1. In JSON the first line or object is row 1.
"""


class Listed:
    """The LIST of a command: its name for people, its content, and how it is to be read."""

    def __init__(
        self, path: str, until_the_end: ExitStack, *, options: Callable[[Parts], ListOptions], strict: bool
    ) -> None:
        """`strict`: the whole list is refused if one of its rows is rejected."""
        self._path = path
        self._until_the_end = until_the_end
        self.options, self.strict = options, strict
        self.name = STDIN if path == "-" else name_of(path) if is_address(path) else shown_name(Path(path).name)

    @cached_property
    def content(self) -> Path | BinaryIO:
        """The content. Standard input is read, and an address fetched, at the first use: after the configuration."""
        if is_address(self._path):
            return self._kept("the list", lambda kept: fetch(self._path, kept, LIST_SOURCES.offered()))
        if self._path != "-":
            return Path(self._path)
        if sys.stdin is None:
            raise CannotStart("standard input is closed: send the list to it, or name a file")
        return self._kept("standard input", lambda kept: shutil.copyfileobj(sys.stdin.buffer, kept))

    def _kept(self, what: str, read: Callable[[BinaryIO], None]) -> BinaryIO:
        """A list is read more than once. The file has no name: no other process opens it, and a kill leaves no file."""
        try:
            kept: BinaryIO = self._until_the_end.enter_context(TemporaryFile("w+b"))  # noqa: SIM115 -- with the command
            read(kept)
            kept.seek(0)
        except CannotFetch as error:
            raise CannotStart(f"{self.name} cannot be fetched: {error}") from None
        except OSError as error:
            raise CannotStart(f"{what} cannot be kept for reading: {error.strerror}") from None
        return kept


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
        type=Read("form", DateForm.parse),
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
        dates: DateForm | None,
        encoding: str | None,
        delimiter: str | None,
        strict: bool,
        **more: Any,
    ) -> Any:
        def options(parts: Parts) -> ListOptions:
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

        with ExitStack() as until_the_end:
            return command(listed=Listed(path, until_the_end, options=options, strict=strict), **more)

    return wrapped


class Choose(Protocol):
    def __call__(self, parts: Parts, *, again: bool = False, plan: Plan | None = None) -> ImportChoices: ...


def known_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for customers who are there already; the command gets `choose`. Below `list_options`."""

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
        listed: Listed, known: str | None, allow_erased: bool, another_person: bool, take_over: bool, **more: Any
    ) -> Any:
        def choose(parts: Parts, *, again: bool = False, plan: Plan | None = None) -> ImportChoices:
            rule = KnownRule(known or parts.settings.import_.known)
            return ImportChoices(
                again=again,
                strict=listed.strict,
                allow_erased=allow_erased,
                another_person=another_person,
                take_over=take_over,
                rule=rule,
                plan=plan,
            )

        return command(listed=listed, choose=choose, **more)

    return wrapped


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise click.UsageError(f"--map: expected THEIRS=OURS, such as --map Mail=email, not {text!r}")
    if known_name(ours) is None:
        meant = nearest(ours)
        hint = f"; did you mean {meant}?" if meant else "; docs/reference/list-format.md has them all"
        raise click.UsageError(f"--map: there is no column {ours!r} to map {theirs!r} to{hint}")
    return theirs, ours


@contextmanager
def refusing_lists(name: str = "") -> Iterator[None]:
    """Turns a list that cannot be read, is refused under --strict or has no usable plan into clear lines and exit code
    2. `name`: the list's, for what says only "the file"."""
    try:
        yield
    except ListRefused as error:
        raise CannotStart("\n".join(named_reasons(error, name))) from None
    except (TooManyRefused, PlanRefused) as error:
        raise CannotStart(str(error)) from None


def named_reasons(error: ListRefused, name: str) -> list[str]:
    """Why a list is refused, each reason with the list's name: they say "the file"."""
    return [f"{name}: {one}" if name else one for one in error.reasons]


def returns_of(parts: Parts, options: ListOptions, name: str, choices: ImportChoices) -> Settles:
    """What settles the rows of a report with this name."""
    report = Report(name=name, options=options, database=parts.database, another_person=choices.another_person)
    return settles(parts, report)


def block_for(
    options: ListOptions,
    configured: Import,
    *,
    renames: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    unread: Iterable[str] = (),
) -> list[str]:
    """The lines of the block; none if the configuration has all of it already.

    `renames` and `ignore` are suggestions for columns that are not known. `unread`: our columns with unknown words.
    """
    columns = {**options.mapping, **(renames or {})}
    # Two columns of one name are one name here.
    left_out = [*configured.ignore, *sorted(options.ignore - {*configured.ignore}), *dict.fromkeys(ignore)]
    keys = []
    if left_out:
        keys.append(f"ignore = [{', '.join(map(_quoted, left_out))}]")
    if options.dates is not None:
        keys.append(f"dates = {_quoted(options.dates.text)}")
    lines = []
    if (columns, tuple(left_out), options.dates) != (configured.columns, configured.ignore, configured.dates):
        lines += ["[import]", *keys] if keys else []
        if columns:
            lines += ["[import.columns]", *(f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in columns.items())]
    instead = bool(lines) and not renames
    if worded := [column for column in WORDED if column in {*(renames or {}).values(), *unread}]:
        # A list's words are not repeated: a comment, which changes nothing.
        lines += ["# [import.values]"]
        lines += [f'# {column} = {{ "THEIRS" = "OURS" }}' for column in worded]
    if not lines:
        return []
    return ["", f"for onboarding.toml{', in place of these options' if instead else ''}:", *lines]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML has JSON's escapes
