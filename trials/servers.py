"""Private servers for trials that kill servers: PostgreSQL, RabbitMQ and Redis in their own folder, on free ports.

    with Postgres(folder) as postgres: ...

This module never connects to, signals or configures a server that it has not started itself. Each server is one
process in the foreground, in its own process group, and is always ended by its id. The caller that made a server's
folder removes it.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from trials.processes import end, kill_group

STARTS_WITHIN = 60.0  # seconds; on a busy machine the slowest server needs a fifth of it
# The directories of programs that distributions do not put on the PATH.
POSTGRESQL_PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql", "/usr/local/opt/postgresql")
RABBITMQ_PLACES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin")


class Missing(Exception):
    """A program that a server needs is not installed; the text names it."""


def free_port() -> int:
    """A free TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One server process. A `start` after `stop` or `kill` uses the same folder and port."""

    name = "server"
    stops_by = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL in a configuration."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        return os.environ

    def ready(self) -> bool:
        return answers(self.port)

    def start(self, *, wait: bool = True) -> None:
        """Start it. With `wait`, raises RuntimeError if it ends or does not answer in time."""
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.ready():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start; see {self.folder / 'output.log'}")
            time.sleep(0.05)

    def stop(self, by: signal.Signals | None = None, *, patience: float = 30) -> None:
        """End it as an operator would: with a signal, and with a kill after `patience` seconds."""
        if self.process is not None:
            end(self.process, by or self.stops_by, patience=patience)
            self.process = None

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        if self.process is not None:
            kill_group(self.process)
            self.process = None

    def close(self) -> None:
        self.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Redis(Server):
    """A Redis that loses its queues at a restart, as a cache does. With `keeps` it saves every command first."""

    name = "Redis"

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        super().__init__(folder)
        self._keeps = keeps

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "dir": str(self.folder)}
        options |= {"appendonly": "yes" if self._keeps else "no", "appendfsync": "always"}
        return [program("redis-server"), *(part for name, value in options.items() for part in (f"--{name}", value))]


class Postgres(Server):
    """PostgreSQL on a TCP port only; any local user is its superuser `postgres`. It syncs to disk as in production."""

    name = "PostgreSQL"
    stops_by = signal.SIGINT  # "fast": SIGTERM would wait for the connections that workers keep

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._database = "postgres"
        self._dumps = 0
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{self._database}"

    @property
    def dsn(self) -> str:
        """The address for psycopg."""
        return self.url.replace("+psycopg", "")

    def start(self, *, wait: bool = True) -> None:
        if not self._data.exists():
            self._make()
        super().start(wait=wait)

    def stop_at_once(self) -> None:
        """End it without a checkpoint, as `pg_ctl stop -m immediate` does: the next start recovers from its log."""
        self.stop(signal.SIGQUIT)

    def ready(self) -> bool:
        # It listens before it accepts connections: during recovery it answers "the database system is starting up".
        asked = [postgresql_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "100",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return self._as_user([postgresql_program("postgres"), "-D", str(self._data), *settings])

    def close(self) -> None:
        # Its children are in their own process groups: a kill of its group would leave them running.
        self.stop_at_once()

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, connect_timeout=5, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    def dump(self) -> Path:
        """A copy of the database as it is now."""
        self._dumps += 1
        copy = self.folder / f"dump_{self._dumps}"
        self._run("pg_dump", "--format=custom", f"--file={copy}", self.dsn)
        return copy

    def restore(self, dump: Path) -> None:
        """Use a copy from now on, as a new database."""
        self._run("createdb", f"--maintenance-db={self.dsn}", dump.name)
        self._database = dump.name
        self._run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={self.dsn}", str(dump))

    def _make(self) -> None:
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self._run("initdb", "-D", str(self._data), *options)

    def _run(self, name: str, *arguments: str) -> None:
        command = self._as_user([postgresql_program(name), *arguments])
        pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        ended = subprocess.run(command, cwd=self.folder, **pipes, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"{name}: {ended.stderr.strip()}")

    def _as_user(self, command: list[str]) -> list[str]:
        if self._user is None:
            return command
        # The program replaces itself by the command, which keeps the process id.
        return [program("setpriv"), "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", *command]


class RabbitMq(Server):
    """A RabbitMQ node with its own cookie and its own port mapper; guest:guest from this machine."""

    name = "RabbitMQ"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = free_port()
        self._mapper_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None
        cookie = folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(os.urandom(16).hex())
            cookie.chmod(0o400)
        (folder / "enabled_plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self, *, wait: bool = True) -> None:
        if self._mapper is None:
            # Without this the node would start a port mapper as a daemon, which would never end.
            mapper = [program("epmd"), "-address", "127.0.0.1", "-port", str(self._mapper_port)]
            self._mapper = subprocess.Popen(
                mapper,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=self.environ(),
            )
            until(lambda: answers(self._mapper_port), "the port mapper answers")
        super().start(wait=wait)

    def command(self) -> list[str]:
        return [rabbitmq_program()]

    def environ(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        folder = str(self.folder)
        return kept | {
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"trial{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            # The script replaces itself by the node, which keeps the process id.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def close(self) -> None:
        super().close()
        if self._mapper is not None:
            kill_group(self._mapper)
            self._mapper = None


def until(holds: Callable[[], bool], what: str, seconds: float = STARTS_WITHIN) -> None:
    """Wait until it holds. Raises RuntimeError after a time that is far longer than needed."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"still not: {what}")
        time.sleep(0.05)


def program(name: str, *folders: str) -> str:
    """The program's path. Raises Missing."""
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def postgresql_program(name: str) -> str:
    """The program's path, of the newest installed version. Raises Missing."""
    folders = [str(one) for base in POSTGRESQL_PLACES for one in sorted(Path(base).glob("*/bin"), reverse=True)]
    return program(name, *folders)


def rabbitmq_program() -> str:
    # The script that Debian puts on the PATH changes the user and works only with the machine's own node.
    return program("rabbitmq-server", *RABBITMQ_PLACES)


def missing(broker: str) -> str:
    """Why the servers of a run with this broker cannot be started; "" if they can."""
    needed: list[Callable[[], object]] = [lambda: postgresql_program("initdb"), lambda: postgresql_program("postgres")]
    if os.geteuid() == 0:
        needed += [lambda: program("setpriv"), lambda: pwd.getpwnam("postgres")]
    needed += {"redis": [lambda: program("redis-server")], "amqp": [rabbitmq_program, lambda: program("epmd")]}[broker]
    for look in needed:
        with contextlib.suppress(KeyError):
            try:
                look()
            except Missing as error:
                return str(error)
            continue
        return "there is no user postgres, and PostgreSQL does not run as root"
    return ""
