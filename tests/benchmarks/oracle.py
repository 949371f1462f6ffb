"""Benchmark of planted tastes: `python -m tests.benchmarks.oracle`, recall@10 beside one who knows them (bar: 80 %).

Prints one JSON line a model; the oracle knows the chance of every product in a line of every person of the generator.
"""

import json

import numpy as np
import polars as pl

from recsys.batch.silver import INPUTS, ITEMS, TRANSACTIONS, purchases
from recsys.candidates.popularity import Popularity
from recsys.chain import ChainSource
from recsys.evaluate.compare import judge, measure
from recsys.evaluate.splits import leave_last_out
from recsys.interactions import encode
from transforms.contracts import CONTRACTS
from transforms.generator.baskets import TASTE_SHARE
from transforms.generator.catalogue import draw_catalogue
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec

SPEC = GeneratorSpec(seed=5, customers=2_000, products=500).clean


class Oracle:
    """The chance of each product to be in a line of a person, as the generator draws it: taste times best-sellers."""

    def __init__(self, log, truth, tastes):
        catalogue = draw_catalogue(SPEC)
        names = list(catalogue.categories)
        category = catalogue.products["category"].to_numpy()
        counts = np.bincount(category, minlength=len(names))
        place = np.arange(len(category)) - (np.cumsum(counts) - counts)[category]
        edge = lambda at: (at / counts[category]) ** (1 / 2.2)  # noqa: E731  # of u ** 2.2 * count
        within = np.zeros((len(names), len(log.item_ids)))
        code = {item: at for at, item in enumerate(log.item_ids)}
        for product, shelf, share in zip(
            catalogue.products["PRODUCT_ID"], category, edge(place + 1) - edge(place), strict=True
        ):
            if product in code:
                within[shelf, code[product]] = share
        wide = tastes.pivot(on="category", index="person", values="weight").fill_null(0)
        known = pl.DataFrame({"person": log.user_ids.cast(pl.String)}).join(wide, on="person", how="left").fill_null(0)
        taste = known.select([pl.col(name) if name in known.columns else pl.lit(0.0).alias(name) for name in names])
        shares = TASTE_SHARE * taste.to_numpy() + (1 - TASTE_SHARE) * np.asarray(catalogue.popularity)
        self.scores = shares @ within

    def lists(self, users, k):
        return np.argsort(-self.scores[users], axis=1, kind="stable")[:, :k]


def world():
    shard = build_shard(SPEC, 0)
    tables = {name: shard.tables[name].select(INPUTS[name]) for name in (ITEMS, TRANSACTIONS)}
    tables = {
        name: table.cast(CONTRACTS[name].arrow.empty_table().select(INPUTS[name]).schema)
        for name, table in tables.items()
    }
    truth = {name: pl.DataFrame(pl.from_arrow(shard.truth[name])) for name in ("persons", "tastes")}
    rows = pl.DataFrame(pl.from_arrow(purchases(tables[ITEMS], tables[TRANSACTIONS])))
    person = truth["persons"].select(user="customer_id", person="person")
    rows = rows.join(person, on="user").with_columns(user="person").select("user", "item", "time", "signal", "basket")
    log = encode(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return leave_last_out(log, repeats=True), Oracle(log, truth["persons"], truth["tastes"])


def main() -> None:
    split, oracle = world()
    best = measure("oracle", oracle.lists(split.users, 10), split)
    plain = judge("popularity", Popularity().fit(split.train), split)
    chain = ChainSource(True).fit(split.train)
    mine = measure("chain", chain.recommend(split.histories, 10)[0], split)
    top = best.values["recall"].mean()
    for one in (best, plain, mine):
        print(json.dumps(one.row(10) | {"share_of_oracle": round(float(one.values["recall"].mean() / top), 3)}))


if __name__ == "__main__":
    main()
