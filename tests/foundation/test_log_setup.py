"""The log line of a failed Celery task: its name and the exception's type, never its text."""

import logging
from pathlib import Path

import pytest

from worker.foundation import log_setup as logs

# Celery's own text.
FORMAT = "Task %(name)s[%(id)s] %(description)s: %(exc)s\n%(traceback)s\n"
BELONGS = {"name": "issue", "id": "1", "description": "raised unexpected", "args": "('kyc',)"}


@pytest.fixture
def written(tmp_path: Path):
    """The log as an operator reads it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = tmp_path / "worker.log"
    logs.set_up("info", file)
    yield file.read_text
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_task_that_failed_is_named_without_the_text_of_its_exception(written):
    try:
        raise ValueError("Key (email)=(quirin@example.com) already exists")
    except ValueError as error:
        context = BELONGS | {"exc": repr(error), "traceback": "Traceback …"}
        logging.getLogger("celery.app.trace").exception(FORMAT, context)
    line, where = written().splitlines()
    assert line.endswith("celery.app.trace: task issue ended with ValueError")
    assert where.startswith("ValueError in test_a_task")
    assert "quirin" not in written()
