"""`onboard run` and `onboard import`: their options. What they do is loaded when they run, and not for --help."""

from typing import Any

import click

from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.cli.lists.options import LIST_HELP, known_options, list_options, plan_options
from onboarding_worker.cli.registry import loading
from onboarding_worker.cli.shared_options import JSON, Read
from onboarding_worker.core.foundation.notation import parse_duration

AGAIN = click.option(
    "--again",
    is_flag=True,
    help="Make a new batch, even if this list was imported before. An import that was cut off goes on first.",
)


def _check_instead(_context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        raise click.UsageError("`onboard check LIST` is the dry run: it sends nothing and imports nothing")


@click.command(
    help=f"Import LIST and send its invitations, in this process.\n{LIST_HELP}"
    "On a terminal it shows what would leave, with the first message and the cost, and asks; a list that has begun to"
    " leave goes on without a question. Without a terminal it does not ask.\n\n"
    "Works this list alone: names other batches with rows that were not sent, and skips them. Safe to interrupt:"
    " after Ctrl-C no worker sends the rest until you run the same list again, or `onboard resume` it. On SQLite only"
    " one such process can work at a time; on PostgreSQL it works in parallel with other workers.\n\n"
    "Exit codes: 0 all done; 1 rows were rejected, failed or are held, or an account is stopped; 2 could not start;"
    " 3 rows wait until later; 130 interrupted."
)
@list_options
@known_options
@click.option(
    "--until",
    type=click.Choice(["sent", "finished"]),
    default="sent",
    show_default=True,
    help="sent: work until each row's first invitation is sent. finished: work until each row has ended. Both end"
    " earlier if no row can go on within --patience.",
)
@click.option(
    "--patience",
    type=Read("duration", parse_duration, shows=False),
    default="10 minutes",
    show_default=True,
    help="How long to wait for rows that cannot go on now, before ending with code 3: 90s, 10 minutes, 2h. After"
    " as long without a database that can be written (a minute during the import), it ends with code 1.",
)
@AGAIN
@plan_options
@click.option("--all", "every", is_flag=True, help="Until this list is done, also work the other batches and events.")
@click.option(
    "--yes",
    is_flag=True,
    help="Send without showing what would leave and asking. With --all: also batches that were stopped with Ctrl-C.",
)
@JSON
@click.option("--dry-run", is_flag=True, hidden=True, expose_value=False, is_eager=True, callback=_check_instead)
@click.pass_obj
def run(invocation: Invocation, /, **chosen: Any) -> None:
    with loading():
        from onboarding_worker.cli.running.work import run_list

    raise SystemExit(run_list(invocation, **chosen))


@click.command(
    "import",
    help=f"Import LIST only; running workers (`onboard worker`, `onboard up`) send its invitations.\n{LIST_HELP}"
    "The same list again is the same batch: the import continues where it was cut off, or changes nothing.\n\n"
    "Exit codes: 0 all rows were accepted; 1 rows were rejected, the others are imported, or the batch is paused;"
    " 2 could not start; 130 interrupted.",
)
@list_options
@known_options
@AGAIN
@plan_options
@click.option(
    "--adopt",
    is_flag=True,
    help="The sessions of LIST are open already, by another tool: its columns session_token, session_reference and"
    " session_expires_at name them. Nothing is bought, and no first message leaves: docs/how-to/adopt.md.",
)
@click.option("--invite", is_flag=True, help="With --adopt: send a first message with the link all the same.")
@JSON
@click.pass_obj
def import_(invocation: Invocation, /, **chosen: Any) -> None:
    if chosen["invite"] and not chosen["adopt"]:
        raise click.UsageError("--invite belongs to --adopt: without it each customer gets a first message")
    if chosen["adopt"] and chosen["plan"] is not None:
        raise click.UsageError("--adopt takes no plan: the sessions are open already")
    with loading():
        from onboarding_worker.cli.running.work import import_list

    raise SystemExit(import_list(invocation, **chosen))
