"""Which format a list has: by its content, whatever its name says. Those of features may not be there."""

import pytest

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, NOT_INSTALLED
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY
from tests.lists.formats.files import ANN, HEADER, workbook, zipped
from tests.suite.cases import lacking


def test_what_is_no_list_or_not_in_the_format_that_was_asked_for_is_refused_with_what_to_do(refusal):
    cases = [
        (workbook(HEADER, ANN), {"form": "csv"}, "--format csv: the file is an XLSX workbook"),
        (b"customer_id,email\n", {"form": "xlsx"}, "--format xlsx: the file is not an XLSX workbook"),
        (workbook(HEADER, ANN)[:-30], {}, "cannot be opened: it is damaged or cut off"),
        (zipped({"[Content_Types].xml": "", "word/document.xml": ""}), {}, "a document or a presentation"),
        (zipped({"[Content_Types].xml": "", "xl/workbook.bin": ""}), {}, "the workbook is binary (XLSB)"),
        (zipped({"Index/Document.iwa": ""}), {}, "a document of Numbers"),
        (zipped({"mimetype": "", "content.xml": ""}), {}, "an OpenDocument spreadsheet (ODS): save it as XLSX or CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), {}, "an old workbook (XLS), or a workbook with a password"),
        (b"\xef\xbb\xbf <html><table><tr><td>customer_id", {}, "an HTML or XML page"),
    ]
    assert lacking(cases, lambda content, options: refusal(content, **options)) == []


def test_a_csv_file_with_the_name_of_a_workbook_is_read_with_a_warning(tmp_path):
    path = tmp_path / "list.xlsx"
    path.write_text("customer_id,email\nA1,ann@example.com\n")
    opened = open_list(path, ListOptions(today=TODAY))
    assert [line.row for line in opened] == [2]
    assert opened.warnings == ("the name ends in .xlsx, but the content is CSV, and is read as that",)


@pytest.mark.parametrize(
    ("form", "content"), [("xlsx", zipped({"xl/workbook.xml": ""})), ("parquet", b"PAR1" + bytes(40))]
)
def test_a_format_whose_feature_is_not_there_is_refused_by_the_features_name(refusal, monkeypatch, form, content):
    monkeypatch.setattr(FEATURES, "here", {})
    assert f"{shipped.FORMATS[form]}: {NOT_INSTALLED}" in refusal(content)
