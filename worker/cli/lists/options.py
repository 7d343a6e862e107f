"""The options of commands that read a list, and those of `run` and `import` that say how it goes out: a pilot first,
from a time on, at a pace, a cost. What reads it (`listed`) is loaded when a command runs: not for --help."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from onboarding_worker.cli.shared_options import Read, together
from onboarding_worker.core.foundation.notation import listed_in_words, written
from onboarding_worker.lists.formats import FORMS
from onboarding_worker.lists.known_customers import KnownRule
from onboarding_worker.lists.sources import LIST_SOURCES, schemes_of
from onboarding_worker.plans.pilot import EXAMPLE, NAMES, parse_condition, read_first

if TYPE_CHECKING:
    from onboarding_worker.lists.dates import DateForm

FETCHED = f"; {listed_in_words(schemes_of(sources))} are fetched" if (sources := LIST_SOURCES.offered()) else ""
LIST_HELP = f"""
LIST is CSV, XLSX or Parquet with a header row, or has JSON objects, one per line or in an array; also compressed
with gzip or ZIP. - is standard input{FETCHED}. docs/reference/list-format.md describes
every column. Rows are numbered as in a spreadsheet: the header is row 1. In JSON the first line or object is row 1.
"""


def _date_form(text: str) -> "DateForm":
    from onboarding_worker.lists.dates import DateForm

    return DateForm.parse(text)


def list_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for reading a list, named as the fields of `Listed`; the command gets `listed`, which follows
    those of `known_options` too."""

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
        "--hash-ids", is_flag=True, help="Replace each customer_id by a hash: for all of your lists, or for none."
    )
    @click.option(
        "--dates",
        type=Read("form", _date_form),
        help="The form of LIST's dates, such as DD/MM/YYYY. YYYY-MM-DD is always read.",
    )
    @click.option("--encoding", help="LIST's encoding, if it is not UTF-8, such as cp1252.")
    @click.option(
        "--delimiter",
        callback=lambda _context, _option, given: "\t" if given in ("\\t", "tab") else given,
        help="The character between cells, such as ; or tab.  [default: detected]",
    )
    @click.option("--strict", is_flag=True, help="Refuse the whole list if one of its rows is rejected.")
    @wraps(command)
    def wrapped(**given: Any) -> Any:
        from onboarding_worker.cli.lists.listed import Listed

        own = {one.name: given.pop(one.name) for one in fields(Listed) if one.name in given}
        return command(listed=Listed(**own), **given)

    return wrapped


# For customers who are there already. Below `list_options`.
known_options = together(
    click.option(
        "--known",
        type=click.Choice([rule.value for rule in KnownRule if rule is not KnownRule.RETURNED]),
        help="Customers who are known already: skip leaves them as they are, refresh takes their details from LIST,"
        " invite also invites those again who have finished.  [default: of the configuration, else refresh]",
    ),
    click.option(
        "--allow-erased",
        is_flag=True,
        help="Bring back customers who were erased on request. Without it their rows are rejected.",
    ),
    click.option(
        "--another-person",
        is_flag=True,
        help="Let a row take over the id of a customer with whom it agrees in nothing: name, date of birth, email,"
        " phone. Without it such a row is rejected.",
    ),
    click.option(
        "--take-over",
        is_flag=True,
        help='Take over customers whom a sender of events with `customers = "own"` has requested first. Its sessions'
        " and links for them count no more. Without it their rows are rejected.",
    ),
)


MEANINGS = "; ".join(f"{name}: {meaning}" for name, meaning in NAMES.items())
YEARS = range(1971, 2200)  # a list's times are counted on from it, and must not leave the calendar
NOW = datetime(YEARS.start, 1, 1, tzinfo=UTC)  # what `now` is read as: before the present, whenever that is


def read_time(text: str) -> datetime:
    """Read a time with its zone. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise ValueError("expected a time with its zone, such as 2026-11-20T09:00+01:00 or 2026-11-20T08:00Z")
    if at.year not in YEARS:
        raise ValueError(f"expected a time before the year {YEARS.stop}, and not before {YEARS.start}")
    return at.astimezone(UTC)


def read_start(text: str) -> datetime:
    """Read a time with its zone, or `now`. Raises ValueError."""
    return NOW if text.strip().lower() == "now" else read_time(text)


def in_both_zones(at: datetime) -> str:
    """The time in the zone of this machine, and in UTC."""
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z} ({written(at)})"


deadline_option = click.option(
    "--deadline",
    type=Read("TIME", read_time),
    help="Send as many rows as can be by this time, such as 2026-11-27T17:00+01:00: first the rows whose customers may"
    " be written to for the shortest time. `check --deadline` names the rows that cannot be sent by then.",
)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options, named as the fields of `Plan`; the command gets `plan`, which is None without any of them."""

    @click.option(
        "--first",
        type=Read("N|N%", read_first),
        help="A pilot: only the first N rows that need a session go out (N%: that share of the list). The rest waits"
        " for --go-on-if; without it, for `onboard resume`.",
    )
    @click.option(
        "--go-on-if",
        "condition",
        type=Read("CONDITION", lambda text: " ".join(str(parse_condition(text)).split())),
        help=f'When the rest of a --first goes out by itself: "{EXAMPLE}". Bounds of {MEANINGS}; >=, >, <= or <; a'
        " number, or a percentage of the pilot; joined by `and`; and `within` a duration, which begins when the pilot"
        " has left. If it does not hold, the batch pauses and says why.",
    )
    @click.option(
        "--start-at",
        type=Read("TIME", read_start),
        help="No session and no message before this time, such as 2026-11-20T09:00+01:00.",
    )
    @click.option(
        "--per-hour",
        type=click.IntRange(1, 10_000_000),
        metavar="N",
        help="At most N first invitations of this list in any hour, over all workers.",
    )
    @click.option(
        "--most-credits",
        type=click.IntRange(0, 1_000_000_000),
        metavar="N",
        help="At most N calls that cost a credit, or may have, for the rows of this list, replaced links among them."
        " `onboard resume BATCH --most-credits N` changes it.",
    )
    @deadline_option
    @wraps(command)
    def wrapped(**given: Any) -> Any:
        from onboarding_worker.plans.store.plans import Plan  # imported here: SQLAlchemy, which --help does not need

        asked = {one.name: given.pop(one.name) for one in fields(Plan)}
        plan = Plan(**{name: value for name, value in asked.items() if value is not None})
        if plan.condition and not plan.first:
            raise click.UsageError("--go-on-if is about a pilot: give --first too")
        if plan.start_at == NOW:
            starts = "`onboard resume BATCH --start-at now` starts one that waits"
            raise click.UsageError(f"a list starts at once without --start-at; {starts}")
        if plan.start_at is not None:
            if plan.deadline is not None and plan.deadline <= plan.start_at:
                raise click.UsageError("--deadline is before --start-at")
            click.echo(f"starts at {in_both_zones(plan.start_at)}", err=True)
        return command(plan=None if plan == Plan() else plan, **given)

    return wrapped
