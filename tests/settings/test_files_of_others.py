"""Files that another user of the machine can change: the configuration, and SQLite's."""

import os
from pathlib import Path

import pytest

from tests.settings.samples import ENVIRON, tree, write
from worker.settings import load

NOBODY = 65534
CHANGED = "its directory can be changed by other users of this machine: use one that only its user can change"


@pytest.mark.parametrize(("mode", "is_said"), [(0o755, False), (0o775, False), (0o777, True), (0o1777, False)])
def test_a_configuration_in_a_directory_that_others_can_change_is_warned_of(tmp_path: Path, mode: int, is_said: bool):
    file = write(tmp_path, tree())
    tmp_path.chmod(mode)

    assert (f"{file}: {CHANGED}" in load(file, environ=ENVIRON).warnings) is is_said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
@pytest.mark.parametrize(("owner", "is_said"), [(0, True), (NOBODY, False)])
def test_a_configuration_in_another_users_directory_is_warned_of_unless_both_are_that_users(
    tmp_path: Path, owner: int, is_said: bool
):
    file = write(tmp_path, tree())
    os.chown(tmp_path, NOBODY, -1)
    os.chown(file, owner, -1)

    said = f"{file}: its directory is another user's, who can replace it: use one of its own user"
    assert (said in load(file, environ=ENVIRON).warnings) is is_said
