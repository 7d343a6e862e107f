"""celeryconfig.py is Celery's configuration: what an operator writes there takes effect, and what cannot is refused."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.utils import find_app

from onboarding_worker.celery import app
from onboarding_worker.runtime.celery_settings import CELERYCONFIG, SWEEP_SECONDS, celeryconfig, configure
from onboarding_worker.settings.load import load
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.queue_names import SWEEP
from tests.deploy.compose_file import ROOT
from tests.desk.desk import Desk


def configured(desk: Desk) -> Any:
    desk.environ["ONBOARDING__BROKER__URL"] = "redis://127.0.0.1:1/0"
    app = Celery(set_as_current=False)
    configure(app, lambda: load(desk.config, environ=desk.environ))
    return app.conf


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Appends lines to a copy of the file, and has processes load the copy."""

    def edit(more: str) -> Path:
        file = tmp_path / "celeryconfig.py"
        file.write_text(CELERYCONFIG.read_text("utf-8") + more, "utf-8")
        monkeypatch.setenv("ONBOARDING_CELERYCONFIG", str(file))
        return file

    return edit


@pytest.mark.parametrize("name", ["onboarding_worker.celery", "onboarding_worker"])
def test_celery_finds_the_application_by_each_name_that_is_typed(name: str):
    assert find_app(name) is app


def test_the_file_of_the_checkout_is_the_configuration(desk: Desk):
    assert CELERYCONFIG == ROOT / "celeryconfig.py"
    conf = configured(desk)
    assert conf.worker_consumer == "onboarding_worker.runtime.celery_consumer:Consumer"
    assert (conf.broker_url, conf.worker_pool) == ("redis://127.0.0.1:1/0", "threads")
    assert conf.beat_schedule[SWEEP]["schedule"] == SWEEP_SECONDS


def test_an_edit_takes_effect_on_what_is_written_there_and_on_what_is_computed(desk: Desk, edited: Any):
    edited("worker_prefetch_multiplier = 4\nworker_concurrency = 3\n")
    conf = configured(desk)
    assert (conf.worker_prefetch_multiplier, conf.worker_concurrency) == (4, 3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('broker_url = "redis://elsewhere"', "broker_url: set url of [broker] instead"),
        ("broker_use_ssl = True", "broker_use_ssl: set tls, ca and client_certificate of [broker] instead"),
        ('task_default_queue = "sweep"', "task_default_queue: set prefix of [broker] instead"),
        ("beat_schedule = {}", "beat_schedule: set nothing (it is fixed) instead"),
        ("worker_enable_remote_control = True", "worker_enable_remote_control: set nothing ("),
        ("worker_concurency = 3", "worker_concurency: Celery has no such setting; did you mean worker_concurrency?"),
        ("worker_concurrency = nothing", "it cannot be loaded (NameError)"),
        ("def (", "it cannot be loaded (SyntaxError)"),
    ],
)
def test_what_cannot_take_effect_is_refused_with_the_files_name(edited: Any, line: str, said: str):
    file = edited(f"{line}\n")
    with pytest.raises(SettingsError) as refused:
        celeryconfig()
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)


def test_a_worker_ends_with_the_reason_alone(desk: Desk, edited: Any):
    desk.environ["ONBOARDING_CELERYCONFIG"] = str(edited("broker_url = 'redis://elsewhere'\n"))
    desk.environ["ONBOARDING__BROKER__URL"] = "redis://127.0.0.1:1/0"
    desk.environ["ONBOARDING__DATABASE__URL"] = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    ended = desk.run_process("worker")
    assert ended.code == 2
    assert "broker_url: set url of [broker] instead" in ended.err
    assert "Traceback" not in ended.err
