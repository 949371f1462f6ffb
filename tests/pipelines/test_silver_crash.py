"""A second silver run that dies anywhere: rows, profiles and drift end as those of a run that was left alone."""

from datetime import timedelta

import numpy as np
import pytest

from tests.pipelines.conftest import Shop
from tests.pipelines.test_crash import die
from tests.pipelines.test_silver_history import feed, history
from transforms.io.delta import read_table

COMMITS = 7  # profiles, outlier summaries, three tables, runs, drift


def two_days(shop: Shop) -> Shop:
    """The first day is in silver, the second in bronze only."""
    rows = history(7)
    first, second = (np.random.default_rng(7).permutation(len(rows))[part] for part in (slice(300), slice(300, None)))
    feed(shop, [rows[i] for i in first], 1)
    shop.silver()
    feed(shop, [rows[i] for i in second], 2)
    return shop


def findings(shop: Shop) -> tuple:
    """Silver, the profiles of the runs that committed, in their order, and the drift."""
    runs = {(r["run_id"], r["table"]): r for r in read_table(shop.lake.runs).to_pylist() if r["command"] == "silver"}
    profiles = sorted(
        (row["table_name"], runs[key]["output_version"], row["column_name"], row["rows_count"], row["max"])
        for row in read_table(shop.lake.profiles).to_pylist()
        if (key := (row["run_id"], row["table_name"])) in runs
    )
    names = ("table_name", "column_name", "previous_rows_count", "rows_count", "verdict")
    drift = sorted(tuple(row[name] for name in names) for row in read_table(shop.lake.drift).to_pylist())
    told = sorted((r["table"], r["read"], r["accepted"], r["duplicates"], r["restated"]) for r in runs.values())
    return shop.everything(), profiles, drift, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    shop = two_days(Shop(tmp_path_factory.mktemp("whole")))
    shop.silver()
    found = findings(shop)
    assert found[2] and any(restated for *_, restated in found[3])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_a_second_run_killed_around_each_commit(tmp_path, whole, where, number):
    shop = two_days(Shop(tmp_path))
    die(shop, "silver", where, str(number))
    shop.at += timedelta(days=1)
    shop.silver()
    shop.silver()
    assert findings(shop) == whole
