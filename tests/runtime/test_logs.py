"""Of what libraries and Python itself would write, only what is known to hold nothing personal reaches the log."""

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from celery.worker.consumer import consumer as celerys
from kombu.transport.virtual.base import W_NO_CONSUMERS

from onboarding_worker.core.foundation.logs import OURS, about
from onboarding_worker.runtime import logs
from onboarding_worker.runtime.logs import KNOWN, line_form
from onboarding_worker.wiring.runner import StoreCalls
from tests.suite.waiting import ENDS_WITHIN

# Celery's own text.
FORMAT = "Task %(name)s[%(id)s] %(description)s: %(exc)s\n%(traceback)s\n"
LOGGER = f"{OURS}.x"
BELONGS = {"name": "issue", "id": "1", "description": "raised unexpected", "args": "('kyc',)"}


@pytest.fixture
def form() -> str:
    return "text"


@pytest.fixture
def written(tmp_path: Path, form: str):
    """The log as an operator reads it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = tmp_path / "worker.log"
    logs.set_up("info", file, form)
    yield file.read_text
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("end", ["\n", "\r", "\x1b[2K", "\u2028", "\u202e", "\x85", "\x0b"])
def test_no_value_makes_a_line_of_its_own(written, end: str):
    logging.getLogger(LOGGER).warning("no account %s is known", f"a{end}2026-11-20 12:00:00 CRITICAL worker: forged")

    [line] = written().splitlines()
    assert f" warning  {LOGGER}: no account a\\" in line
    assert line.endswith("forged is known")


@pytest.mark.parametrize("form", ["json"])
@pytest.mark.parametrize("end", ["\n", "\r", "\x1b[2K", "\u2028", "\u202e", "\x85", '", "level": "critical", "x": "'])
def test_no_value_makes_a_line_or_a_field_of_json(written, end: str):
    logging.getLogger(LOGGER).warning("no account %s is known", f"a{end}forged", extra={"account": f"k{end}"})

    [line] = written().splitlines()
    found = json.loads(line)
    assert set(found) == {"timestamp", "level", "logger", "account", "event"}
    assert (found["level"], found["logger"]) == ("warning", LOGGER)
    assert found["event"].isprintable()
    assert found["account"].isprintable()


@pytest.mark.parametrize("form", ["json"])
def test_a_line_of_json_has_its_ids_and_the_kind_of_its_exception(written):
    with about(account="kyc", batch=3):
        try:
            raise ValueError("quirin@example.com")
        except ValueError:
            logging.getLogger(LOGGER).exception("a step failed", extra={"job": 7, "email": "quirin@example.com"})
        logging.getLogger("celery.apps.worker").info("%s ready.", "node", extra={"job": 8})
    logging.getLogger(LOGGER).info("outside")

    ours, celerys, outside = map(json.loads, written().splitlines())
    assert {name: ours[name] for name in ("account", "batch", "job")} == {"account": "kyc", "batch": 3, "job": 7}
    assert ours["exception"].startswith("ValueError in test_a_line")
    assert (celerys["event"], celerys["account"], "job" in celerys) == ("node ready.", "kyc", False)
    assert set(outside) == {"timestamp", "level", "logger", "event"}
    assert "quirin" not in written()


@pytest.mark.parametrize("form", ["json"])
def test_at_debug_an_exception_is_written_with_each_place_on_its_way(written):
    logging.getLogger().setLevel("DEBUG")
    try:
        json.loads("quirin@example.com")
    except ValueError:
        logging.getLogger(LOGGER).exception("a step failed")
    way = json.loads(written())["exception"]
    assert way.startswith("JSONDecodeError in test_logs.test_at_debug")
    assert " in decoder.raw_decode, line " in way
    assert "quirin" not in way


@pytest.mark.parametrize("as_json", [False, True])
def test_half_of_a_surrogate_pair_is_an_escape(as_json: bool):
    # Not by a logger: the test runner could not send it on.
    record = logging.LogRecord(LOGGER, logging.INFO, "x.py", 1, "no account %s", ("a\ud800",), None)
    assert "a" + "\\" * (1 + as_json) + "ud800" in line_form(as_json=as_json).format(record)


def test_a_line_of_text_ends_with_its_ids(written):
    with about(account="kyc"):
        logging.getLogger(LOGGER).warning("12 done", extra={"job": 7})
    assert written().endswith(f" warning  {LOGGER}: 12 done account=kyc job=7\n")


async def test_lines_of_tasks_and_threads_have_the_ids_of_the_block_that_started_them(written):
    calls = StoreCalls(["b"], threads=1, on_the_loop=0)
    with about(account="kyc"):
        await asyncio.gather(calls.in_thread(logging.getLogger(LOGGER).warning, "in a thread"))
    calls.close()
    assert written().endswith("in a thread account=kyc\n")


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"), [("auto", True, False), ("auto", False, True), ("json", True, True)]
)
def test_text_is_for_a_terminal_and_json_for_all_else(form: str, terminal: bool, is_json: bool):
    code = f"import logging, sys; sys.stderr.isatty = lambda: {terminal}\n"
    code += "from onboarding_worker.runtime.logs import set_up\n"
    code += f"set_up('info', None, {form!r}); logging.getLogger('onboarding_worker').info('said')"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=ENDS_WITHIN, check=True
    )
    assert ended.stderr.startswith("{") == is_json
    assert "said" in ended.stderr


def test_a_process_that_logs_nothing_does_not_load_structlog():
    code = "import sys; from onboarding_worker.runtime.logs import set_up; set_up(); "
    code += "sys.exit('structlog' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], timeout=ENDS_WITHIN, check=True)


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


NAME = "quirin@example.com"
UNKNOWN = {
    "an unknown task": ("celery.worker.consumer.consumer", celerys.UNKNOWN_TASK_ERROR, (NAME, NAME, {}, {})),
    "an unknown message": ("celery.worker.consumer.consumer", celerys.UNKNOWN_FORMAT, (NAME,)),
    "a body that cannot be decoded": ("celery.worker.consumer.consumer", celerys.MESSAGE_DECODE_ERROR, (NAME,) * 5),
    "a text made beforehand": ("celery.worker.pidbox", f"Control command error: {NAME}", ()),
    "a mapping": ("celery.worker.strategy", "Task %(name)s received", ({"name": NAME},)),
    "kombu": ("kombu.transport.redis", "Cannot process event on channel %r: %s", (NAME, NAME)),
    "a known template of another logger": ("kombu", "%s (%r)", (NAME, NAME)),
    "asyncio": ("asyncio", f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{NAME}')>", ()),
}


@pytest.mark.parametrize("what", UNKNOWN)
@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_of_a_line_that_is_not_known_its_place_is_left(written, what: str, level: int):
    name, template, arguments = UNKNOWN[what]
    logging.getLogger(name).log(level, template, *arguments, stack_info=True)
    text = written()
    assert "quirin" not in text
    assert (f"{name}: a line of test_logs, line " in text) == (level == logging.ERROR)


def test_a_known_line_is_written_with_the_kind_of_its_exception(written):
    lost = "consumer: Connection to broker lost."
    logging.getLogger("celery.worker.consumer.consumer").warning("%s (%r)", lost, ConnectionResetError(NAME))
    logging.getLogger("celery.apps.worker").info("%s ready.", "onboarding-1@host")
    lines = written().splitlines()
    assert lines[0].endswith(f"{lost} ('connection lost')")
    assert lines[1].endswith("onboarding-1@host ready.")


def test_the_libraries_lines_that_are_known_are_those_of_this_release():
    assert ("celery.worker.consumer.consumer", celerys.CONNECTION_ERROR) in KNOWN
    assert ("kombu.transport.virtual.base", W_NO_CONSUMERS.strip()) in KNOWN


UNCAUGHT = f"""
import asyncio, threading, warnings
from onboarding_worker.runtime.logs import set_up

set_up("debug")


def fails():
    raise ValueError("{NAME}")


thread = threading.Thread(target=fails, name="{NAME}")
thread.start()
thread.join()


class Ignored:
    def __del__(self):
        fails()


Ignored()
warnings.warn("{NAME}", RuntimeWarning)


async def loop():
    asyncio.get_running_loop().call_soon(fails)
    lost = asyncio.ensure_future(asyncio.to_thread(fails))
    await asyncio.sleep(0)
    await asyncio.wait([lost])


asyncio.run(loop())
fails()
"""


def test_what_python_itself_would_print_reaches_the_log_without_texts():
    ended = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, timeout=ENDS_WITHIN, check=False
    )

    assert ended.returncode == 1
    assert "quirin" not in ended.stdout + ended.stderr
    assert "a thread ended with ValueError in fails, line " in ended.stderr
    assert "an exception was ignored: ValueError in fails, line " in ended.stderr
    assert "RuntimeWarning at <string>:" in ended.stderr
    assert "a line of base_events, line " in ended.stderr
    assert "the process ends with ValueError in fails, line " in ended.stderr
