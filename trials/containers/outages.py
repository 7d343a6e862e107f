"""`kill -9` of each container in turn; and an image with one more migration, put in place under load."""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from trials.containers import compose_file
from trials.containers.page import commands
from trials.containers.podman import facts
from trials.containers.stage import Row, Stage, Step, how_of, must, until

UPGRADES = "docs/how-to/upgrades.md"
MIGRATION = '''"""expand: a table that nothing reads."""

import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("of_a_trial", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("of_a_trial")
'''
ROWS = 20
LOAD = 2500  # as many as the example's account allows in 50 seconds
# How rows may be once nothing more is done about them: a call whose answer was lost waits, or for a person.
SETTLED = {"invited", "held", "orphan"}


def kills(stage: Stage) -> Iterator[Step]:
    active = compose_file.chosen(stage.project.services, stage.project.environ["COMPOSE_PROFILES"].split(","))
    for name in active:
        if "healthcheck" in stage.project.services[name]:
            yield Step(
                f"kill -9 of {name}, with work in hand: it starts again, and work goes on", partial(_kill, name=name)
            )


def _kill(stage: Stage, *, name: str) -> None:
    before = stage.write_list(f"before-{name}.csv", ROWS, f"before-{name}")
    after = stage.write_list(f"after-{name}.csv", ROWS, f"after-{name}")
    stage.onboard("import", before)
    first = stage.project.process(name)
    os.kill(first, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: stage.project.process(name) not in (0, first), f"{name} runs again")
    until(lambda: stage.project.is_healthy(name), f"{name} is healthy again")
    healthy = time.monotonic() - began
    if name == "sandbox":
        (line,) = commands(stage.checkout / "docs/how-to/compose.md", "docker compose restart")
        stage.project.compose(line)
    stage.onboard("import", after)
    rows: dict[str, list[Row]] = {batch: stage.sent(batch) for batch in _newest(stage, 2)}
    found = [Counter(map(how_of, one)) for one in rows.values()]
    must({*found[1]} == {"invited"}, f"the list after it: {dict(found[1])}")
    must({*found[0]} <= SETTLED and found[0].total() == ROWS, f"the list before it: {dict(found[0])}")
    stage.note(f"healthy after {healthy:.1f} s; before {dict(found[0])}, after {dict(found[1])}")


def _newest(stage: Stage, number: int) -> list[str]:
    """The newest batches, the older first."""
    return list(reversed(stage.ask(f"select id from batch order by id desc limit {number}").split()))


def upgrade(stage: Stage) -> Iterator[Step]:
    yield Step("an image with one more migration, in place of the old one under load", _upgrade)


def _upgrade(stage: Stage) -> None:
    """The list is given once the images are built, so that it is worked while they are put in place. The sandbox is not
    replaced: it is the provider."""
    number = _add_migration(stage)
    project, batch, calls = stage.project, "", dict[str, int]()
    old = facts("container", project.place.container("worker"))["Image"]
    (line,) = commands(stage.checkout / UPGRADES, "up --build")

    def look(service: str) -> None:
        nonlocal batch
        if not batch:
            stage.onboard("import", stage.write_list("load.csv", LOAD, "load"))
            (batch,) = _newest(stage, 1)
        calls[service] = int(
            stage.ask(f"select count(*) from session join job on job.id = job_id where batch_id = {batch}")
        )

    project.between, project.kept = look, {"sandbox"}
    try:
        project.compose(line)
    finally:
        project.between, project.kept = None, set()
    version = stage.ask("select version_num from alembic_version")
    must(version == f"{number:04}", f"the schema is {version}")
    new = {facts("container", project.place.container(name))["Image"] for name in ("worker", "web", "beat", "bus")}
    must(len(new) == 1 and old not in new, "a container has the old image")
    must(0 < calls["worker"] < LOAD, f"the list was not worked meanwhile: {calls}")
    states = Counter(map(how_of, stage.sent(batch, within=300)))
    must({*states} <= SETTLED and states.total() == LOAD, f"the rows are {dict(states)}")
    doubled = stage.ask("select count(*) from (select job_id from session group by job_id having count(*) > 1) as more")
    must(doubled == "0", f"{doubled} customers have two sessions")
    stage.note(f"sessions, each time before a container was replaced: {calls}; in the end {dict(states)}")


def _add_migration(stage: Stage) -> int:
    folder = stage.folder / "migrations/versions"
    before = max(int(found[0]) for file in folder.glob("*.py") if (found := re.match(r"\d{4}", file.name)))
    (folder / f"{before + 1:04}_of_a_trial.py").write_text(MIGRATION.format(number=before + 1, before=before), "utf-8")
    return before + 1
