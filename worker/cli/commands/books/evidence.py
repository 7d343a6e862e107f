"""`onboard evidence`: what was done with a batch, as a signed file, and the check of such a file."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from worker.cli.completions import Batch
from worker.cli.exits import NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation, find_kept
from worker.cli.option_types import Named
from worker.cli.shared_options import JSON, NAMES_OF_BATCHES
from worker.cli.whole_file import OUT, whole_file
from worker.domain.evidence.container import Refused
from worker.domain.evidence.making import make
from worker.domain.evidence.verifying import Verified, verify
from worker.domain.model.needs import PROVING, SIGNING
from worker.engine.container import Parts
from worker.foundation.plural import counted
from worker.foundation.signing import LARGEST_PEM, SigningKey, VerifyingKey, read_public_key
from worker.settings import Settings
from worker.store.audit.entries import note_alone
from worker.store.audit.sealing import NotSigned


class _OfABatch(click.Group):
    """A group where `evidence 7` is short for its command that makes evidence."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "", _make, args
        return super().resolve_command(context, args)


@click.group(
    cls=_OfABatch,
    invoke_without_command=True,
    subcommand_metavar="BATCH --out FILE | verify FILE | key",
    epilog=NAMES_OF_BATCHES,
)
@click.pass_context
def evidence(context: click.Context) -> None:
    """Write what was done with a BATCH (a number, or `latest`) into one signed file, for an auditor.

    Every decision, call, session and message, and each customer with consent and result: by ids, without names,
    addresses, texts and links. A page of totals and a table of the customers are in it for people:
    docs/security/evidence.md.

    \b
    onboard keys new --for evidence                for key in [evidence]
    onboard evidence key --out evidence-key.pem    once, for the auditor to keep
    onboard evidence 7 --out batch-7.zip
    onboard evidence verify batch-7.zip --key evidence-key.pem
    """
    if context.invoked_subcommand is None:
        raise click.UsageError("give a BATCH (a number, or `latest`) and --out FILE, or `verify FILE`", context)


class _WithoutName(click.Context):
    @property
    def command_path(self) -> str:
        return super().command_path.rstrip()  # an empty name would leave two spaces in the usage


class _Unnamed(click.Command):
    context_class = _WithoutName


@click.command("", cls=_Unnamed, hidden=True)
@click.argument("batch", type=Batch())
@click.option("--out", required=True, type=Named(), help="Write to this file.")
@JSON
@click.pass_obj
def _make(invocation: Invocation, batch: str, out: Path, as_json: bool) -> None:
    """Write the evidence of BATCH. The same records give the same file; the audit log has who made it."""
    if out.exists():
        raise CannotStart(f"--out: {out.name} exists; name another file")
    with invocation.parts(PROVING, migrate=True) as parts:
        found = find_kept(parts, batch)
        key = _key_of(parts.settings)
        _seal(parts)
        with TemporaryFile() as made:
            try:
                facts = make(made, parts.evidence_records.of(found.id), key)
            except Refused as error:
                raise CannotStart(f"batch {found.id}: {error}") from None
            said = f"evidence {facts.content} signed by key {facts.key_id}"
            # Before the file is there: what leaves has its entry.
            note_alone(parts.database, f"batch {found.id}", now=parts.clock(), count=facts.customers, reason=said)
            made.seek(0)
            with whole_file(out) as stream:
                shutil.copyfileobj(made, stream.buffer)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "batch": found.id,
                    "customers": facts.customers,
                    "records": facts.records,
                    "head": facts.head,
                    "content": facts.content,
                    "key": facts.key_id,
                }
            )
        )
    else:
        click.echo(
            f"batch {found.id}: {counted(facts.records, 'record')} of {counted(facts.customers, 'customer')}"
            f" written to {out}"
        )
        click.echo(f"content {facts.content}, signed by key {facts.key_id}")


def _seal(parts: Parts) -> None:
    """Decisions have their numbers in the audit log's chain before they are written."""
    try:
        parts.seals.seal()
    except NotSigned as error:
        click.echo(f"warning: {error}: `onboard audit verify` says what is wrong", err=True)


def _key_of(settings: Settings) -> SigningKey:
    if settings.evidence is None:
        raise CannotStart(
            "evidence.key is not set: `onboard keys new --for evidence` prints a key; write"
            ' [evidence] key = { file = "PATH" }'
        )
    return SigningKey(settings.evidence.key.reveal().strip())


@evidence.command("key")
@OUT
@click.pass_obj
def evidence_key(invocation: Invocation, out: Path | None) -> None:
    """Print the public key, in PEM: give it to those who check evidence, in another way than the evidence itself."""
    public = _key_of(invocation.settings(SIGNING)).public
    with whole_file(out) as stream:
        stream.write(public.pem.decode())
    click.echo(f"key {public.id}", err=True)


def _read_key(path: Path) -> VerifyingKey:
    try:
        with path.open("rb") as stream:
            return read_public_key(stream.read(LARGEST_PEM + 1))
    except OSError as error:
        raise CannotStart(f"--key: {path.name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CannotStart(f"--key: {path.name}: {error}; `onboard evidence key` writes one") from None


@evidence.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), help="The public key that you kept (PEM): did it sign?"
)
@JSON
def evidence_verify(file: Path, key_file: Path | None, as_json: bool) -> None:
    """Check that nothing in FILE was changed since it was signed. Needs no configuration, no database, no network.

    Without --key the file is checked with the key in it: who changes a file can sign it with a key of their own, and
    put that in. With a key that you got in another way, this is found too.

    Exit codes: 0 nothing was changed; 1 something was, and each file and line is named; 2 could not start.
    """
    key = _read_key(key_file) if key_file is not None else None
    if not file.is_file():  # a pipe would wait for its writer
        raise CannotStart(f"{file.name}: there is no such file")
    try:
        with file.open("rb") as raw:
            found = verify(raw, key)
    except OSError as error:
        raise CannotStart(f"{file.name} cannot be read: {error.strerror or type(error).__name__}") from None
    if as_json:
        click.echo(json.dumps(_facts(found)))
    else:
        _show(found, file)
    raise SystemExit(0 if found.is_whole else NEEDS_A_PERSON)


def _facts(found: Verified) -> dict[str, Any]:
    facts = {
        name: getattr(found, name) for name in ("batch", "records", "head", "content", "pinned", "problems", "more")
    }
    return {"whole": found.is_whole, "key": found.key_id, **facts}


def _show(found: Verified, file: Path) -> None:
    for problem in found.problems:
        click.echo(problem, err=True)
    if found.more:
        click.echo(f"and {found.more:,} more", err=True)
    if not found.is_whole:
        click.echo(f"{file.name} is not as it was signed", err=True)
        return
    click.echo(f"batch {found.batch}: {counted(found.records, 'record')}, nothing was changed")
    compared = "the key that you gave" if found.pinned else "not compared with a key of yours: give it with --key"
    click.echo(f"content {found.content}, signed by key {found.key_id} ({compared})")
