"""Benchmark of recommendations: `python -m tests.benchmarks.recsys [--data movielens|retail] [--repeats] [--seeds 3]`.

Leaves the last basket of each person out, ranks all items, k = 10, and prints every baseline and each seed of the chain
with the defaults, one JSON line each, with processor seconds.
"""

from __future__ import annotations

import argparse
import json
from time import process_time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=["movielens", "retail"], default="movielens")
    parser.add_argument("--repeats", action="store_true", help="items may come again (retail)")
    parser.add_argument("--split", default="leave-last-out")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()

    from recsys.chain import ChainSource
    from recsys.evaluate.compare import baselines, judge, measure
    from recsys.evaluate.splits import parse_split
    from recsys.spec import RankingSpec, RetrievalSpec
    from tests.recsys.public_data import movielens, online_retail

    log, words = (movielens(), None) if asked.data == "movielens" else online_retail()
    split = parse_split(asked.split, log, asked.repeats)
    for source in baselines(asked.repeats):
        start = process_time()
        tell(judge(source.name, source.fit(split.train), split).row(10), start)
    for seed in range(1, asked.seeds + 1):
        start = process_time()
        spec = ChainSource(asked.repeats, words, RetrievalSpec(seed=seed), RankingSpec(seed=seed))
        lists, _ = spec.fit(split.train).recommend(split.histories, 10)
        tell(measure(f"chain, seed {seed}", lists, split).row(10), start)


def tell(row: dict[str, object], start: float) -> None:
    print(json.dumps(row | {"cpu_seconds": round(process_time() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
