"""The report: what it says, what it leaves out, that it is one file, and the same for the same facts."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.report import ReportFacts, render, words
from pipelines.report.facts import _COLUMNS
from pipelines.report.plots import _VARIABLES, compact
from pipelines.report.sections import SECTIONS
from tests.pipelines.report_facts import facts

ROOT = Path(__file__).parents[2]
_VOID = {"meta", "link", "br"}


class _Page(HTMLParser):
    """Collects ids, links and sections, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.sections: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in _VOID:
            self._open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href", "action")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self._open.pop() == tag


@pytest.fixture(scope="module")
def page():
    return render(facts())


@pytest.fixture
def undrawn(monkeypatch):
    """Plots cost most of the time and are looked at by other tests."""
    monkeypatch.setattr("pipelines.report.plots.svg", lambda *_, **__: "<svg></svg>")


def test_tags_match_ids_are_unique_and_every_link_leads_somewhere(page):
    read = _Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert read.sections == [section.name for section in SECTIONS]
    assert read.links == [f"#{name}" for name in read.sections]
    assert {address[1:] for address in read.addresses if address.startswith("#")} <= set(read.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(read.ids)


def test_it_is_one_file_that_asks_the_network_for_nothing(page):
    read = _Page(page)
    assert all(address.startswith("#") or address == "data:," for address in read.addresses)
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|<script|@import|url\((?!#)", without_namespaces)


def test_plots_are_svg_with_the_colours_of_the_page(page):
    drawn = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(drawn) >= 14
    for svg in drawn:
        ET.fromstring(svg)
        assert not any(colour in svg for colour in _VARIABLES)
        assert "var(--" in svg and "aria-label" in svg


def test_same_facts_same_bytes_in_another_process(page):
    code = "from pipelines.report import render\nfrom tests.pipelines.report_facts import facts\nprint(render(facts()))"
    env = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True)
    assert other.stdout.decode() == page + "\n"


def test_it_says_what_the_facts_say(page):
    for said in (
        "as of <b>9 December 2010</b>",
        "1,234 customers",
        "<dd>875 GBP<small>",
        "<dd>12.5 %<small>",  # 125 of 1,000 returned
        "<dd>50.0 %<small>",  # 250 of 500 buy again
        "November 2010 sold most, 600\u00a0GBP",
        "The last month ends on 9 December 2010.",
        "40\u00a0orders of 25.00\u00a0GBP on average",
        "Busiest: Sunday at 23:00, 28\u00a0orders.",
        "Candle leads: 70\u00a0units for 70.00\u00a0GBP.",
        "Champions are 20.0\u00a0% of the buyers and bring 80.0\u00a0% of net revenue.",
        "the best 20\u00a0% bring 44.7\u00a0%",  # the square root of 0.2
        "the Gini coefficient is 0.33",  # 2 * 2/3 - 1
        "13\u00a0customers of 16 moved, 7 of them to a better segment",
        "40.0\u00a0% order again in the month after",  # 10 and 30 of 40 and 60
        "<dd>432 GBP<small>expected",
        "<dd>20<small>of 80 active",
        "2.0 orders each, and 2.1 came; for all 1.10 and 1.20",
        "1\u00a0day of those shown unlike its weekday and trend, the last one 3 December 2010: 30.00\u00a0GBP where",
        "Most are lost before “put into the cart”: 100. Half of the orders come within 4\u00a0min",
        "of 10 journeys on common paths, and how they end: 60.0\u00a0% with an order",
        "The models differ most on",
        "37.5\u00a0% of delivered messages are opened",
        "those of the tracker: 30 agree, 2 differ (2 by end)",
        "6\u00a0rows refused; the rule not_json refused most (83.3\u00a0%). 1\u00a0row came through a replay since.",
        "1 of 2\u00a0columns moved",
        "<dd>9,000<small>in bronze; 4 rejected, kept aside",
        "<dd>0.8 s<small>",
        "all within 70.0\u00a0s",
        "88.9\u00a0%",  # 8,000 of 9,000
        "Most became readable in second 1: 25\u00a0rows a second.",
    ):
        assert said in page, said


def test_rows_that_do_not_add_up_are_called_out():
    good = facts()
    assert good.runs is not None
    assert "do not add up" not in render(good)
    lost = good.runs.set_column(5, "read", pa.array([999, 100, 97]))
    assert "1\u00a0line of this table do not add up" in render(facts(runs=lost))


def test_nothing_personal_and_no_key_is_shown(page):
    assert ">4,711<" in page
    for hidden in ("Aaron", "Zoe", "key-low", "key-high", "somebody"):
        assert hidden not in page
    assert "customers/a.jsonl@0123456789" in page


def test_text_from_the_data_is_text():
    nasty = '<script>alert("x")</script> & $\\frac{1}{2}$ 雪 2 for $1'
    product = pa.table({"name": [nasty], "units": [1], "amount": [1.0]})
    page = render(facts(products=product, lake="<b>", currency="G&P"))
    _Page(page)
    assert "<script" not in page and "<code><b>" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S):
        ET.fromstring(svg)


_NEEDS = {
    "revenue": ("monthly", "hours", "channels"),
    "products": ("products", "categories"),
    "segments": ("segments",),
    "value": ("concentration",),
    "loyalty": ("cohorts",),
    "ahead": ("outlook", "forecasts", "calibration", "models"),
    "journeys": ("funnel", "flows", "attribution"),
    "identity": ("identity",),
    "contact": ("totals",),
    "service": ("totals",),
    "stream": ("stream",),
    "offers": ("offers",),
    "counts": ("layers",),
    "quality": ("quality", "rejects"),
    "columns": ("profiles",),
    "lineage": ("runs",),
    "glance": ("totals", "monthly", "layers", "rejects"),
}


@pytest.mark.parametrize("section", [section.name for section in SECTIONS])
def test_a_section_without_facts_is_left_out(section, undrawn):
    full = facts()
    empty = {n: getattr(full, n) for n in _NEEDS[section]}
    empty = {n: {} if isinstance(value, dict) else value.slice(0, 0) for n, value in empty.items()}
    left = _Page(render(facts(**empty))).sections
    assert section not in left
    none = {n: {} if isinstance(value, dict) else None for n, value in empty.items()}
    assert _Page(render(facts(**none))).sections == left


def test_no_facts_at_all_is_a_page_without_sections():
    assert _Page(render(ReportFacts())).sections == []


@pytest.mark.parametrize("name", sorted(_COLUMNS))
def test_each_table_can_be_missing_alone(name, undrawn):
    _Page(render(facts(**{name: None})))


@pytest.mark.parametrize("name", sorted(_COLUMNS))
def test_a_table_without_its_columns_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} lacks the columns"):
        facts(**{name: pa.table({"other": [1]})})


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (7, "7"), (999.6, "1000"), (1500, "1.5k"), (943_210, "943k"), (2_521_657, "2.52M"), (-30e9, "-30G")],
)
def test_compact_numbers_have_three_digits(value, said):
    assert compact(value) == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.count(1234567), "1,234,567"),
        (words.count(None), "–"),
        (words.number(1234.567), "1,234.57"),
        (words.money(8348208.56, "GBP"), "8,348,209\u00a0GBP"),
        (words.money(9.5, ""), "9.50"),
        (words.share(1, 8), "12.5\u00a0%"),
        (words.share(1, 0), "–"),
        (words.share(1, 1000), "0.10\u00a0%"),
        (words.of(1, "row"), "1\u00a0row"),
        (words.of(2, "row"), "2\u00a0rows"),
        (words.title("A_B<"), "A b&lt;"),
        (words.short("abcdef", 4), "abc…"),
    ],
)
def test_numbers_are_written_for_readers(said, expected):
    assert said == expected
