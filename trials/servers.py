"""Private servers for what breaks servers: PostgreSQL, RabbitMQ and Redis in a folder of their own, on free ports.

    with Postgres(folder) as postgres: ...

Never the machine's own: nothing here connects to, signals or configures what it has not started itself. Each server
is one process in the foreground, in a process group of its own, and is ended by its id, whatever happens. A folder
that is given to a server is removed by whoever made it.
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
from typing import Self

from trials.processes import end, kill_group

STARTS_WITHIN = 60.0  # seconds; a loaded machine takes a fifth of it for the slowest of them
# Where distributions put what is not on the path.
POSTGRESQL_PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql", "/usr/local/opt/postgresql")
RABBITMQ_PLACES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin")


class Missing(Exception):
    """A program that a server needs is not installed; the text names it."""


def free_port() -> int:
    """A TCP port that nobody listens at on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One server process. `start` again after `stop` or `kill` goes on with the same folder and port."""

    name = "server"
    stops_by = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As a configuration names it."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        return os.environ

    def ready(self) -> bool:
        return answers(self.port)

    def start(self, *, wait: bool = True) -> None:
        """Start it. Raises RuntimeError where it ends instead, or does not answer in time; with `wait`."""
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
        """End it as an operator would, who kills it where it takes longer than `patience` (seconds)."""
        if self.process is not None:
            end(self.process, by or self.stops_by, patience=patience)
            self.process = None

    def kill(self) -> None:
        """End it as a machine that loses its power would."""
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
    """Keeps nothing over a restart, as a cache does: what was queued is lost. With `keeps` it writes all down first."""

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
    """PostgreSQL on a TCP port alone; any local user is its superuser `postgres`. It writes to disk as it should."""

    name = "PostgreSQL"
    stops_by = signal.SIGINT  # "fast": SIGTERM would wait for the connections that workers keep

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        # It refuses to run as root.
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def dsn(self) -> str:
        """For psycopg."""
        return self.url.replace("+psycopg", "")

    def start(self, *, wait: bool = True) -> None:
        if not self._data.exists():
            self._make()
        super().start(wait=wait)

    def stop_at_once(self) -> None:
        """End it without a checkpoint, as `pg_ctl stop -m immediate` does: the next start recovers from its log."""
        self.stop(signal.SIGQUIT)

    def ready(self) -> bool:
        # It listens before it lets anybody in: while it recovers, "the database system is starting up".
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
        # Its children are in groups of their own: killed, it would leave them to find out by themselves.
        self.stop_at_once()

    def _make(self) -> None:
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        made = subprocess.run(
            self._as_user(
                [
                    postgresql_program("initdb"),
                    *("-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"),
                ]
            ),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr.strip()}")

    def _as_user(self, command: list[str]) -> list[str]:
        if self._user is None:
            return command
        # It replaces itself by the command, whose process id is then the one that we have.
        return [program("setpriv"), "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", *command]


class RabbitMq(Server):
    """A node of its own, with a cookie and a port mapper of its own; guest:guest from this machine."""

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
            # Else the node would start one as a daemon, which nobody ends.
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
        place = str(self.folder)
        return kept | {
            "HOME": place,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"trial{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{place}/mnesia",
            "RABBITMQ_LOG_BASE": f"{place}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{place}/none",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{place}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{place}/pid",
            # The script then replaces itself by the node, whose process id is the one that we have.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def close(self) -> None:
        super().close()
        if self._mapper is not None:
            kill_group(self._mapper)
            self._mapper = None


def until(holds: Callable[[], bool], what: str, seconds: float = STARTS_WITHIN) -> None:
    """Look again and again until it holds. Raises RuntimeError after far longer than it can take."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"still not: {what}")
        time.sleep(0.05)


def program(name: str, *places: str) -> str:
    """Its path. Raises Missing."""
    path = os.pathsep.join([*places, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def postgresql_program(name: str) -> str:
    """Of the newest version that is installed."""
    places = [str(one) for base in POSTGRESQL_PLACES for one in sorted(Path(base).glob("*/bin"), reverse=True)]
    return program(name, *places)


def rabbitmq_program() -> str:
    # The one that Debian puts on the path changes the user, and knows the machine's own node alone.
    return program("rabbitmq-server", *RABBITMQ_PLACES)


def missing(broker: str) -> str:
    """Why the servers of a run with this broker cannot be started; "" when they can."""
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
