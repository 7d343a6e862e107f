"""The commands of `onboard`. Each has a module, which is loaded when the command is used.

Loading all of them takes a second, and the shell runs `onboard` at every word that it completes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import click
from click.shell_completion import CompletionItem

from onboarding_worker.cli.exits import check_sandbox_is_installed
from onboarding_worker.cli.invocation import Invocation, with_global_options
from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, NOT_INSTALLED, Command, loaded
from onboarding_worker.core.foundation.garbage import collect_rarely
from onboarding_worker.core.foundation.version import __version__

EPILOG = """\b
A first try, on this machine alone:
  onboard demo                  the whole job with an invented list, in a folder `demo`

\b
With your own list:
  onboard init --sandbox        writes onboarding.toml and a key
  onboard sandbox               simulates the providers and a mailbox (in another terminal)
  onboard check customers.csv   problems, costs and a forecast; sends nothing
  onboard run customers.csv     sends the invitations
  onboard report latest --out report.html

\b
Exit codes: 0 done, 1 something needs a person, 2 could not start,
  3 rows wait until later, 130 interrupted.
"""


# The groups of `onboard --help`, as it shows them, and the one of `onboard events --help`.
GROUPS = ("Lists", "Customers", "Processes", "Month end", "Set-up", "Events")

# The module, the group and the line of help of each command of ours. "events dead" is in the group `events`.
_OWN = {
    "init": ("init", "Set-up", "Write a configuration to start from."),
    "check": ("check", "Lists", "Check a list and forecast it; sends nothing."),
    "run": ("run", "Lists", "Import a list and send it, in this process."),
    "import": ("run", "Lists", "Import a list; running workers send it."),
    "status": ("status", "Lists", "Show the state of batches."),
    "report": ("report", "Lists", "Write the result of each row, or of a month."),
    "retry": ("decide", "Lists", "Try failed rows again."),
    "resolve": ("decide", "Lists", "Decide held rows: repeat or abandon."),
    "pause": ("decide", "Lists", "Pause a batch."),
    "resume": ("decide", "Lists", "Resume a paused batch, or everything."),
    "cancel": ("decide", "Lists", "Cancel a batch, for good."),
    "suppress": ("suppress", "Customers", "Manage the do-not-contact list."),
    "up": ("serving", "Processes", "Run everything in one process."),
    "worker": ("workers", "Processes", "Run a worker (needs a broker)."),
    "beat": ("workers", "Processes", "Run the scheduler of the workers."),
    "bus": ("workers", "Processes", "Receive events from the message bus."),
    "web": ("serving", "Processes", "Receive webhooks and events over HTTP."),
    "stop": ("decide", "Processes", "Stop everything at once."),
    "account": ("accounts", "Processes", "Show accounts, resume stopped ones."),
    "events": ("events", "Processes", "Look after events and webhooks."),
    "events dead": ("events", "Events", "Show refused events, put them back or remove them."),
    "events webhooks": ("events", "Events", "Show webhooks to check, process them again."),
    "template": ("template", "Set-up", "Preview messages, and export their built-in texts."),
    "sandbox": ("sandbox", "Set-up", "Simulate the providers and a mailbox."),
    "demo": ("sandbox", "Set-up", "Play the whole job on this machine, with an invented list."),
    "db": ("database", "Set-up", "Upgrade the schema, grant rights, copy to PostgreSQL."),
    "completion": ("init", "Set-up", "Set up completion in your shell."),
}


def _own(name: str, module: str, group: str, short_help: str) -> Command:
    function = "import_" if name == "import" else name.split()[-1]  # `import` is Python's own word
    if module == "sandbox":  # a program of its own
        return Command(f"onboarding_sandbox.command:{function}", group, short_help, extra="sandbox")
    return Command(f"onboarding_worker.cli.commands.{module}:{function}", group, short_help)


# Our own, and those of features. `reconcile` is the command of a feature.
COMMANDS = {name: _own(name, *of_command) for name, of_command in _OWN.items()} | {
    name: command for feature in FEATURES.here.values() for name, command in feature.commands.items()
}

# What people type for a command of ours.
OTHER_NAMES = {
    "start": "up",
    "serve": "up",
    "send": "run",
    "halt": "stop",
    "dry-run": "check",
    "nonresponders": "report",
    "simulate": "rehearse",
    "forecast": "rehearse",
    "validate": "check",
    "list": "status",
    "migrate": "db upgrade",
    "upgrade": "db upgrade",
    "customers": "customer",
    "accounts": "account",
    "user": "users",
    "dashboard": "web",
    "webhooks": "events webhooks",
    "outbox": "events outgoing",
    "templates": "template",
}


class Commands(click.Group):
    """Those of COMMANDS that are in this group, with a help that loads none of their modules."""

    @property
    def _before(self) -> str:
        """What is typed before their names."""
        return "" if self is main_group else f"{self.name} "

    @property
    def _here(self) -> dict[str, Command]:
        before = self._before
        below = {name.removeprefix(before): one for name, one in COMMANDS.items() if name.startswith(before)}
        return {name: one for name, one in below.items() if " " not in name}

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(self._here)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name in self._here and name not in self.commands:
            self.add_command(_loaded(self._here[name]), name)
        return self.commands.get(name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in self._here and not name.startswith("-"):
            before, names = self._before, (*COMMANDS, *shipped.COMMANDS, *OTHER_NAMES)
            known = {one.removeprefix(before): OTHER_NAMES.get(one, one) for one in names if one.startswith(before)}
            near = get_close_matches(name, known, n=1)
            meant = known[near[0]] if near else None
            if meant in shipped.COMMANDS and meant not in COMMANDS:
                raise click.UsageError(f"{meant}: {NOT_INSTALLED}", context)
            hint = f"did you mean `onboard {meant}`?" if meant else f"`onboard {before}--help` lists them"
            raise click.UsageError(f"there is no command {name[:40]!r}; {hint}", context)
        return super().resolve_command(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name, help=one.help) for name, one in self._here.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, context, incomplete)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self._here))
        for group in GROUPS:
            in_it = [(name.ljust(width), one.help) for name, one in self._here.items() if one.group == group]
            if in_it:
                with formatter.section(group):
                    formatter.write_dl(sorted(in_it))


@contextmanager
def loading() -> Iterator[None]:
    """Modules live as long as the process. Collecting garbage meanwhile would take a fifth of the time for loading."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        collect_rarely()


def _loaded(found: Command) -> click.Command:
    if found.extra == "sandbox":
        check_sandbox_is_installed()
    with loading():
        command: click.Command = loaded(found.place)
    command.short_help = found.help
    return with_global_options(command)


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    # Imported here: no other command line needs them.
    from onboarding_worker.providers.facts import PROVIDERS
    from onboarding_worker.senders.facts import TEXT_SERVICES

    click.echo(f"onboard, version {__version__}")
    for kind, adapters in (("provider", PROVIDERS.foreign), ("sender", TEXT_SERVICES.foreign)):
        for adapter in adapters:
            click.echo(f"{kind} {adapter.name}: {adapter.package}")
    context.exit()


@click.group(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and the adapters of other packages.",
)
@click.pass_context
def main_group(context: click.Context) -> None:
    """Open identity-verification sessions for a list of customers, and send each one the link while it is fresh."""
    context.ensure_object(Invocation)


with_global_options(main_group)
