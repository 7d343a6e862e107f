"""`onboard`: the commands. Each is a module of its own; this one puts them together."""

import logging
import sys

import click

from worker import __version__
from worker.cli.accounts import account
from worker.cli.archive import archive
from worker.cli.bus import bus
from worker.cli.check import check
from worker.cli.completion import completion
from worker.cli.database import db
from worker.cli.decide import cancel, pause, resolve, resume, retry
from worker.cli.exits import COULD_NOT_START, DONE, INTERRUPTED, NEEDS_A_PERSON
from worker.cli.init import init, keys
from worker.cli.invocation import Invocation, start_logging, with_global_options
from worker.cli.outbox import outbox
from worker.cli.report import report
from worker.cli.run import import_, run
from worker.cli.sandbox import sandbox
from worker.cli.status import status
from worker.cli.template import template
from worker.cli.up import up
from worker.cli.web import web
from worker.cli.workers import beat, worker

EPILOG = """\b
A first try, with nothing but this machine:
  onboard init --sandbox        writes onboarding.toml and a key
  onboard sandbox               plays the providers and a mailbox (in another terminal)
  onboard check customers.csv   what the list comes to; nothing is sent
  onboard run customers.csv     sends the invitations
  onboard report latest --out report.html

Exit codes: 0 done, 1 something needs a person, 2 could not start, 3 rows wait for a later hour, 130 interrupted.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="onboarding-worker", prog_name="onboard")
@click.pass_context
def main_group(context: click.Context) -> None:
    """Open identity-verification sessions for a list of customers, and send each one the link while it is fresh."""
    context.ensure_object(Invocation)


COMMANDS = (
    init,
    check,
    run,
    import_,
    up,
    status,
    report,
    retry,
    resolve,
    pause,
    resume,
    cancel,
    archive,
    account,
    outbox,
    template,
    worker,
    beat,
    bus,
    web,
    sandbox,
    db,
    keys,
    completion,
)
# One line each in the list of commands; each command's own --help says the rest.
SHORT = {
    "init": "Write a configuration to start from.",
    "check": "Check a list and forecast it; sends nothing.",
    "run": "Import a list and send its invitations.",
    "import": "Only import a list, for workers elsewhere.",
    "up": "Everything in one process, until ended.",
    "status": "How the batches stand.",
    "report": "What became of each row.",
    "retry": "Put failed rows back to waiting.",
    "resolve": "Settle held rows: repeat or abandon.",
    "pause": "Take nothing more of a batch.",
    "resume": "Go on with a paused batch.",
    "cancel": "End a batch.",
    "archive": "Keep a batch as a file, and purge it.",
    "account": "Limits, pauses, stops and credits.",
    "outbox": "What others are yet to be told.",
    "template": "Preview what customers read.",
    "worker": "Work what is due, until ended.",
    "beat": "Ring for what is due, until ended.",
    "bus": "Take events from the message bus, until ended.",
    "web": "Take events over HTTP, until ended.",
    "sandbox": "Play the providers and a mailbox.",
    "db": "The database's schema.",
    "keys": "Keys to encrypt with.",
    "completion": "Complete commands in your shell.",
}
for command in COMMANDS:
    command.short_help = SHORT[command.name or ""]
    main_group.add_command(command)
with_global_options(main_group)


def main() -> None:
    """The console script. Ends with the codes of `exits`, and never with a traceback."""
    invocation = Invocation()
    start_logging(invocation)
    try:
        # Not standalone: Click would end with 1 when interrupted, which means that a person is needed.
        code = main_group(obj=invocation, prog_name="onboard", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; safe to run again", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(COULD_NOT_START)  # the reader of our output has gone
    except Exception as error:
        logging.getLogger(__name__).exception("a bug")
        click.echo(f"onboard: a bug: {type(error).__name__}; --log-level debug --log-file FILE keeps more", err=True)
        sys.exit(NEEDS_A_PERSON)
