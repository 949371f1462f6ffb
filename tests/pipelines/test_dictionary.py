"""The README's data dictionary is the declaration of customer_360, and the declaration says what a reader needs."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.dictionary import dictionary, put_into, run_dictionary
from transforms.errors import UserError
from transforms.gold.fields import FIELDS, SCHEMA

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_dictionary_as_it_is_declared():
    text = README.read_text(encoding="utf-8")
    assert put_into(text) == text, "run: python -m pipelines dictionary --write README.md"
    assert all(text.count(f"| `{name}` |") == 1 for name in SCHEMA.names)


def test_every_column_has_a_unit_and_a_meaning_and_its_name_agrees_with_its_unit():
    told = dictionary()
    for field in FIELDS:
        assert field.unit and len(field.comment) > 4, field.name
        assert field.name.endswith("_count") <= (field.unit == "count"), field.name
        assert (field.unit == "time, UTC") == pa.types.is_timestamp(field.type) == field.name.endswith("_at"), (
            field.name
        )
        assert (field.unit == "money") == pa.types.is_decimal(field.type), field.name
        assert field.name.endswith(("_probability", "_rate")) <= (field.unit == "0 to 1"), field.name
    assert told.count("\n| `") == len(FIELDS)


def test_a_file_without_a_place_for_it_is_refused(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("nothing")
    with pytest.raises(UserError, match="no place"):
        run_dictionary(str(file), True)
    assert file.read_text() == "nothing"
