"""Benchmark of scored pairs: `python -m tests.benchmarks.identity [--persons 220000] [--splink PYTHON] [--default]`.

Generated customers with planted truth. Ours reads them as they are; Splink (DuckDB backend; PYTHON is the interpreter
of an environment that has it) reads them standardised, so that it has nothing to clean. Both bring records together by
the same blocking rules, learn without labels, score every pair, and are judged at probability 0.95 after connecting.
`--default` adds ours with the blocking rules it has by itself. Each in a fresh process; `cpu_seconds` (of all threads)
is steadier than `seconds` where others work on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SAME_RULES = (
    ("email",), ("phone",), ("surname", "birth_date"), ("given_name", "birth_date"), ("postcode", "surname"),
    ("postcode", "given_name"),
)  # fmt: skip
MATCH = 0.95

_MEASURED = """
import json, resource, sys, time
start, cpu = time.perf_counter(), time.process_time()
compared = run(*sys.argv[1:3])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seconds, used = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps({"seconds": seconds, "cpu_seconds": used, "peak_mib": peak, "compared": compared}))
"""
_OURS = """
import pyarrow.parquet as pq
from tests.benchmarks.identity import MATCH, SAME_RULES
from transforms.identity.rules import BlockingRule, IdentityRules
from transforms.identity.score import score_pairs
SAME = IdentityRules(blocking=tuple(BlockingRule(keys) for keys in SAME_RULES), block_rows=10**9)
def run(source, out):
    scored = score_pairs(pq.read_table(source), RULES)
    pq.write_table(scored.edges.select(["left", "right", "probability"]), out)
    return scored.compared
"""
_SPLINK = """
import logging, warnings
import duckdb
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
warnings.simplefilter("ignore")
logging.getLogger("splink").setLevel(logging.ERROR)
def run(source, out):
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    connection.execute(f"create table records as select * from read_parquet('{source}')")
    settings = SettingsCreator(
        link_type="dedupe_only", unique_id_column_name="record_key",
        blocking_rules_to_generate_predictions=[block_on(*keys) for keys in SAME_RULES],
        comparisons=[
            cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
            cl.NameComparison("surname").configure(term_frequency_adjustments=True),
            cl.DateOfBirthComparison("birth_date", input_is_string=True, datetime_format="%Y%m%d"),
            cl.EmailComparison("email"),
            cl.LevenshteinAtThresholds("phone", [1]),
            cl.LevenshteinAtThresholds("street", [1, 3]),
            cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
            cl.ExactMatch("city").configure(term_frequency_adjustments=True),
            cl.ExactMatch("gender"),
        ],
        retain_intermediate_calculation_columns=False, retain_matching_columns=False,
    )
    api = DuckDBAPI(connection=connection)
    linker = Linker(register(api, connection), settings)
    training = linker.training
    training.estimate_probability_two_random_records_match(
        [block_on("email"), block_on("given_name", "surname", "birth_date")], recall=0.8)
    training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    training.estimate_parameters_using_expectation_maximisation(block_on("given_name", "birth_date"))
    training.estimate_parameters_using_expectation_maximisation(block_on("email"))
    training.estimate_parameters_using_expectation_maximisation(block_on("surname", "birth_date"))
    found = linker.inference.predict(threshold_match_probability=0.5)
    connection.execute(
        f"copy (select record_key_l as left, record_key_r as right, match_probability as probability "
        f"from {found.physical_name}) to '{out}' (format parquet)")
    return 0
def register(api, connection):
    return api.register("records") if hasattr(api, "register") else "records"
"""


def write_inputs(persons: int, folder: str) -> None:
    import polars as pl
    import pyarrow.parquet as pq

    from tests.identity.planted import planted_customers
    from transforms.identity.standard import standardise_records

    records, whose = planted_customers(persons)
    pq.write_table(records, f"{folder}/raw.parquet")
    pq.write_table(standardise_records(records).replace_schema_metadata(None), f"{folder}/standard.parquet")
    pl.DataFrame({"record_key": pl.Series(records["record_key"]), "person": whose}).write_parquet(
        f"{folder}/truth.parquet"
    )


def judge(folder: Path, found: Path) -> dict[str, float]:
    """Precision, recall and F1 of pairs of records connected over pairs from MATCH; the best F1 of any threshold."""
    import polars as pl
    import pyarrow.parquet as pq

    from tests.identity.febrl import clustered, pairs_within, quality

    truth, edges = pl.read_parquet(folder / "truth.parquet"), pq.read_table(found)
    keys = truth["record_key"].to_arrow(compat_level=pl.CompatLevel.oldest())
    true = pairs_within(keys, truth["person"])
    told = {
        least: quality(clustered(keys, edges, least), true) for least in (0.5, MATCH, 0.99, 0.999, 0.9999, 0.999999)
    }
    return told[MATCH] | {"best_f1": max(figures["f1"] for figures in told.values())}


def measure(python: str, program: str, source: Path, out: Path) -> dict[str, float]:
    done = subprocess.run([python, "-c", program + _MEASURED, str(source), str(out)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"it failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=220_000, help="there are 1.15 times as many records")
    parser.add_argument("--splink", metavar="PYTHON")
    parser.add_argument("--default", action="store_true")
    options = parser.parse_args()
    programs = {"ours": (sys.executable, _OURS.replace("(source), RULES)", "(source), SAME)"), "raw.parquet")}
    if options.default:
        programs["ours, own rules"] = (
            sys.executable,
            _OURS.replace("(source), RULES)", "(source), IdentityRules())"),
            "raw.parquet",
        )
    if options.splink:
        programs["splink"] = (options.splink, f"SAME_RULES = {SAME_RULES!r}\n{_SPLINK}", "standard.parquet")
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as name:
        folder = Path(name)
        make = f"from tests.benchmarks.identity import write_inputs; write_inputs({options.persons}, {name!r})"
        subprocess.run([sys.executable, "-c", make], check=True)
        for engine, (python, program, source) in programs.items():
            figures = measure(python, program, folder / source, folder / "found.parquet")
            figures |= judge(folder, folder / "found.parquet")
            print(f"{engine:16}", json.dumps({key: round(value, 4) for key, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
