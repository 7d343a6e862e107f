"""`onboard init`: a first configuration and its keys, and a list with an example row of each kind. `onboard
completion`: a shell's completion script."""

import csv
import io
import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template

import click
from click.shell_completion import get_completion_class

from onboarding_worker.cli.exits import CannotStart, check_sandbox_is_installed
from onboarding_worker.cli.shared_options import JSON, print_json_or
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.private_files import PRIVATE, new_file, replacing
from onboarding_worker.lists.formats.source import LIST_FORMATS

LIST_COLUMNS = (
    *("customer_id", "kind", "email", "phone", "first_name", "last_name", "company_name"),
    *("country", "locale", "channel", "date_of_birth"),
)
# Reserved addresses, and numbers that are reserved for films. Ofcom's cover mobile phones.
LIST_ROWS = (
    ("EXAMPLE-1", "individual", "ona@example.com", "", "Ona", "Petrauskaitė", "", "LT", "lt", "", "1990-12-31"),
    ("EXAMPLE-2", "individual", "", "+447700900123", "John", "Smith", "", "GB", "en", "sms", "1985-02-01"),
    ("EXAMPLE-3", "company", "office@example.com", "", "", "", "Example GmbH", "DE", "de", "email", ""),
)

CONFIG = "onboarding.toml"
KEY = "onboarding.key"
DIGEST_KEY = "onboarding-digest.key"
SECRETS = "secrets"
GITIGNORE = ".gitignore"
DATABASE = "onboarding.db"  # as both configurations name it
# The database too: who is verified is personal, although contacts and tokens in it are encrypted.
GITIGNORED = f"{KEY}\n{DIGEST_KEY}\n{SECRETS}/\n{DATABASE}*\n"
PORT = click.IntRange(1, 65_535)
# Invented. Only the sandbox accepts them.
SANDBOX_SECRETS = {
    "idenfy_key": "sandbox-key",
    "idenfy_webhook_key": "sandbox-webhook-key",
    "frankieone_webhook_secret": "sandbox-webhook-secret",
    "idenfy_secret": "sandbox-secret",
    "frankieone_key": "sandbox-key",
    "frankieone_customer": "11111111-1111-4111-8111-111111111111",
    "twilio_token": "sandbox-token",
}


def starter(name: str, **ports: int) -> str:
    """A file of this folder: starter.toml, for real providers, whose environment variables the operator sets; or
    sandbox.toml, which points at the sandbox on this machine."""
    text = Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return text.substitute(ports, prints=hint("keys", "; `onboard keys new --for events` prints one"))


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option(
    "--sandbox", is_flag=True, help="Use `onboard sandbox` on this machine: nothing is sent to real customers."
)
@click.option(
    "--port", type=PORT, default=9200, show_default=True, help="The port of the sandbox's providers (with --sandbox)."
)
@click.option(
    "--smtp-port",
    type=PORT,
    default=9225,
    show_default=True,
    help="The port of the sandbox's mailbox (with --sandbox).",
)
@click.option(
    "--list", "template", is_flag=True, help="Write only a list to fill in, with an example row of each kind."
)
@click.option("--force", is_flag=True, help="Replace an existing onboarding.toml. A key is never replaced.")
@JSON
def init(directory: Path, sandbox: bool, port: int, smtp_port: int, template: bool, force: bool, as_json: bool) -> None:
    """Write a first onboarding.toml, and keys for encryption and digests, into DIRECTORY (default: the current one).

    An existing onboarding.toml is replaced only with --force. An existing key is never replaced: everything that it has
    encrypted would be lost. A database stays too, with its customers: the last lines name it.

    A .gitignore that is there stays as it is: the last lines say what to add to it.

    With --list, neither is written: DIRECTORY gets customers.csv and, with the feature spreadsheets, customers.xlsx.
    They replace nothing. All cells of the workbook are text, so that a spreadsheet keeps phone numbers and ids as they
    are.
    """
    if template:
        if sandbox or force:
            raise click.UsageError(f"--list writes a list alone: leave out {'--sandbox' if sandbox else '--force'}")
        _write_list(directory, as_json=as_json)
        return
    if sandbox:
        check_sandbox_is_installed()
    from onboarding_worker.core.foundation.keyring import new_key  # imported here: it loads cryptography

    config, key = directory / CONFIG, directory / KEY
    if os.path.lexists(config) and not force:
        raise CannotStart(f"{config} exists; --force replaces it (and keeps {KEY})")
    written, kept = [str(config)], list[str]()
    ignored = directory / GITIGNORE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if sandbox:
            (directory / SECRETS).mkdir(mode=0o700, exist_ok=True)
            for name, value in SANDBOX_SECRETS.items():
                with replacing(directory / SECRETS / name, mode=PRIVATE) as stream:
                    stream.write(value + "\n")
                written.append(str(directory / SECRETS / name))
        for file in (key, directory / DIGEST_KEY):
            (written if _write_new(file, new_key() + "\n") else kept).append(str(file))
        if _write_new(ignored, GITIGNORED, mode=0o644):
            written.append(str(ignored))
        # Last: a directory with a configuration also has all files that the configuration names.
        text = starter("sandbox.toml", port=port, smtp_port=smtp_port) if sandbox else starter("starter.toml")
        with replacing(config, mode=0o644) as stream:
            stream.write(text)
    except OSError as error:
        raise CannotStart(f"{error.filename or directory}: {error.strerror or 'cannot be written'}") from None
    steps = _next_steps(directory, _not_ignored(ignored), sandbox=sandbox, port=port, smtp_port=smtp_port)
    lines = [*(f"wrote {path}" for path in written), *(f"kept {path}" for path in kept)]
    lines += ["\nNext:", *(f"  {step}" for step in steps)]
    facts = {"config": str(config), "key": str(key), "written": written, "kept": kept, "next": steps}
    print_json_or(facts, *lines, as_json=as_json)


def _write_list(directory: Path, *, as_json: bool) -> None:
    """Write the template of a list, as CSV and in each format that a feature writes: all as new files, or nothing."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([LIST_COLUMNS, *LIST_ROWS])
    files = {directory / "customers.csv": out.getvalue().encode("utf-8-sig")}
    for one in LIST_FORMATS.offered():
        if one.template is not None:
            files[directory / f"customers.{one.form}"] = one.template(LIST_COLUMNS, LIST_ROWS)
    there = next((path for path in files if os.path.lexists(path)), None)
    if there is not None:
        raise CannotStart(f"{there} exists, and is not replaced")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            with os.fdopen(new_file(path, mode=PRIVATE), "wb") as file:
                file.write(content)
    except OSError as error:
        raise CannotStart(f"{error.filename or directory}: {error.strerror or 'cannot be written'}") from None
    next_step = "\nReplace the example rows by your customers. docs/reference/list-format.md describes every column."
    names = [str(path) for path in files]
    print_json_or({"written": names}, *(f"wrote {name}" for name in names), next_step, as_json=as_json)


def _write_new(path: Path, text: str, *, mode: int = PRIVATE) -> bool:
    """Write a file that only its owner can read, by default; False, without a change, if the file exists."""
    try:
        descriptor = new_file(path, mode=mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return True


def _not_ignored(file: Path) -> list[str]:
    """The lines for our files that the .gitignore lacks. It may be one that was there, which stays as it is."""
    patterns = list[str]()
    with suppress(OSError):
        patterns = [line.strip().strip("/") for line in file.read_text("utf-8", "replace").splitlines()]
    return [
        line for line in GITIGNORED.split() if not any(fnmatchcase(line.strip("/*"), pattern) for pattern in patterns)
    ]


def _next_steps(directory: Path, not_ignored: list[str], *, sandbox: bool, port: int, smtp_port: int) -> list[str]:
    option = "" if directory == Path() else f" --config {directory / CONFIG}"
    run = [f"onboard check LIST.csv{option}", f"onboard run LIST.csv{option}"]
    if os.path.lexists(directory / DATABASE):
        # After a trial in the sandbox, a run of the same list with real accounts would send nothing, and look done.
        kept = "its customers count as invited"
        run = [f"move {directory / DATABASE} away, unless you go on with what it has: {kept}", *run]
    # A key in version control opens every token and address that it encrypts, for all who may read there.
    ignore = f"add to {directory / GITIGNORE}, before you commit: {', '.join(not_ignored)}"
    if sandbox:
        ports = "" if (port, smtp_port) == (9200, 9225) else f" --port {port} --smtp-port {smtp_port}"
        start = f"onboard sandbox{ports}        (in another terminal; it ends with Ctrl-C)"
        web = f"onboard web{option}        (in a third one: the dashboard; it also takes the webhooks of the sandbox)"
        return [*([ignore] if not_ignored else []), start, *run, web]
    back_up = f"back up {directory / KEY} and {DIGEST_KEY}"
    return [
        f"set IDENFY_KEY, IDENFY_SECRET and SMTP_URL, and adapt {directory / CONFIG} to your accounts",
        *([back_up, ignore] if not_ignored else [f"{back_up}; {GITIGNORE} keeps them out of version control"]),
        *filter(None, [hint("doctor", f"onboard doctor{option}")]),
        *run,
    ]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes onboard's commands and options.

    \b
    bash:  eval "$(onboard completion bash)"          in ~/.bashrc
    zsh:   eval "$(onboard completion zsh)"           in ~/.zshrc
    fish:  onboard completion fish > ~/.config/fish/completions/onboard.fish
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(completer(context.find_root().command, {}, "onboard", "_ONBOARD_COMPLETE").source())
