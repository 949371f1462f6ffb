"""The data dictionary of customer_360, made from the declaration of its columns."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from pipelines.console import Output, counted
from transforms.errors import UserError
from transforms.gold.fields import FIELDS, GROUPS

BEGIN, END = "<!-- dictionary of customer_360: begin -->", "<!-- dictionary of customer_360: end -->"
_HEAD = "| column | type | unit | meaning |\n| --- | --- | --- | --- |"
_TYPES = {
    pa.string(): "text",
    pa.int64(): "integer",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
}


def dictionary() -> str:
    """Markdown: a table of each group of columns, with type, unit, meaning and source."""
    parts = []
    for group in GROUPS:
        head = f"**{group.name.capitalize()}** (from {group.source})\n\n{_HEAD}"
        rows = (
            f"| `{f.name}` | {_type(f.type)}{'' if f.arrow.nullable else ', never null'} | {f.unit} |"
            f" {f.comment.replace('|', '/')}{' (personal)' if f.personal else ''} |"
            for f in group.fields
        )
        parts.append("\n".join([head, *rows]))
    return "\n\n".join(parts)


def _type(type: pa.DataType) -> str:
    names = {
        pa.string(): "text",
        pa.int64(): "integer",
        pa.float64(): "double",
        pa.bool_(): "boolean",
        pa.date32(): "date",
    }
    return names.get(type, "timestamp" if pa.types.is_timestamp(type) else str(type).replace("128", ""))


def put_into(text: str) -> str:
    """The text with the dictionary between its marks; as it is where there are none."""
    made = f"{BEGIN}\n\n{dictionary()}\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: made, text, flags=re.S)


def run_dictionary(path: str | None, as_json: bool) -> None:
    """The command `dictionary`.

    Raises:
      UserError: the file has no place for it.
    """
    out = Output(as_json)
    if path is None:
        out.say(dictionary(), columns=[{"column": f.name, "unit": f.unit, "meaning": f.comment} for f in FIELDS])
    else:
        text = Path(path).read_text(encoding="utf-8")
        if BEGIN not in text or END not in text:
            raise UserError("there is no place for the dictionary", path, f"put the lines {BEGIN} and {END} into it")
        Path(path).write_text(put_into(text), encoding="utf-8")
        out.say(f"dictionary: {counted(len(FIELDS), 'column')} of customer_360 in {path}", path=path)
    out.close()
