"""The LIST of a command, the `[import]` block that makes its options unnecessary, and the errors of a list that cannot
be read."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

from worker.cli.exits import CannotStart
from worker.lists.importing.list_import import ImportChoices, TooManyRefused
from worker.lists.lines import ListRefused, Refusing, Settles
from worker.lists.listing import CustomerList
from worker.lists.options import ListOptions
from worker.lists.own_files import OwnFile
from worker.lists.rules import WORDED
from worker.lists.sources import LIST_SOURCES, CannotFetch, fetch, is_address, name_of, shown_name
from worker.lists.store.batches import STDIN
from worker.plans.store.plans import Plan, PlanRefused
from worker.settings.model import Import
from worker.wiring.background import Report, settles
from worker.wiring.container import Parts


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


class Choose(Protocol):
    def __call__(self, parts: Parts, *, again: bool = False, plan: Plan | None = None) -> ImportChoices: ...


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


def returns_of(parts: Parts, options: ListOptions, name: str, choices: ImportChoices, reading: CustomerList) -> Settles:
    """What settles the rows of a report with this name. A list that is no report has none of them."""
    if reading.own is not OwnFile.REPORT:
        return Refusing()
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
    own = configured.mapping
    columns = {theirs: ours for theirs, ours in options.mapping.items() if own.get(theirs) != ours}
    columns = {**configured.columns, **columns, **(renames or {})}
    # Two columns of one name are one name here.
    left_out = [*configured.ignore, *sorted(options.ignore - {*configured.ignore}), *dict.fromkeys(ignore)]
    keys = []
    if left_out:
        keys.append(f"ignore = [{', '.join(map(_quoted, left_out))}]")
    if options.dates is not None:
        keys.append(f"dates = {_quoted(options.dates.text)}")
    if configured.message_columns:
        keys.append(f"message_columns = [{', '.join(map(_quoted, configured.message_columns))}]")
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
