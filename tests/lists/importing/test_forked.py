"""A child process runs a generator for its parent, and is gone whatever becomes of either of them."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from onboarding_worker.lists.importing import forked as module
from onboarding_worker.lists.importing.forked import ChildEnded, forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is made on Linux alone")


@pytest.fixture
def one_thread(monkeypatch, tmp_path):
    """The runner of the tests has threads of its own; the children of these tests need nothing that they hold."""
    (tmp_path / "1").touch()
    monkeypatch.setattr(module, "_THREADS", tmp_path)


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def squares(first, last):
    for number in range(first, last):
        yield os.getpid(), number * number


def test_the_items_come_from_another_process_which_is_gone_at_the_end(one_thread):
    with forked(squares) as child:
        found = list(child.items(2, 5))
        assert found == [(child.pid, 4), (child.pid, 9), (child.pid, 16)]
        assert child.pid != os.getpid()
    assert not is_there(child.pid)


def test_where_the_system_allows_no_more_processes_there_is_no_child(one_thread, monkeypatch):
    def full():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    with forked(squares) as child:
        assert child is None
    assert gc.get_freeze_count() == 0


def test_a_child_that_was_never_asked_is_gone_too(one_thread):
    with pytest.raises(KeyboardInterrupt), forked(squares) as child:
        raise KeyboardInterrupt
    assert not is_there(child.pid)


def test_a_child_that_is_killed_ends_the_items_with_an_error(one_thread):
    with forked(squares) as child:
        items = child.items(0, 1_000_000)
        assert next(items) == (child.pid, 0)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ChildEnded, match=f"process {child.pid} has ended"):
            list(items)


def test_an_error_of_the_work_is_no_end_of_the_items(one_thread):
    def fails():
        yield 1
        raise ValueError("not for two processes' eyes")

    with forked(fails) as child:
        items = child.items()
        assert next(items) == 1
        with pytest.raises(ChildEnded):
            next(items)


def test_a_thread_that_is_about_to_end_is_waited_for(one_thread):
    other = module._THREADS / "2"
    other.touch()
    threading.Timer(0.02, other.unlink).start()
    with forked(squares) as child:
        assert child is not None


def test_there_is_no_child_while_another_thread_runs():
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with forked(squares) as child:
            assert child is None
    finally:
        over.set()
        other.join()


def test_a_parent_that_is_killed_leaves_no_child():
    code = """
import os, signal
from itertools import count
from onboarding_worker.lists.importing.forked import forked
with forked(count) as child:
    next(child.items())
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    until = time.monotonic() + 20
    while is_there(int(ended.stdout)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_there(int(ended.stdout))
