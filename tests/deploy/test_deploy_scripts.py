"""What `make images` and `make secrets` write, and the SQL that makes the database's roles."""

import os
import re
import shutil
import socket
import stat
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.wiring.store import roles
from tests.conftest import POSTGRESQL, service_or_skip
from tests.deploy.compose_file import IMAGES, ROOT, compose, services
from tests.suite.waiting import wait_until

DIGEST = "sha256:" + "a1" * 32
BROKER = "COMPOSE_PROFILES=${BROKER:-rabbitmq}\n"


def run(script: str, *arguments: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ) | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    command = [ROOT / "deploy" / script, *arguments]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def docker(tmp_path: Path) -> Callable[[str], Path]:
    """A stand-in for docker that notes what it is asked, and answers this."""

    def make(answer: str) -> Path:
        place = tmp_path / "bin"
        place.mkdir()
        (place / "docker").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n{answer}\n')
        (place / "docker").chmod(0o755)
        return place

    return make


def test_each_image_is_written_with_the_digest_of_its_registry(docker, tmp_path):
    (tmp_path / ".env").write_text("LISTS=/srv/lists\nREDIS_IMAGE=redis:1.0@sha256:0\n")

    ended = run("pin_images", cwd=tmp_path, path=docker(f"echo {DIGEST}"))

    assert (ended.returncode, ended.stderr) == (0, "")
    written = (tmp_path / ".env").read_text().splitlines()
    images = {name: image.partition("@")[0] for name, image in IMAGES.items()}
    assert written == ["LISTS=/srv/lists", *(f"{name}={image}@{DIGEST}" for name, image in images.items())]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        f"buildx imagetools inspect {image} --format {{{{.Manifest.Digest}}}}" for image in images.values()
    ]


@pytest.mark.parametrize("answer", ["exit 125", "echo", "echo sha256:12", "echo '<no value>'"])
def test_without_a_digest_nothing_is_written(answer: str, docker, tmp_path):
    (tmp_path / ".env").write_text("LISTS=/srv/lists\n")

    ended = run("pin_images", cwd=tmp_path, path=docker(answer))

    assert ended.returncode == 1
    assert "no digest: this needs docker with buildx, and its registry must answer. .env is as it was" in ended.stderr
    assert (tmp_path / ".env").read_text() == "LISTS=/srv/lists\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "asked", "bin"]


def test_a_digest_that_is_in_the_list_already_is_taken(docker, tmp_path):
    place = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", place)
    pinned = [f"{name}={image}" for name, image in IMAGES.items()]
    (place / "images.txt").write_text("\n".join(["# pinned", *pinned]) + "\n")

    environ = {"PATH": f"{docker('exit 1')}:{os.environ['PATH']}"}
    subprocess.run([place / "pin_images"], cwd=tmp_path, env=environ, check=True, capture_output=True)

    assert (tmp_path / ".env").read_text().splitlines() == pinned


def test_the_secrets_are_new_each_time_and_only_their_owner_reaches_them(tmp_path):
    first, second = tmp_path / "first place", tmp_path / "second"
    for place in (first, second):
        assert run("make_secrets", place, cwd=tmp_path).returncode == 0

    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in first.iterdir()}
    # Their owner adds users while it runs.
    assert modes.pop("users.toml") == 0o640
    assert {*modes.values()} == {0o440}
    group = str(os.getgid() or 10001)
    assert {str(file.stat().st_gid) for file in first.iterdir()} == {group}
    assert (tmp_path / ".env").read_text() == f"SECRETS_GROUP={group}\n{BROKER}"
    assert {tuple(service["group_add"]) for service in services({"SECRETS_GROUP": group}).values()} == {(group,)}
    same = {file.name for file in first.iterdir() if file.read_text() == (second / file.name).read_text()}
    # The sandbox's, valid nowhere else.
    assert same == {name for name in os.listdir(first) if name.startswith(("idenfy_", "frankie_", "twilio_"))}
    Keyring([(first / "onboarding.key").read_text().strip()], [(first / "onboarding-digest.key").read_text().strip()])


def test_secrets_that_are_there_are_kept_and_no_secret_is_shown(tmp_path):
    place = tmp_path / "secrets"
    (tmp_path / ".env").write_text("LISTS=/srv/lists\nSECRETS_GROUP=1\n")
    run("make_secrets", place, cwd=tmp_path)
    (place / "run_password").unlink()
    before = {file.name: file.read_text() for file in place.iterdir()}

    again = run("make_secrets", place, cwd=tmp_path)

    assert again.stdout.splitlines() == [f"wrote {place}/run_password"]
    assert (tmp_path / ".env").read_text() == f"LISTS=/srv/lists\nSECRETS_GROUP={os.getgid() or 10001}\n{BROKER}"
    assert {name: (place / name).read_text() for name in before} == before
    assert not [text for text in before.values() if text.strip() in again.stdout + again.stderr]


def test_every_secret_of_compose_is_written(tmp_path):
    for broker in ("rabbitmq", "redis"):
        place = tmp_path / broker
        run("make_secrets", place, cwd=tmp_path)
        files = compose({"SECRETS": str(place), "BROKER": broker})["secrets"].values()

        assert files
        assert [file["file"] for file in files if not Path(file["file"]).read_text().strip()] == []


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[sa.URL, Path]]:
    """A database whose roles `roles.sql` has made, under names of their own, and the secrets that it read."""
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def execute(statement: str) -> None:
        with server.connect() as connection:
            connection.exec_driver_sql(statement)

    service_or_skip("PostgreSQL", lambda: execute("SELECT 1"))
    name = f"roles_{uuid.uuid4().hex[:12]}"
    run("make_secrets", tmp_path / "secrets", cwd=tmp_path)
    script = (ROOT / "deploy/roles.sql").read_text(encoding="utf-8")
    (tmp_path / "roles.sql").write_text(script.replace("onboarding_", f"{name}_"))
    execute(f'CREATE DATABASE "{name}"')
    url = server.url.set(database=name, drivername="postgresql")
    try:
        command = ["psql", "--no-psqlrc", "--quiet", "--dbname", url.render_as_string(hide_password=False)]
        command += ["--file", str(tmp_path / "roles.sql")]
        secrets = f"secrets={tmp_path}/secrets"
        without = subprocess.run([*command, "-v", f"{secrets}-none"], check=False, capture_output=True, text=True)
        assert (without.returncode, "a file with a password is missing or empty" in without.stderr) == (3, True)
        # It has made none of the roles, so that a second run finds nothing in its way.
        subprocess.run([*command, "-v", secrets], check=True, capture_output=True, text=True)
        yield server.url.set(database=name), tmp_path / "secrets"
    finally:
        execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        for role in ("migrate", "run", "report"):
            execute(f'DROP ROLE IF EXISTS "{name}_{role}"')


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
def test_the_roles_of_the_sql_migrate_run_and_report(made: tuple[sa.URL, Path]):
    url, secrets = made
    name = url.database

    def as_role(role: str) -> Database:
        password = (secrets / f"{role}_password").read_text().strip()
        return Database(url.set(username=f"{name}_{role}", password=password).render_as_string(hide_password=False))

    owner = as_role("migrate")
    schema.upgrade(owner)
    roles.grant(owner, run=f"{name}_run", report=f"{name}_report")
    owner.close()
    for role, allowed in (("run", True), ("report", False)):
        database = as_role(role)
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM job").scalar() == 0
            rights = "SELECT has_schema_privilege('public', 'CREATE'), has_table_privilege('job', 'INSERT')"
            assert connection.exec_driver_sql(rights).one() == (False, allowed)
        database.close()
    superuser = sa.create_engine(url, poolclass=sa.NullPool)
    with superuser.connect() as connection:
        stored = connection.execute(
            sa.text("SELECT rolpassword FROM pg_authid WHERE rolname LIKE :of"), {"of": f"{name}_%"}
        )
        assert [password.partition("$")[0] for password in stored.scalars()] == ["SCRAM-SHA-256"] * 3


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_asks_for_its_password_and_its_health_check_knows_it(tmp_path):
    run("make_secrets", tmp_path / "secrets", cwd=tmp_path)
    login = tmp_path / "secrets" / "redis.conf"
    service = services()["redis"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    program, given, *options = [
        str(login) if word == "/run/secrets/redis_login" else word for word in service["command"]
    ]
    kind, check = service["healthcheck"]["test"]
    cli = shutil.which("redis-cli") or "redis-cli"
    check = check.replace("/run/secrets/redis_login", str(login)).replace("redis-cli", f"redis-cli -p {port}")

    def healthy() -> bool:
        return subprocess.run(["/bin/sh", "-c", check], capture_output=True, check=False).returncode == 0

    assert not healthy()
    with subprocess.Popen(
        [program, given, *options, "--port", port, "--bind", "127.0.0.1", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(healthy, "Redis is healthy")
            stranger = subprocess.run([cli, "-p", port, "ping"], capture_output=True, text=True, check=False)
        finally:
            process.terminate()

    assert kind == "CMD-SHELL"
    assert "NOAUTH" in stranger.stdout
    assert not re.search(login.read_text().split()[1], " ".join(service["command"]))
