"""Arguments that a shell completes with what is there: batches of the database, accounts of the configuration.

The shell waits for each word, so nothing heavy is loaded: the file is read as TOML, and SQLite without our store. What
cannot be read completes nothing.
"""

import os
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from onboarding_worker.core.model.channels import CHANNELS

MOST = 20  # the newest batches


class Batch(click.ParamType[str]):
    """The number of a batch, `latest`, or the name of a day's batch."""

    name = "batch"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "Give a number of `onboard status`, `latest`, or the batch of a day, such as events-2026-11-20."

    def shell_complete(self, _context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
        found = [("latest", "the newest batch"), *_batches()]
        return [CompletionItem(value, help=help_) for value, help_ in found if value.startswith(incomplete)]


class AccountName(click.ParamType[str]):
    """The name of an account, and with `senders` of a sender."""

    name = "text"

    def __init__(self, *, senders: bool = False) -> None:
        self._senders = senders

    def shell_complete(self, _context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
        _, tree = _configuration()
        names = [*tree.get("accounts", {}), *(name for name in CHANNELS if self._senders and name in tree)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _configuration() -> tuple[Path, dict[str, Any]]:
    file = Path(os.environ.get("ONBOARDING_CONFIG") or "onboarding.toml")
    with suppress(OSError, ValueError, RecursionError):
        return file, tomllib.loads(file.read_text("utf-8-sig"))
    return file, {}


def _batches() -> Iterator[tuple[str, str]]:
    """The newest batches of a SQLite database, with their names; those of a server are not worth a connection."""
    file, tree = _configuration()
    url = tree.get("database", {}).get("url", "sqlite:///onboarding.db")
    if not isinstance(url, str) or not url.startswith("sqlite:///"):
        return
    path = file.absolute().parent / url.removeprefix("sqlite:///")
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT id, name FROM batch ORDER BY id DESC LIMIT ?"
        yield from [(str(id_), name) for id_, name in connection.execute(query, (MOST,))]
