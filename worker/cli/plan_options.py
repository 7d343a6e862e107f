"""The options of `run` and `import` that say how a list goes out: a pilot first, from a time on, at a pace, a cost."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from worker.cli.shared_options import Read
from worker.core.foundation.notation import written
from worker.plans.pilot import EXAMPLE, NAMES, parse_condition, read_first

MEANINGS = "; ".join(f"{name}: {meaning}" for name, meaning in NAMES.items())


YEARS = range(1971, 2200)  # a list's times are counted on from it, and must not leave the calendar


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


NOW = datetime(YEARS.start, 1, 1, tzinfo=UTC)  # what `now` is read as: before the present, whenever that is


def read_start(text: str) -> datetime:
    """Read a time with its zone, or `now`. Raises ValueError."""
    return NOW if text.strip().lower() == "now" else read_time(text)


def in_both_zones(at: datetime) -> str:
    """The time in the zone of this machine, and in UTC."""
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z} ({written(at)})"


deadline_option = click.option(
    "--deadline",
    type=Read("time", read_time),
    metavar="TIME",
    help="Send as many rows as can be by this time, such as 2026-11-27T17:00+01:00: first the rows whose customers may"
    " be written to for the shortest time. `check --deadline` names the rows that cannot be sent by then.",
)


most_credits_option = click.option(
    "--most-credits",
    type=click.IntRange(0, 1_000_000_000),
    metavar="N",
    help="At most N calls that cost a credit, or may have, for the rows of this list, replaced links among them."
    " `onboard resume BATCH --most-credits N` changes it.",
)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets `plan`, which is None without any of them."""

    @click.option(
        "--first",
        type=Read("rows", read_first),
        metavar="N|N%",
        help="A pilot: only the first N rows that need a session go out (N%: that share of the list). The rest waits"
        " for --go-on-if; without it, for `onboard resume`.",
    )
    @click.option(
        "--go-on-if",
        "condition",
        type=Read("condition", lambda text: " ".join(str(parse_condition(text)).split())),
        metavar="CONDITION",
        help=f'When the rest of a --first goes out by itself: "{EXAMPLE}". Bounds of {MEANINGS}; >=, >, <= or <; a'
        " number, or a percentage of the pilot; joined by `and`; and `within` a duration, which begins when the pilot"
        " has left. If it does not hold, the batch pauses and says why.",
    )
    @click.option(
        "--start-at",
        type=Read("time", read_time),
        metavar="TIME",
        help="No session and no message before this time, such as 2026-11-20T09:00+01:00.",
    )
    @click.option(
        "--per-hour",
        type=click.IntRange(1, 10_000_000),
        metavar="N",
        help="At most N first invitations of this list in any hour, over all workers.",
    )
    @most_credits_option
    @deadline_option
    @wraps(command)
    def wrapped(
        first: str | None,
        condition: str | None,
        start_at: datetime | None,
        per_hour: int | None,
        most_credits: int | None,
        deadline: datetime | None,
        **more: Any,
    ) -> Any:
        if condition is not None and first is None:
            raise click.UsageError("--go-on-if is about a pilot: give --first too")
        if deadline is not None and start_at is not None and deadline <= start_at:
            raise click.UsageError("--deadline is before --start-at")
        from worker.plans.store.plans import Plan  # imported here: SQLAlchemy, which --help does not need

        plan = Plan(first or "", condition or "", start_at, per_hour, deadline, most_credits)
        if start_at is not None:
            click.echo(f"starts at {in_both_zones(start_at)}", err=True)
        return command(plan=None if plan == Plan() else plan, **more)

    return wrapped
