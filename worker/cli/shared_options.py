"""Options and help that several commands have, and the question that `--yes` answers."""

import re

import click

from worker.cli.exits import NEEDS_A_PERSON, CannotStart, Ended

YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only count the rows; change nothing.")

# At the end of the help of each command that takes a batch (`invocation.with_global_options`).
NAMES_OF_BATCHES = (
    "BATCH is the number of a batch in `onboard status`, or `latest` for the newest. Requests that came as events, over"
    " HTTP or the bus, are in a batch for each day (UTC), which has a name too: events-2026-11-20."
)


def without_address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A reason goes into the audit log, which is never changed: refuse what is plainly an address or a number."""
    if "@" in value or re.search(r"\+\d[\d ()/.-]{6,}\d", value):
        raise click.BadParameter("write no address and no telephone number: the audit log keeps it")
    return value


REASON = click.option(
    "--reason", default="", callback=without_address, help="Why, for the audit log: no name and no address."
)


class NotConfirmed(Ended):
    """The operator answered no."""

    exit_code = NEEDS_A_PERSON


def confirm(question: str) -> None:
    """Ask the operator. Raises NotConfirmed if the answer is no, CannotStart if there is no terminal to ask on."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            click.echo(err=True)
            raise CannotStart("this needs a confirmation, and there is no terminal to ask on; give --yes") from None
        raise
    if not agreed:
        raise NotConfirmed("nothing was changed")
