"""Tables as people's systems write them; `test_store.py` and `test_csv_file.py` have the rest."""

from __future__ import annotations

import pytest

from imbox_plugin import tabular
from imbox_plugin.tabular import OWN_NAMES, TableError, column_names, header, overlong, place_of


@pytest.fixture
def rows(tmp_path):
    """The headers and the rows of a text."""

    def rows(text, *wanted, **options):
        file = tmp_path / "t.csv"
        file.write_text(text, "utf-8")
        with tabular.opened(file, "utf-8") as opened:
            headers, below = tabular.table(opened, file.name, wanted, **options)
            return headers, list(below)

    return rows


def test_headers_that_are_expected_tell_the_delimiter(rows):
    assert rows("a,b;c,d\n")[0] == ("a", "b;c", "d")
    assert rows("a,b;c,d\n", "C,D")[0] == ("a,b", "c,d")


def test_a_delimiter_that_is_given_counts(rows):
    assert rows("id,name|x\n1,2|3\n", delimiter="|") == (("id,name", "x"), [(2, ["1,2", "3"])])


def test_a_row_is_told_by_the_line_it_begins_in(rows):
    _, below = rows('id,note\n1,"two\nlines"\n\n2,x\n')

    assert [line for line, _ in below] == [2, 5]


def test_columns_that_are_named_are_tried_in_their_order():
    found = header(["Mobil", "id", "Tel", "Fax"], {"phone": ["Fax", "Mobil"], "name": []}, "t.csv")

    assert found.of("phone") == ("Fax", "Mobil")
    assert found.of("external_id") == ("id",)
    assert found.of("name") == ()


def test_an_id_of_imbox_is_an_identity_that_no_header_says():
    with pytest.raises(TableError, match="no column for an external id"):
        header(["contact_id"], {}, "t.csv")

    assert header(["contact_id"], {"contact_id": ["contact id"]}, "t.csv").of("contact_id")


def test_a_column_is_found_exactly_before_nearly():
    assert place_of("E-post", ["epost", "e-post", "E-post"], "t.csv") == 2
    assert place_of("E POST", ["x", "e-post"], "t.csv") == 1
    with pytest.raises(TableError, match=r"'mail' .its columns are x.; correct"):
        place_of("mail", ["x", ""], "t.csv")


def test_a_column_leaves_its_name_to_others_where_it_is_told_to():
    assert column_names(["a", "A"], last={0}) == ("a_2", "a")
    assert column_names(["email", "order"], taken=OWN_NAMES) == ("email_2", "order")


@pytest.mark.parametrize(
    ("row", "is_overlong"), [(["1"], False), (["1", "2", " "], False), (["1", "2", "", "4"], True)]
)
def test_a_row_is_overlong_when_something_stands_beside_the_headers(row, is_overlong):
    assert bool(overlong(row, ["a", "b"])) == is_overlong


@pytest.mark.parametrize(
    ("cell", "found"), [(" 7 ", "7"), ("7,01E+08", None), ("7E+8", "7E+8"), (" ", None)]
)
def test_an_id_that_excel_rounded_is_none(cell, found):
    assert tabular.external_id(cell) == found
