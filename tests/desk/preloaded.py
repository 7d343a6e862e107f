"""Starts `onboard` as a process that has loaded its modules already.

A worker needs 2.5 s of processor time from its start to its end, and 2 s of them load modules: that was half of what
all processes of the tests cost together. So each test process has one process beside it that loads the modules once,
and that has no thread, no configuration and no connection. Every command is a fork of it, and begins at the console
script's function, or at the module that it names. That the console script and Celery's own start from nothing is
tested where they run as they are installed: tests/cli/installation/test_production_install.py,
tests/cli/every_command/test_start_time.py, tests/deploy/test_wheel.py.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from typing import Any

from onboarding_worker.cli.registry import COMMANDS
from onboarding_worker.core.foundation.features import loaded
from tests.deploy.compose_file import ROOT

# Not `runtime`: as they are loaded, its modules read the configuration and the command line, or make a secret, or what
# a process shares with the children that it forks.
ROOMS = (
    *("core", "events", "features", "lists", "plans", "providers"),
    *("reporting", "senders", "settings", "templates", "web", "wiring"),
)
ITS_OWN = ("onboarding_worker.runtime.celery_app", "onboarding_worker.runtime.process")
LIBRARIES = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.events",
    "celery.worker.components",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "sqlalchemy.dialects.postgresql.psycopg",
)
MOST_BYTES = 1 << 17  # of a command with its environment
_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Preloaded(subprocess.Popen[str]):
    """`onboard`, or `python -m` with a module, as `subprocess.Popen` would start it, in a session of its own."""

    def _execute_child(self, args: Any, _executable: Any, _preexec: Any, _close: Any, _pass: Any, *rest: Any) -> None:
        cwd, env, _startup, _flags, _shell, _stdin, _to_stdin, _out, out, _err, err, *_ = rest
        self.pid = _starter().start({"argv": [str(arg) for arg in args], "cwd": str(cwd), "env": env}, (out, err))
        self._child_created = True
        os.close(out)
        os.close(err)


class _Starter:
    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=ROOT,
            )
        self._libc = ctypes.CDLL(None)
        self._one_by_one = threading.Lock()
        atexit.register(self._end)

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()

    def start(self, command: dict[str, Any], files: tuple[int, int]) -> int:
        # A fork's fork, whose parent ends: it becomes ours, to be waited for as any child. Only at this moment, because
        # what our other children leave behind is not ours.
        with self._one_by_one:
            self._libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._ours, [json.dumps(command).encode()], files)
                return int(self._ours.recv(100))
            finally:
                self._libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


_starter = cache(_Starter)


def load() -> None:
    """Load what the commands load. Garbage is not looked for meanwhile, and later not among the modules."""
    gc.disable()
    for command in COMMANDS.values():
        loaded(command.place)
    for room in ROOMS:
        package = importlib.import_module(f"onboarding_worker.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    assert not set(ITS_OWN) & set(sys.modules)
    gc.freeze()
    gc.enable()


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each command, until the test process ends. Returns in each fork, with its command."""
    while True:
        said, files, *_ = socket.recv_fds(connection, MOST_BYTES, 2)
        if not said:
            sys.exit(0)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                for number, file in enumerate(files, 1):
                    os.dup2(file, number)
                for file in (*files, reading, writing):
                    os.close(file)
                connection.close()
                return dict(json.loads(said))
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)  # before the answer: from here on the fork is the test process's child
        connection.send(os.read(reading, 100))
        for file in (*files, reading, writing):
            os.close(file)


if __name__ == "__main__":
    load()
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    os.setsid()
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["env"])
    time.tzset()
    sys.argv = command["argv"]
    if sys.argv[:2] == [sys.executable, "-m"]:
        sys.path[0], module = command["cwd"], sys.argv[2]
        del sys.argv[:2]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(sys.argv[0])
        importlib.import_module("onboarding_worker.cli").main()
