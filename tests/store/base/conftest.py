import shutil
from pathlib import Path

import pytest

from worker.store.base import schema


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of the next release: the existing migrations and one more."""
    migrations = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("next_migration.py"), migrations / "versions")
    return migrations
