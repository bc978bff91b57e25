"""The tables of docs/formats.md are those of the records, and say something of every field."""

import pytest

from frcore.errors import UserError
from frcore.records.document import RECORDS, descriptions, table, type_words, with_tables
from frcore.records.evaluation import NumberRow

EVERY = [record for records in RECORDS.values() for record in records]


def test_the_page_is_in_step(repository):
    committed = (repository / "docs/formats.md").read_text(encoding="utf-8")
    assert committed == with_tables(committed), "run `frcore docs`"


@pytest.mark.parametrize("record", EVERY, ids=lambda record: record.__name__)
def test_every_field_is_described(record):
    assert descriptions(record).keys() == record.model_fields.keys()
    assert all(descriptions(record).values())


def test_a_row_has_name_type_and_meaning():
    assert "| `impostors` | integer | impostor pairs; for `tpir` non-mated searches |" in table(
        NumberRow
    )


@pytest.mark.parametrize(
    ("annotation", "words"),
    [(float | None, "number"), (list[str], "list of texts"), (dict[str, int], "object of integers"),
     (list[NumberRow], "list of objects"), (bool | None, "true or false")],
)  # fmt: skip
def test_types_in_words(annotation, words):
    assert type_words(annotation) == words


def test_a_page_without_markers_is_refused():
    with pytest.raises(UserError, match="needs the lines <!-- begin: manifest -->"):
        with_tables("# Formats\n")
