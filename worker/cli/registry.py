"""The commands of `onboard`: each in a module of its own, which is loaded when the command is asked for.

Loading all of them takes a second; the shell asks at every word that it completes.
"""

import gc
from importlib import import_module

import click

from worker.cli.invocation import Invocation, with_global_options
from worker.foundation.version import __version__

EPILOG = """\b
A first try, with nothing but this machine:
  onboard init --sandbox        writes onboarding.toml and a key
  onboard sandbox               plays the providers and a mailbox (in another terminal)
  onboard check customers.csv   what the list comes to; nothing is sent
  onboard run customers.csv     sends the invitations
  onboard report latest --out report.html

Exit codes: 0 done, 1 something needs a person, 2 could not start, 3 rows wait for a later hour, 130 interrupted.
"""


# Where each command is, and one line of what it does; its own --help says the rest.
COMMANDS = {
    "init": ("init", "Write a configuration to start from."),
    "check": ("check", "Check a list and forecast it; sends nothing."),
    "run": ("run", "Import a list and send its invitations."),
    "import": ("run", "Only import a list, for workers elsewhere."),
    "up": ("up", "Everything in one process, until ended."),
    "status": ("status", "How the batches stand."),
    "report": ("report", "What became of each row."),
    "retry": ("decide", "Put failed rows back to waiting."),
    "resolve": ("decide", "Settle held rows: repeat or abandon."),
    "pause": ("decide", "Take nothing more of a batch."),
    "resume": ("decide", "Go on with a paused batch."),
    "cancel": ("decide", "End a batch."),
    "archive": ("archive", "Keep a batch as a file, and purge it."),
    "suppress": ("suppress", "Addresses that are not written to."),
    "customer": ("customers", "A customer's sessions: why, and at what cost."),
    "account": ("accounts", "Limits, pauses, stops and credits."),
    "outbox": ("outbox", "What others are yet to be told."),
    "webhook": ("webhook", "What providers told that is nobody's."),
    "template": ("template", "Preview what customers read."),
    "worker": ("workers", "Work what is due, until ended."),
    "beat": ("workers", "Ring for what is due, until ended."),
    "bus": ("bus", "Take events from the message bus, until ended."),
    "web": ("web", "Take webhooks and events over HTTP, until ended."),
    "sandbox": ("sandbox", "Play the providers and a mailbox."),
    "db": ("database", "The database's schema."),
    "keys": ("init", "Keys to encrypt with."),
    "completion": ("completion", "Complete commands in your shell."),
}


class Commands(click.Group):
    """Those of COMMANDS, and a help that loads none of them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS and name not in self.commands:
            self.add_command(_loaded(name))
        return self.commands.get(name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(context)])


def _loaded(name: str) -> click.Command:
    module, short_help = COMMANDS[name]
    # Modules last as long as the process: looking for garbage among them takes a fifth of their loading and of the end.
    gc.disable()
    try:
        loaded = import_module(f"worker.cli.commands.{module}")
    finally:
        gc.freeze()
        gc.enable()
    command: click.Command = getattr(loaded, "import_" if name == "import" else name)  # `import` is Python's own word
    command.short_help = short_help
    return with_global_options(command)


@click.group(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, package_name="onboarding-worker", prog_name="onboard")
@click.pass_context
def main_group(context: click.Context) -> None:
    """Open identity-verification sessions for a list of customers, and send each one the link while it is fresh."""
    context.ensure_object(Invocation)


with_global_options(main_group)
