"""The exports of three CRMs: each row's fate is the one that its cells explain."""

import io

import pytest

from onboarding_worker.core.model.customers import PERSONAL
from onboarding_worker.lists.dates import DateForm
from onboarding_worker.lists.importing.intake import PREFILLED
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY
from tests.lists.crm_exports import HUBSPOT, ROWS, SALESFORCE, SAP, Crm, export

MOST_REJECTED = 35


@pytest.mark.parametrize("crm", [SALESFORCE, SAP, HUBSPOT], ids=["Salesforce", "SAP", "HubSpot"])
def test_each_row_of_an_export_is_read_as_it_is_meant_and_few_are_rejected(crm: Crm):
    made = export(crm)
    mapping = {"Account-ID": "customer_id", **{title: ours for title, (ours, _) in crm.columns.items()}}
    dates = DateForm.parse(crm.dates) if crm.dates else None
    options = ListOptions(today=TODAY, mapping=mapping, dates=dates, if_used=PREFILLED)

    lines = list(open_list(io.BytesIO(made.content), options))

    assert len(lines) == len(made.fates) == ROWS
    for line, (own_id, fate) in zip(lines, made.fates, strict=True):
        if isinstance(fate, set):
            assert isinstance(line, RefusedLine), line.row
            assert {problem.column for problem in line.problems} == fate, line.row
            continue
        assert isinstance(line, AcceptedLine), (line.row, fate)
        assert line.customer.customer_id == own_id
        for column, meant in fate.items():
            found = getattr(line.customer.person if column in PERSONAL else line.customer, column)
            empty = {"channel": "email", "consent": None, "date_of_birth": None}.get(column, "")
            assert found == (empty if meant is None else meant), (line.row, column)
    assert 0 < sum(isinstance(line, RefusedLine) for line in lines) <= MOST_REJECTED
