"""Files that other users can neither read nor swap for their own."""

import logging
import os
import re
import stat
from pathlib import Path

import pytest

from onboarding_worker.core.foundation.private_files import new_file, private_log, replacing, to_append
from onboarding_worker.settings.secrets import is_open_to_others
from tests.suite.packages import CODE, ROOT

STRANGER = 65_534


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_its_owners_alone(tmp_path: Path):
    os.close(new_file(tmp_path / "key"))
    assert mode(tmp_path / "key") == 0o600


@pytest.mark.parametrize("there", ["a file", "a link", "a broken link"])
def test_a_new_file_is_never_one_that_was_there(tmp_path: Path, there: str):
    (tmp_path / "victim").write_text("kept")
    if there == "a file":
        (tmp_path / "key").write_text("planted")
    else:
        (tmp_path / "key").symlink_to(tmp_path / ("victim" if there == "a link" else "nothing"))
    with pytest.raises(FileExistsError):
        new_file(tmp_path / "key")
    assert (tmp_path / "victim").read_text() == "kept"
    assert not (tmp_path / "nothing").exists()


def test_a_file_is_replaced_with_its_mode_and_what_a_link_points_to_stays(tmp_path: Path):
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "report").symlink_to(tmp_path / "victim")
    (tmp_path / "open").write_text("open")
    (tmp_path / "open").chmod(0o666)
    for name in ("report", "open", "new"):
        with replacing(tmp_path / name) as stream:
            stream.write("links")
        assert (tmp_path / name).read_text() == "links"
        assert not (tmp_path / name).is_symlink()
        assert mode(tmp_path / name) == 0o600
    assert (tmp_path / "victim").read_text() == "kept"


def test_the_file_that_is_being_written_has_a_name_that_no_other_user_can_guess(tmp_path: Path):
    names = set()
    for _ in range(2):
        with replacing(tmp_path / "report"):
            [part] = tmp_path.glob(".onboard-*")
            assert mode(part) == 0o600
            names.add(part.name)
    assert len(names) == 2
    assert not list(tmp_path.glob(".onboard-*"))


def test_after_an_exception_the_earlier_file_stays_and_nothing_is_left(tmp_path: Path):
    (tmp_path / "report").write_text("earlier")

    def fail() -> None:
        with replacing(tmp_path / "report") as stream:
            stream.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report").read_text() == "earlier"


def test_a_log_is_made_for_its_owner_alone_and_goes_on(tmp_path: Path):
    for line in ("one", "two"):
        handler = private_log(tmp_path / "log")
        handler.emit(logging.makeLogRecord({"msg": line}))
        handler.close()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    assert mode(tmp_path / "log") == 0o600


def test_a_link_of_this_user_is_followed(tmp_path: Path):
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    os.close(to_append(tmp_path / "log"))
    assert mode(tmp_path / "elsewhere") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user")
def test_another_users_link_is_not_followed(tmp_path: Path):
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    os.lchown(tmp_path / "log", STRANGER, STRANGER)
    with pytest.raises(OSError, match="another user's link"):
        to_append(tmp_path / "log")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    ("bits", "is_open"), [(0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o602, True), (0o660, True)]
)
def test_which_files_are_open_to_others(tmp_path: Path, bits: int, is_open: bool):
    (tmp_path / "key").touch()
    (tmp_path / "key").chmod(bits)
    assert is_open_to_others((tmp_path / "key").stat()) is is_open


def test_a_pipe_is_not_a_file_that_others_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o666)
    assert not is_open_to_others((tmp_path / "pipe").stat())


WRITES = re.compile(r"""\bopen\(\s*["'][wax]|\.write_text\(|\.write_bytes\(|O_CREAT|FileHandler\(""")
# What writes a file by itself, and why it may.
BY_ITSELF = {
    "worker/core/foundation/private_files.py": "the one place",
    "worker/cli/shared_options.py": "a pipe or a device, which is written to as it is",
    "onboarding_sandbox/wire.py": "the sandbox imports nothing of the worker, and its customers are invented",
    "onboarding_sandbox/demo/play.py": "the configuration and the logs of the demo, whose customers are invented",
}


def test_no_other_module_makes_files_by_itself():
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in CODE}
    assert {name for name, source in sources.items() if WRITES.search(source)} == BY_ITSELF.keys()
    tables = {name for name, source in sources.items() if "csv.writer(" in source or "csv.DictWriter(" in source}
    # One writes examples of its own, which come back as a list: an apostrophe would be part of the cell. The other
    # plays a provider's file, and a provider adds none.
    assert {name for name in tables - BY_ITSELF.keys() if "spreadsheet_safe" not in sources[name]} == {
        "worker/cli/commands/init.py",
        "onboarding_sandbox/pages.py",
    }
