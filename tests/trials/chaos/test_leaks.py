"""The trials' own check of logs: what must stand in none is found."""

from pathlib import Path

import pytest

from trials.customers import FAMILY, listed
from trials.evidence import Evidence, Received
from trials.leaks import leaks

(ANN,) = listed(1)


@pytest.mark.parametrize(
    "words",
    [
        f"{ANN.email} was refused",
        f"to {ANN.phone}",
        f"Ann {FAMILY}",
        "token-with-sixteen-messages",
        "GET https://verify.example.com/start#token=x",
        "https://ivs.idenfy.com/api/v2/redirect?authToken=x",
    ],
)
def test_what_must_stand_in_no_log_is_found_there(words: str, tmp_path: Path):
    evidence = Evidence(received=Received(calls=[{"token": "token-with-sixteen-messages"}, {"token": None}]))
    (tmp_path / "clean.log").write_text("issue(kyc): 7 done, job 1: retry, http://127.0.0.1:9200/idenfy?x=1")
    (tmp_path / "leaky.log").write_text(f"12:00 INFO {words}.\n")
    files = [tmp_path / "clean.log", tmp_path / "leaky.log"]
    complaints = list(leaks(files, evidence))
    assert complaints
    assert all("leaky.log" in complaint and words not in complaint for complaint in complaints)
