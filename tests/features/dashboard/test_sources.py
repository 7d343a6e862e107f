"""What pages read, of a process that starts before its database does."""

from contextlib import closing
from pathlib import Path

from onboarding_worker.features.dashboard.contract import Sources
from onboarding_worker.settings.load import load
from onboarding_worker.settings.needs import SERVING
from onboarding_worker.wiring.container import Parts
from tests.settings.samples import ENVIRON, tree, with_value, write


def test_a_process_without_credentials_asks_no_database_before_a_page_is_read(tmp_path: Path):
    nowhere = tree(database={"url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    configuration = with_value(("accounts", "kyc", "api_key"), {"env": "ABSENT"}, nowhere)
    settings = load(write(tmp_path, configuration), environ=ENVIRON, needs=SERVING)
    with closing(Parts(settings)) as parts:
        assert Sources(parts).parts is parts
