import hashlib
import io
import os
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions

LIST = b"customer_id,email\nA1,a@example.com\n"


def reason(path: Path) -> str:
    with pytest.raises(ListRefused) as refused:
        open_list(path, ListOptions(today=date(2026, 11, 20)))
    (only,) = refused.value.reasons
    assert str(path) not in only
    return only


def test_a_named_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path):
    os.mkfifo(tmp_path / "list.csv")
    assert "save it to a file" in reason(tmp_path / "list.csv")


def test_a_directory_a_device_and_a_socket_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert reason(tmp_path) == "the list is a directory: name a file in it"
    assert "a device or a socket" in reason(Path(os.devnull))
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.csv")
        assert "a device or a socket" in reason(tmp_path / "socket.csv")


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(LIST)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(tmp_path / "none.jsonl") == "the file cannot be opened: No such file or directory"
    assert reason(tmp_path / "file" / "list.csv") == "the file cannot be opened: Not a directory"
    assert reason(tmp_path / "loop") == "the file cannot be opened: Too many levels of symbolic links"


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    """A file that this process may not read, even if root runs the tests."""
    path = tmp_path / "list.csv"
    path.write_bytes(LIST)
    path.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(before)


def test_a_file_that_may_not_be_read_is_refused(unreadable: Path):
    assert reason(unreadable) == "the file cannot be opened: Permission denied"


def test_a_stream_has_the_digest_of_a_file_of_the_same_bytes_wherever_it_stands(tmp_path: Path):
    (tmp_path / "list.csv").write_bytes(LIST)
    stream = io.BytesIO(LIST)
    stream.seek(7)
    assert content_digest(stream) == content_digest(tmp_path / "list.csv") == hashlib.sha256(LIST).hexdigest()
    assert stream.tell() == 7
