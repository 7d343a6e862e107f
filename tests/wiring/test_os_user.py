"""Who runs a process: the operating system says it, and the environment only where sudo has written it."""

import os
import subprocess
import sys
from contextlib import closing

import pytest

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.os_user import caller_of, described, os_user
from tests.desk.desk import Desk

NAMES = {0: "root", 998: "onboarding", 1000: "ona"}


def test_the_person_behind_a_process_is_who_logged_in():
    cases = [
        (1000, None, "", 1000),
        (1000, 1000, "", 1000),
        (998, 1000, "", 1000),  # sudo -u onboarding
        (0, 1000, "0", 1000),  # the login's number counts, whatever the environment says
        (0, None, "1000", 1000),  # sudo, where the system keeps no login
        (998, None, "1000", 998),  # any user may set the variable
        (0, None, "1000; x", 0),
        (0, None, "²", 0),
    ]
    assert [
        (uid, login_uid, sudo_uid, caller, got)
        for uid, login_uid, sudo_uid, caller in cases
        if (got := caller_of(uid, login_uid, sudo_uid)) != caller
    ] == []


@pytest.mark.parametrize(
    ("uid", "caller", "name", "full"),
    [
        (1000, 1000, "ona", "ona (1000) at desk"),
        (998, 1000, "ona", "ona (1000) as onboarding (998) at desk"),
        (4711, 4711, "user 4711", "user 4711 at desk"),
    ],
)
def test_a_person_is_named_with_the_account_that_was_used(uid, caller, name, full):
    found = described(uid, caller, "desk", lambda number: NAMES.get(number, ""))

    assert (found.name, found.full) == (name, full)


def test_the_environment_does_not_change_who_it_is():
    print_it = "from onboarding_worker.wiring.os_user import os_user; print(os_user().full)"
    lies = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "HOSTNAME"), "somebody.else")

    def printed(environ):
        return subprocess.run(
            [sys.executable, "-c", print_it], env=environ, capture_output=True, text=True, check=True
        ).stdout

    assert printed({**os.environ, **lies}) == printed(dict(os.environ))


def test_a_change_without_a_command_is_that_of_who_runs_the_process(desk: Desk):
    desk.onboard("status")
    with closing(Parts(load(desk.config, environ=desk.environ))) as parts, parts.database.write() as connection:
        note(connection, "batch 1", now=parts.clock())
    assert [entry["actor"] for entry in desk.audited("python")] == [os_user().full]
