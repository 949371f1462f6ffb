"""Recommendations from a person's own file: learnt, judged beside the baselines on request, and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.console import Output, counted
from pipelines.own_files import (
    Refusals,
    Source,
    check_paths,
    open_refusals,
    open_sources,
    plan,
    say_rejected,
    typed_batches,
)
from recsys.evaluate.compare import Result, baselines, compare, measure, rank, winner
from recsys.evaluate.splits import Split, parse_split
from recsys.interactions import INTERACTIONS, Histories, Log, encode
from recsys.own_file import ITEM_TARGETS, OWN, OWN_ITEMS, TARGETS, interactions_of, takes_again
from recsys.reasons import reason
from recsys.spec import RankingSpec, RetrievalSpec
from transforms.errors import UsageError, UserError
from transforms.io.table_file import TableFile

if TYPE_CHECKING:
    from recsys.chain import ChainSource

RECOMMENDATIONS: pa.Schema = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
_BATCH_USERS = 20_000
Recommend = Callable[[Histories], tuple[np.ndarray, np.ndarray]]  # codes and sources, [histories, k]


@dataclass(frozen=True)
class Wish:
    """What was asked for. `repeats` None: as people do in the file. `evaluate`: see `parse_split`."""

    k: int = 10
    evaluate: str | None = None
    repeats: bool | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 1_000:
            raise UsageError(f"{self.k} recommendations a person", "--k", "choose 1 to 1000")


@dataclass(frozen=True)
class Read:
    """A file as a log; `words`: columns item and text, None without; `items`: what is told of them, as OWN_ITEMS."""

    log: Log
    words: pl.DataFrame | None
    returned: int
    other: int
    items: pl.DataFrame | None = None


def read_log(sources: Sequence[Source], items: Sequence[Source], refusals: Refusals) -> Read:
    """All rows of the files as one log, in memory: about 100 bytes a row.

    Raises: UserError: no row can be used.
    """
    parts, words, returned, other = [], [], 0, 0
    for rows in typed_batches(sources, OWN, refusals):
        made = interactions_of(rows)
        parts.append(made.rows)
        returned, other = returned + made.returned, other + made.other
        if "text" in rows.columns:
            words.append(rows.select("item", "text").drop_nulls().unique())
    told = list(typed_batches(items, OWN_ITEMS, refusals))
    words += [rows.select("item", "text") for rows in told]
    found = pl.concat(parts) if parts else pl.DataFrame()
    if not found.height:
        raise UserError("no row is an interaction", sources[0].file.path, "see why with --rejects FILE")
    text = pl.concat(words).unique("item", keep="last", maintain_order=True) if words else None
    table = found.to_arrow().cast(INTERACTIONS)
    ratings = all("rating" in source.columns.columns for source in sources)
    baskets = any("basket" in source.columns.columns for source in sources)
    catalogue = text["item"] if items and text is not None else None
    attributes = pl.concat(told, how="diagonal") if told else None
    return Read(encode(table, ratings and not baskets, catalogue), text, returned, other, attributes)


def evaluate(read: Read, wish: Wish, repeats: bool, out: Output) -> tuple[list[Result], Split]:
    """Every baseline and the chain on one split, the chain last."""
    assert wish.evaluate
    split = parse_split(wish.evaluate, read.log, repeats)
    out.say(
        f"judged by {counted(len(split.users), 'person')} and {int(split.targets.counts.sum()):,} items held out"
        f" ({wish.evaluate}), learnt from {counted(len(split.train), 'row')}",
        judged=len(split.users),
    )
    results = compare(baselines(repeats), split, wish.k)
    chain = new_chain(read, wish, repeats, out.say).fit(split.train)
    lists, _ = chain.recommend(split.histories, wish.k)
    return [*results, measure("chain", lists, split)], split


def run_recommend(
    location: str,
    items: str | None,
    out_path: str | None,
    wish: Wish,
    maps: list[str],
    rejects: str | None,
    format: str | None,
    as_json: bool,
) -> None:
    """The command `recommend`."""
    out = Output(as_json)
    if not out_path and not wish.evaluate:
        raise UsageError("nothing to do", remedy="give --out FILE, --evaluate leave-last-out, or both")
    sources = open_sources(location, TARGETS, maps, format, out, out_path, rejects)
    item_sources = plan(items, ITEM_TARGETS, {}, None) if items else []
    check_paths(item_sources, out_path, rejects)
    start = perf_counter()
    read, repeats = read_in(sources, item_sources, wish, rejects, out)
    best = None
    if wish.evaluate:
        with out.working("learning and judging"):
            results, _ = evaluate(read, wish, repeats, out)
        best = say_results(results, wish.k, out)
    if out_path:
        with out.working("learning and recommending"):
            rows = write_recommendations(read, wish, repeats, best, out_path, out)
        out.say(f"recommend: {counted(rows, 'recommendation')} in {perf_counter() - start:.0f} s: {out_path}",
                out=out_path, recommendations=rows, seconds=round(perf_counter() - start, 1))  # fmt: skip
    out.close()


def read_in(
    sources: Sequence[Source], item_sources: Sequence[Source], wish: Wish, rejects: str | None, out: Output
) -> tuple[Read, bool]:
    """What was read, and whether items may come again; says both, and what could not be used."""
    with out.working("reading"), open_refusals(rejects) as refusals:
        read = read_log(sources, item_sources, refusals)
    repeats = repeats_of(read, wish, out)
    say_rejected(refusals.counts, rejects, out)
    return read, repeats


def repeats_of(read: Read, wish: Wish, out: Output) -> bool:
    """May items come again? As wished, or as people do; says so, and what was read."""
    repeats = takes_again(read.log) if wish.repeats is None else wish.repeats
    say_read(read, repeats, out)
    return repeats


def new_chain(read: Read, wish: Wish, repeats: bool, said: Callable[[str], None]) -> ChainSource:
    """How the chain is learnt from what was read. Raises: UserError: TensorFlow is not there."""
    try:
        from recsys.chain import ChainSource  # TensorFlow takes seconds to import
    except ImportError as error:
        raise UserError(f"{error.name} is not installed", remedy="install the extra recsys") from None
    retrieval, ranking = RetrievalSpec(seed=wish.seed), RankingSpec(seed=wish.seed)
    return ChainSource(repeats, read.words, retrieval, ranking, said)


def write_recommendations(read: Read, wish: Wish, repeats: bool, best: str | None, path: str, out: Output) -> int:
    """The best `k` items of every person in the file, asked after its last row: rows written, RECOMMENDATIONS.

    `best`: the baseline that was found better than the chain, to be used in its place.
    """
    recommend = _recommender(read, wish, repeats, best, out)
    log = read.log
    everyone = np.arange(len(log.user_ids))
    with TableFile(path, RECOMMENDATIONS) as file:
        for first in range(0, len(everyone), _BATCH_USERS):
            users = everyone[first : first + _BATCH_USERS]
            lists, sources = recommend(log.histories(users))
            file.write(_table(log, users, lists, sources))
        return file.rows


def _recommender(read: Read, wish: Wish, repeats: bool, best: str | None, out: Output) -> Recommend:
    if best is None:
        chain = new_chain(read, wish, repeats, out.say).fit(read.log)
        return lambda histories: chain.recommend(histories, wish.k)
    scorer = next(source for source in baselines(repeats) if source.name == best).fit(read.log)

    def by_baseline(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        lists = rank(scorer.score, histories, wish.k, repeats)
        return lists, np.full(lists.shape, best)

    return by_baseline


def _table(log: Log, users: np.ndarray, lists: np.ndarray, sources: np.ndarray) -> pa.Table:
    row, place = np.nonzero(lists >= 0)
    names = sources[row, place]
    return pa.table(
        [
            log.user_ids.gather(users[row]).to_arrow().cast(pa.string()),
            pa.array(place + 1, pa.int32()),
            log.item_ids.gather(lists[row, place]).to_arrow().cast(pa.string()),
            pa.array(names.tolist(), pa.string()),
            pa.array([reason(name) for name in names.tolist()], pa.string()),
        ],
        schema=RECOMMENDATIONS,
    )


def say_read(read: Read, repeats: bool, out: Output) -> None:
    log = read.log
    out.say(
        f"{counted(len(log), 'interaction')} of {counted(len(log.user_ids), 'person')} with"
        f" {counted(len(log.item_ids), 'item')}",
        interactions=len(log), persons=len(log.user_ids), items=len(log.item_ids),
        returned=read.returned, other_signals=read.other, repeats=repeats,
    )  # fmt: skip
    if read.returned:
        out.say(f"{read.returned:,} rows with a quantity of 0 or less are returns, and left out")
    if read.other:
        out.say(f"{read.other:,} rows are neither view, cart add, purchase nor rating, and left out")
    out.say("items may come again" if repeats else "only items that a person does not have are recommended")


def say_results(results: list[Result], k: int, out: Output) -> str | None:
    """Prints the table; the name of the baseline that wins, None if the chain does."""
    out.table("evaluation", [result.row(k) for result in results])
    out.facts["groups"] = {result.name: result.groups for result in results}
    out.facts["intervals"] = {
        result.name: {name: asdict(one) for name, one in result.estimates().items()} for result in results
    }
    best = winner(results)
    out.say(f"best by NDCG@{k}: {best.name}", best=best.name)
    if best.name != results[-1].name:
        out.say(f"the chain lost to {best.name}, which is used in its place")
        return best.name
    return None
