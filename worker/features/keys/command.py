"""`onboard keys`: makes keys, shows which are needed, rotates and retires them."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import click

from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart, NotDone
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.foundation.keyring import derived_digest_key, new_key
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.foundation.private_files import new_file
from onboarding_worker.features.keys.store.key_rotation import KeyRotation, KeyUse, Needs, Rotated
from onboarding_worker.reporting.store.processes import GONE_AFTER
from onboarding_worker.settings.needs import STORED
from onboarding_worker.settings.outside import hash_of
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_first_keys
from onboarding_worker.wiring.store.encrypted_columns import DIGESTS, EncryptedColumn, Uses, retired_keys

PASSES = 5  # rows that other transactions hold are tried again in the next pass

SHOW_EVERY = 5.0  # seconds between lines of progress
# A process that begins while a key is retired says that it runs within a second or two, and stops counting only after
# GONE_AFTER: so a second look after that time sees it, or what it has written.
SECOND_LOOK = int(GONE_AFTER.total_seconds())
LASTING = {column.name for column in DIGESTS if column.lasts}


def rotate(
    rotation: KeyRotation,
    *,
    per_second: int,
    seconds: Callable[[], float],
    pause: Callable[[float], None],
    clock: Callable[[], datetime],
    show: Callable[[str, int, int], None] = lambda _name, _changed, _total: None,
) -> dict[str, Rotated]:
    """Change all rows that are not by the first keys; returns what became of each column.

    At most `per_second` rows a second, and at least half of the time is left to other processes. `seconds` is a clock
    that only goes forward, `pause` gets seconds, and `clock` is the time of day. `show` gets a column, and how many
    rows of it, and of all columns, were changed so far.
    """
    found = {column.name: Rotated(None) for column in rotation.columns}

    def work(column: EncryptedColumn) -> None:
        done = Rotated(None, found[column.name].changed)
        while True:
            began = seconds()
            chunk = rotation.chunk(column, done.after, now=clock())
            spent = seconds() - began
            done = found[column.name] = done.with_(chunk)
            show(column.name, done.changed, sum(one.changed for one in found.values()))
            if chunk.changed:
                pause(max(spent, chunk.changed / per_second - spent))
            if done.after is None:
                return

    for number in range(PASSES):
        for column in rotation.columns:
            if number == 0 or found[column.name].busy:
                work(column)
    return found


@click.group()
def keys() -> None:
    """Make keys, see which keys the stored values need, rotate and retire them: docs/features/keys.md."""


@keys.command("new")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["encryption", "events"]),
    default="encryption",
    show_default=True,
    help="encryption: for keys and digest_key in [encryption]. events: for keys in [web.senders.NAME], and others that"
    " requests to `onboard web` are checked with.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the key into a new file that only you can read, and print no key.",
)
def keys_new(purpose: str, out: Path | None) -> None:
    """Print a new key: for encryption, or for a sender of events. Needs no configuration.

    With --for events, stderr has the key's hash: with the hash in onboarding.toml, only the sender has the key.
    """
    key = new_key() if purpose == "encryption" else token_urlsafe(32)
    if out is None:
        click.echo(key)
    else:
        try:  # never into a file that was there: what needs an earlier key is lost without it
            with os.fdopen(new_file(out), "w", encoding="utf-8") as stream:
                stream.write(f"{key}\n")
        except FileExistsError:
            raise CannotStart(f"--out: {out} exists; name another file") from None
        except OSError as error:
            raise CannotStart(f"--out: {out}: {error.strerror}") from None
    if purpose == "events":
        click.echo(f'its hash, for [web.senders.NAME]: keys = ["{hash_of(key)}"]', err=True)


@keys.command("digest-key")
@click.pass_obj
def keys_digest_key(invocation: Invocation) -> None:
    """Print the digest key that is in use while [encryption] has no digest_key: set it, before you rotate `keys`.

    It is derived from the first of `keys`. As digest_key it changes nothing, and a new key can follow it.
    """
    encryption = invocation.settings(STORED).encryption
    if encryption.digest_key:
        raise CannotStart("encryption.digest_key is set: no key is derived")
    click.echo(derived_digest_key(encryption.keys[0].reveal()))


@keys.command("status")
@saying(STORED, migrate=True)
def keys_status(parts: Parts) -> Said:
    """Show each key by its id, its place in the configuration, and how many stored values and digests need it.

    Reads every row, and locks none. Ends with code 1 if values need a key that is not in the configuration.
    """
    values, digests = KeyUse(parts.database, parts.keyring).uses()
    retired = retired_keys(parts.database)
    facts = [*_states("encryption", parts.keyring.ids, values, retired)]
    facts += _states("digests", parts.keyring.digest_ids, digests, retired)
    lines = []
    for one in facts:
        needed = ", ".join(_number_of(number, name) for name, number in one["needed_by"].items())
        lines.append(f"{one['id'] or '(no id)'}  {one['use']}, {one['state']}: {needed or 'nothing needs it'}")
    is_missing = any(one["state"] == "missing" for one in facts)
    return Said({"keys": facts}, lines, ends=SystemExit(NEEDS_A_PERSON) if is_missing else None)


def _states(use: str, ring: tuple[str, ...], uses: Uses, retired: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key_id in [*ring, *sorted(uses.keys() - set(ring))]:
        needed_by = uses.get(key_id, {})
        state = "first" if key_id == ring[0] else "other" if key_id in ring else "missing"
        if state == "missing" and use == "digests" and LASTING.isdisjoint(needed_by):
            state = "gone"  # of what is recognised for some weeks only
        if key_id in retired:
            state = "retired"
        yield {"id": key_id, "use": use, "state": state, "needed_by": needed_by}


def _number_of(number: int, name: str) -> str:
    """`1 event`, `2 emails of customers`; `name` is a column's, in the plural, or of the one thing that it holds."""
    if name.startswith("the "):
        return name
    nouns, of, rest = name.partition(" of ")
    noun = nouns.removesuffix("es") if nouns.endswith("sses") else nouns.removesuffix("s")
    return f"{counted(number, noun, nouns)}{of}{rest}"


@keys.command("rotate")
@click.option(
    "--per-second",
    type=click.IntRange(1, 100_000),
    default=2000,
    show_default=True,
    help="How many rows it changes in a second, at most.",
)
@saying(STORED, migrate=True)
def keys_rotate(parts: Parts, per_second: int) -> Said:
    """Encrypt all stored values by the first of `keys`, and hash again by the first digest_key, while workers run.

    It changes few rows at a time, and holds their locks for milliseconds. End it at any moment: the next one goes on
    with what is left. Give the new key to all processes first, behind the old key; then put it first, and restart them
    (docs/features/keys.md). Ends with code 1 if values are left that no key decrypts.
    """
    said, of = time.monotonic(), dict[str, int]()

    def show(name: str, changed: int, total: int) -> None:
        nonlocal said
        if changed and time.monotonic() - said >= SHOW_EVERY:
            said = time.monotonic()
            # Workers add and remove rows meanwhile: what was to be changed at the start is not exact.
            most, whole = max(of[name], changed), max(sum(of.values()), total)
            in_all = f"{total:,} of {whole:,} in all ({total * 100 // whole} %)"
            click.echo(f"{name}: {changed:,} of {most:,} changed; {in_all}", err=True)

    check_first_keys(parts.database, parts.keyring)
    first = parts.keyring.ids[0]
    note_alone(parts.database, f"key {first}", now=parts.clock(), reason="values are changed to it")
    of = KeyUse(parts.database, parts.keyring).to_change()
    found = rotate(
        KeyRotation(parts.database, parts.keyring),
        per_second=per_second,
        seconds=time.monotonic,
        pause=time.sleep,
        clock=parts.clock,
        show=show,
    )
    total = sum(one.changed for one in found.values())
    note_alone(parts.database, f"key {first}", now=parts.clock(), count=total, reason="values were changed to it")
    left = sum(one.busy + one.unreadable for one in found.values())
    columns, lines = {}, list[str]()
    for name, one in found.items():
        columns[name] = {"changed": one.changed, "busy": one.busy, "unreadable": one.unreadable}
        if any(columns[name].values()):
            rest = f"; {one.busy:,} are locked" if one.busy else ""
            rest += f"; {one.unreadable:,} cannot be decrypted" if one.unreadable else ""
            lines.append(f"{name}: {one.changed:,} changed{rest}")
    all_done = f"{counted(total, 'value')} changed; all values are by the first keys"
    lines.append(f"{counted(left, 'value')} left; `onboard keys status` names their keys" if left else all_done)
    facts = {"key": first, "digest_key": parts.keyring.digest_ids[0], "columns": columns}
    return Said(facts, lines, SystemExit(NEEDS_A_PERSON) if left else None)


@keys.command("retire")
@click.argument("key_id", metavar="ID")
@click.option(
    "--forget-copies",
    is_flag=True,
    help="Of a digest key: retire it although copies of webhooks and events, and places of addresses, are recognised by"
    " it. They are not recognised any more.",
)
@click.option(
    "--lost",
    is_flag=True,
    help="The key is gone: give up the values that need it. They stay, and what needs them is held.",
)
@click.option(
    "--second-look",
    type=click.IntRange(0, 3600),
    default=SECOND_LOOK,
    show_default=True,
    help="How many seconds after the first look everything is looked at again; 0: one look is enough, since no process"
    " was starting.",
)
@saying(STORED, migrate=True)
def keys_retire(parts: Parts, key_id: str, forget_copies: bool, lost: bool, second_look: int) -> Said:
    """Prove that nothing needs the key ID (see `onboard keys status`), so that it can be destroyed.

    Every row is looked at, and every process that runs. From then on no process starts that would encrypt or hash with
    this key. A process that was just starting is seen by a second look. Ends with code 1, and changes nothing, if
    something needs it.
    """
    if not re.fullmatch(r"[0-9a-f]{8}", key_id):
        raise click.UsageError("ID is 8 digits and letters from a to f; `onboard keys status` shows the ids")
    ring = parts.keyring
    if key_id in (ring.ids[0], ring.digest_ids[0]):
        raise CannotStart(f"the key {key_id} is the first one of this configuration: put another key before it")
    known = key_id in retired_keys(parts.database)
    # First, so that no process that would use the key starts while the rows are looked at.
    use = KeyUse(parts.database, parts.keyring)
    use.retire(key_id, now=parts.clock())
    needs, needed = _needed(parts, key_id, forget_copies=forget_copies, lost=lost)
    if not needed and second_look:
        click.echo(f"nothing needs it; the second look is in {second_look} s", err=True)
        time.sleep(second_look)
        needs, needed = _needed(parts, key_id, forget_copies=forget_copies, lost=lost)
    if needed and not known:
        use.take_back(key_id, now=parts.clock())
    given_up = sum(needs.values.values()) if lost else 0
    if lost and not needed and not known:
        note_alone(parts.database, f"key {key_id}", now=parts.clock(), count=given_up, reason="values given up")
    facts = {"id": key_id, "retired": not needed, "values": needs.values, "digests": needs.digests}
    facts["processes"] = [{"kind": one.kind, "host": one.host, "pid": one.pid} for one in needs.processes]
    if needed:
        then = "`onboard keys rotate` changes values; restart processes that have it as their first key"
        return Said(facts, [], NotDone(f"the key {key_id} is needed by {', '.join(needed)}\n{then}"))
    why = f"{given_up:,} values are given up, and nothing else needs" if given_up else "nothing needs"
    return Said(facts, [f"{why} the key {key_id}: take it out of the configuration, and destroy it"])


def _needed(parts: Parts, key_id: str, *, forget_copies: bool, lost: bool) -> tuple[Needs, list[str]]:
    """What needs the key, and what of it keeps it from being retired, in words."""
    needs = KeyUse(parts.database, parts.keyring).needs(key_id, now=parts.database_clock())
    digests = {name: number for name, number in needs.digests.items() if name in LASTING or not forget_copies}
    needed = [] if lost else [_number_of(number, name) for name, number in needs.values.items()]
    needed += [] if lost else [f"{counted(number, 'digest')} of {name}" for name, number in digests.items()]
    needed += [f"the process {one.kind} on {one.host}, pid {one.pid}" for one in needs.processes]
    return needs, needed
