"""The product as its users start it: a configuration, an imported list, and processes."""

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from benchmarks.processes import ONBOARD, Started, onboard, running
from benchmarks.services import driver_url
from onboarding_worker.core.foundation.keyring import new_key

# More about the account, and other tables, may follow.
CONFIGURATION = """
[encryption]
keys = [{ env = "BENCH_KEY" }]
[[routes]]
accounts = ["kyc"]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = { env = "BENCH_SANDBOX_KEY" }
api_secret = { env = "BENCH_SANDBOX_SECRET" }
"""
EMAIL = """
[email]
url = "smtp://127.0.0.1:{port}"
from = "Example Bank <verify@example.com>"
"""
LIST = "list.csv"


def make_secrets() -> None:
    """Set what the configuration reads from the environment."""
    os.environ["BENCH_KEY"] = new_key()
    os.environ["BENCH_SANDBOX_KEY"], os.environ["BENCH_SANDBOX_SECRET"] = "sandbox-key", "sandbox-secret"


def configure(folder: Path, more: str, *, database: str = "sqlite:///onboarding.db") -> None:
    """Write the configuration; `more` begins with the account's other settings."""
    (folder / "onboarding.toml").write_text(f'{CONFIGURATION}{more}\n[database]\nurl = "{database}"\n')
    onboard(folder, "db", "upgrade")


def import_list(folder: Path, rows: int, **more: str) -> None:
    """Import a list. `more`: columns with the same text in each row."""
    with (folder / LIST).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["customer_id", "email", "country", *more])
        writer.writerows([f"C-{row:08}", f"c{row}@example.com", "DE", *more.values()] for row in range(rows))
    onboard(folder, "import", LIST)


@contextmanager
def workers(
    number: int, *beside: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[list[Started]]:
    """`number` processes of `onboard worker`, and the processes of other commands."""
    with ExitStack() as exits:
        commands = [*["worker"] * number, *beside]
        yield [
            exits.enter_context(running([*ONBOARD, command], folder=folder, environment=environment))
            for command in commands
        ]


def tidy(database: str) -> None:
    """Vacuum and analyze, as autovacuum does within a minute after an import."""
    with psycopg.connect(driver_url(database), autocommit=True) as connection:
        connection.execute("vacuum analyze")
