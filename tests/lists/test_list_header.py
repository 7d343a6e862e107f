import io
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.lists.columns import nearest, whole_and_in_parts
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.other_names import NAMES
from onboarding_worker.lists.rules import COLUMNS
from tests.suite.cases import lacking

ROW = "A1,a@example.com\n"


def test_titles_may_be_written_as_people_write_them(read):
    (line,) = read(
        " Customer ID ,E-Mail,First-Name,DATE_OF_BIRTH\nA1,a@example.com,Ann,1990-01-02\n", mapping={"e-mail": "email"}
    )
    assert isinstance(line, AcceptedLine)
    assert line.customer.person.first_name == "Ann"
    assert line.customer.person.date_of_birth == date(1990, 1, 2)


def test_the_columns_have_our_names():
    raw = io.BytesIO(b"Kunde,email,notes,,IDENFY-KYC.documents\nA1,a@example.com,x,,PASSPORT\n")
    options = ListOptions(today=date(2026, 1, 1), mapping={"Kunde": "customer_id"}, ignore=frozenset({"Notes"}))
    assert open_list(raw, options).columns == ("customer_id", "email", "idenfy-kyc.documents")


def test_a_header_that_cannot_be_used_says_what_to_do(refusal):
    cases = [
        ("customer_id,mail", 'column 2 ("mail") is unknown; the nearest is email: rename it with --map mail=email'),
        ("customer_id,mail", "or leave it out with --ignore-column mail"),
        ("customer_id,e mail", 'rename it with --map "e mail=email", or leave it out with --ignore-column "e mail"'),
        ("customer_id,qqqq", "rename it with --map qqqq=OURS"),
        ("customer_id,idenfy-kyx.documents", "the nearest provider is idenfy-kyc"),
        ("customer_id,a@example.com", "column 2 is unknown"),
        ("customer_id,+4917139200", "column 2 is unknown"),
        ("email,phone", "the column customer_id is missing"),
        ("customer_id,email,E-MAIL", "column 3"),
        ("customer_id,email,Email", "columns 2 and 3 are both email"),
        ("customer_id,idenfy-kyb.a,idenfy-kyb.a.b", "idenfy-kyb.a is given both as a whole and in parts"),
        ("Anna,Muster", "the first row is not a known header: none of its 2 columns is known"),
    ]
    assert lacking(cases, lambda header: refusal(f"{header}\n{ROW}")) == []


def test_a_header_in_another_language_is_split_and_our_names_are_suggested(refusal):
    reasons = refusal("Kunden-Nr;E-Mail;Prénom;Tel.Nr;Name\n1;a@example.com;x;1;x\n").splitlines()
    assert [reason.partition(" is unknown; ")[2].partition(":")[0] for reason in reasons[:4]] == [
        "the nearest is customer_id",
        "the nearest is email",
        "the nearest is first_name",
        "the nearest is phone",
    ]
    assert reasons[4].startswith('column 5 ("Name") is unknown; rename it with --map Name=OURS')
    assert "is unknown; the nearest is customer_id" in refusal("Cust.No,email\n1,a@example.com\n")


def suggested(refusal, content):
    return [
        one.partition('("')[2].partition('"')[0]
        for one in refusal(content).splitlines()
        if "nearest is customer_id" in one
    ]


def test_the_column_that_differs_in_each_row_is_suggested_for_the_missing_id_and_no_id_for_the_account(refusal):
    cases = [
        ("Account-ID;E-Mail\n0015g00000AbCdE;a@example.com\n", ["Account-ID"]),
        ("Account-ID;Contact-ID;E-Mail\n1;7;a@x.example\n1;8;b@x.example\n", ["Contact-ID"]),
        ("Contact-ID;Record Type ID;E-Mail\n1;7;a@x.example\n2;7;b@x.example\n", ["Contact-ID"]),
        ("Record Type ID,Deal ID,E-Mail\n7,1,a@x.example\n7,2,b@x.example\n", ["Deal ID"]),
        ("Record Type ID;E-Mail\n7;a@x.example\n7;b@x.example\n", []),
        ("Phone No;Country;E-Mail\n1;LT;a@x.example\n2;DE;b@x.example\n", []),
        ("Debitor;E-Mail\n0000012345;a@x.example\n", ["Debitor"]),
        ("customer_id;Account-ID;email\nA1;7;a@x.example\n", []),
    ]
    assert [(content, found) for content, ids in cases if (found := suggested(refusal, content)) != ids] == []
    assert [content for content, _ in cases if "is account" in refusal(content)] == []
    (line,) = open_list(io.BytesIO(b'{"Account-ID": "1", "email": "a@x.example"}'), ListOptions(today=date(2026, 1, 1)))
    assert [one.hint.partition(",")[0] for one in line.problems if one.column == "Account-ID"] == [
        "rename it with --map Account-ID=customer_id"
    ]


def test_every_reason_is_given_at_once(refusal):
    reasons = refusal("email,EMAIL,colour\na@example.com,,\n").splitlines()
    assert len(reasons) == 3


def test_a_list_without_a_header_shows_no_personal_data(refusal):
    reason = refusal("anna@example.com,Anna,+37060000000\nbert@example.com,Bert,+37060000001\n")
    assert "anna" not in reason.lower()
    assert "370" not in reason


def test_a_parameter_that_the_provider_does_not_have_refuses_the_list(refusal):
    def known(provider: str, name: str) -> str | None:
        assert (provider, name) == ("idenfy-kyc", "documentz")
        return "not a parameter of idenfy-kyc; the nearest is documents"

    reason = refusal("customer_id,email,idenfy-kyc.documentz\nA1,a@example.com,x\n", known_parameter=known)
    assert reason == "column idenfy-kyc.documentz: not a parameter of idenfy-kyc; the nearest is documents"


def test_the_nearest_column_is_the_one_that_is_meant():
    cases = {
        "e-mail": "email",
        "Surname": "last_name",
        "dob": "date_of_birth",
        "customerid": "customer_id",
        "Kanalas": "channel",
        "Laiko juosta": "timezone",
        "Vardas, pavardė": None,
        "zzz": None,
    }
    assert {title: nearest(title) for title in cases} == cases


def test_a_title_that_only_shares_letters_with_a_column_is_like_none():
    cases = ["Status", "State", "Stage", "Sent", "Age", "Plan", "Amount", "Comment", "Owner"]
    assert [(title, got) for title in cases if (got := nearest(title)) is not None] == []


def test_a_typing_mistake_in_a_title_is_seen_through():
    cases = ["tgs", "emial", "phne", "adress", "cuntry", "cust_id", "frist_name", "sx", "chanel"]
    assert [title for title in cases if nearest(title) not in COLUMNS] == []


def test_each_language_has_a_name_for_each_column_that_others_have_names_for(subtests):
    for language in NAMES:
        with subtests.test(language=language):
            suggested = {column: {nearest(name) for name in names.split()} for column, names in NAMES[language].items()}
            assert suggested == {column: {column} for column in NAMES["English"]}  # so no name means two columns


@given(
    st.lists(
        st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda parts: "p." + ".".join(parts)), max_size=6
    )
)
def test_a_parameter_given_as_a_whole_and_in_parts_is_found(names):
    found = [name for name in names if any(other.startswith(f"{name}.") for other in names)]

    assert whole_and_in_parts(names) == found
