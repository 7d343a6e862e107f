"""What a trial has: a copy of the checkout, the project that plays its Compose file, and what can be asked of it."""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onboarding_worker.cli.commands.init import SANDBOX_SECRETS
from trials.containers.bases import SERVERS, python_image
from trials.containers.browser import answer
from trials.containers.podman import Failed, looked_at, said
from trials.containers.project import Project

Row = dict[str, Any]
PATIENCE = 180.0
LINK = re.compile(r"http://127\.0\.0\.1:9200/verify/[^\s\"<>]+")


@dataclass(frozen=True)
class Step:
    says: str
    play: Callable[["Stage"], None]


Group = Callable[["Stage"], Iterator[Step]]


class Wrong(Exception):
    """Something is not as it must be."""


def must(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


def until(holds: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """What `holds` finds, once it is something. Raises Wrong."""
    ends = time.monotonic() + within
    while not (found := holds()):
        if time.monotonic() > ends:
            raise Wrong(f"not within {within:.0f} s: {what}")
        time.sleep(0.5)
    return found


@dataclass
class Stage:
    """`checkout`: where the trial runs. `folder`: a copy of it, with secrets of its own. `mounts`: what builds see of
    this machine. All that is made here has `name` at its head."""

    name: str
    broker: str
    checkout: Path
    folder: Path
    mounts: Mapping[str, str]
    password: str = ""  # of the user whom it adds to the dashboard
    notes: list[str] = field(default_factory=list)
    opened: Project | None = None

    @property
    def project(self) -> Project:
        if self.opened is None:
            raise Wrong("`make secrets` has not run")
        return self.opened

    def open_project(self) -> None:
        """Read docker-compose.yml, with what `make secrets` has written."""
        self.opened = Project(self.name, self.folder, own_environ(self.broker), self.mounts)
        self.opened.open()

    def note(self, text: str) -> None:
        """A line below the step."""
        self.notes.append(text)

    def make(self, *targets: str) -> None:
        said("make", *targets, folder=self.folder)

    def onboard(self, *words: str, within: float = 300) -> str:
        return self.project.exec("worker", "onboard", *words, within=within)

    def user(self, command: str) -> None:
        """Add a user to the dashboard, as a page says, once."""
        if not self.password:
            self.password = secrets.token_urlsafe(16)
            program, *words = command.split()
            typed = f"{self.password}\n".encode()
            ended = subprocess.run(
                [self.checkout / program, *words], cwd=self.folder, input=typed, capture_output=True, check=False
            )
            must(not ended.returncode, f"{command}: {ended.stderr.decode()[-300:]}")

    def rows(self, batch: str = "latest") -> list[Row]:
        """The rows of a batch, as its report has them."""
        return [json.loads(line) for line in self.onboard("report", batch, "--format", "jsonl").splitlines()]

    def ask(self, query: str) -> str:
        """What PostgreSQL says to a query of a person's."""
        words = ("psql", "--username", "postgres", "--dbname", "onboarding", "--tuples-only", "--no-align")
        return self.project.exec("postgres", *words, "--command", query).strip()

    def mails(self) -> list[Row]:
        found: list[Row] = json.loads(answer(self.project.address("9200") + "/_sandbox/mailbox").text)
        return found

    def link_of(self, address: str) -> str:
        """The link in the newest mail to an address, at the port that it has here."""
        texts = [str(mail["text"]) for mail in self.mails() if address in mail["to"]]
        must(texts, "a customer has no mail")
        found = LINK.search(texts[-1])
        if found is None:
            raise Wrong("a mail has no link to the page of the sandbox")
        return found[0].replace("http://127.0.0.1:9200", self.project.address("9200"))

    def write_list(self, name: str, rows: int, head: str) -> str:
        """A list in the folder that the containers see as /lists; its path there."""
        lines = ["customer_id,email,country"]
        lines += [f"{head}-{number},{head}.{number}@example.com,LT".lower() for number in range(rows)]
        (self.folder / "examples" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return f"/lists/{name}"

    def sent(self, batch: str = "latest", within: float = PATIENCE) -> list[Row]:
        """The rows of a batch, once none of them waits for anything of ours."""

        def found() -> list[Row]:
            try:
                rows = self.rows(batch)
            except Failed:  # the worker was just killed
                return []
            return rows if not [one for one in rows if how_of(one) in ("waiting", "working", "issued")] else []

        rows: list[Row] = until(found, f"batch {batch} is sent", within)
        return rows

    def secrets(self) -> dict[str, str]:
        """Each secret value by its file, without those that the sandbox makes known to everybody."""
        folder = self.folder / "secrets"
        found = {"a user's password": self.password} if self.password else {}
        for file in folder.iterdir():
            for word in re.findall(r"[\w-]{16,}", file.read_text("utf-8")):
                if file.name.endswith(("password", "key")) and word not in SANDBOX_SECRETS.values():
                    found[file.name] = word
        return found


def how_of(row: Row) -> str:
    """The row's state; or "orphan": its call's answer was lost, and nothing is asked again while the session that it
    may have opened lives."""
    return "orphan" if str(row["error"]).startswith("orphan:") else str(row["state"])


def set_up(checkout: Path, folder: Path, suite: str) -> list[str]:
    """Copy the checkout, and write the images into .env as `make images` does: here those that stand in, of this suite
    of Debian. Returns what they have."""
    listed = said("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=checkout).split("\0")
    for name in listed:
        if (checkout / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, folder / name, follow_symlinks=False)
    images = {"PYTHON_IMAGE": python_image(suite)} | {name: one.image(suite) for name, one in SERVERS.items()}
    (folder / ".env").write_text("".join(f"{name}={image}\n" for name, image in images.items()), encoding="utf-8")
    python = looked_at(images["PYTHON_IMAGE"], "python", "--version")
    return [python, *(server.version(images[name]) for name, server in SERVERS.items())]


def own_environ(broker: str) -> dict[str, str]:
    """The shell's variables, of which Compose may read some."""
    names = ("ONBOARDING_TOML", "LISTS", "SECRETS", "SECRETS_GROUP", "COMPOSE_PROFILES", "ONBOARDING_LOG_LEVEL")
    kept = {name: value for name, value in os.environ.items() if name not in names and not name.endswith("_IMAGE")}
    return kept | {"BROKER": broker}
