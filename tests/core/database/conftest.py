import shutil
from pathlib import Path

import pytest

from onboarding_worker.core.database import schema


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of the next release: the existing migrations and two more."""
    migrations = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    for later, name in enumerate(("next_migration.py", "next_index_migration.py"), 1):
        named = f"{int(schema.newest()) + later:04}_{name}"
        shutil.copy(Path(__file__).with_name(name), migrations / "versions" / named)
    return migrations
