"""The whole way from a history to a list: sources, their candidates merged, the ranker; learnt in one go from a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from recsys.candidates.als import ImplicitAls
from recsys.candidates.content import Content
from recsys.candidates.ease import Ease
from recsys.candidates.item_knn import BoughtTogether
from recsys.candidates.own import OwnMostFrequent, RepeatDue
from recsys.candidates.popularity import Popularity, Trending
from recsys.candidates.source import NEVER, Scorer, Source, best
from recsys.evaluate.splits import leave_last_out
from recsys.interactions import MOST_ITEMS, Histories, Log
from recsys.ranking.features import ItemTimes, gather
from recsys.ranking.train import Ranker, train_ranker
from recsys.retrieval.train import FittedTowers, TwoTower
from recsys.spec import RankingSpec, RetrievalSpec

FEWEST_LISTS = 50  # to teach a ranker; with fewer the ranks of the sources are fused
_HELD_SHARE = 5  # the lists of one person of so many say when to stop


def sources_for(repeats: bool, words: pl.DataFrame | None = None) -> list[Source]:
    """Where candidates come from beside the towers; own items only where they may be shown again."""
    found: list[Source] = [Ease(), Ease(half_life_items=30.0, name="recency EASE"), ImplicitAls(), BoughtTogether()]
    found += [Trending(), Trending(60.0, "popular"), Popularity()]
    if words is not None and words.height:
        found.append(Content(words))
    return found + ([OwnMostFrequent(), RepeatDue()] if repeats else [])


@dataclass(frozen=True)
class ChainSource:
    """How the chain is learnt; `words`: columns item and text, may be None."""

    repeats: bool
    words: pl.DataFrame | None = None
    retrieval: RetrievalSpec = field(default_factory=RetrievalSpec)
    ranking: RankingSpec = field(default_factory=RankingSpec)
    said: Callable[[str], None] = lambda _: None
    name: str = "chain"

    def fit(self, log: Log) -> Chain:
        """Learns sources and ranker without each user's last baskets, which teach the ranker; then the sources again.

        The ranker so learns how far to trust scores of baskets that the sources have not seen.
        """
        several = np.clip(self.ranking.most_lists // max(len(log.user_ids), 1), 1, self.ranking.lists)
        inner = leave_last_out(log, self.repeats, int(several)).some(self.ranking.most_lists, self.ranking.seed)
        sources = sources_for(self.repeats, self.words)
        if len(inner.users) < FEWEST_LISTS:
            return self._fused(_fit(sources, log), log, len(inner.users))
        towers = TwoTower(self.retrieval, _word_codes(log, self.words), inner)
        first = towers.fit(inner.train)
        assert isinstance(first, FittedTowers)
        self.said(f"two towers: {first.epochs} epochs, NDCG {max(first.curve):.4f} of the baskets kept back")
        scorers = {**_fit(sources, inner.train), towers.name: first}
        pool = gather(inner.histories, scorers, ItemTimes.of(inner.train), self.ranking.candidates, self.repeats)
        again = {**_fit(sources, log), towers.name: towers.for_epochs(first.epochs).fit(log)}
        found = inner.targets.hits(pool.items).any(1)
        if found.sum() < FEWEST_LISTS:
            return self._fused(again, log, int(found.sum()))
        held = np.unique(inner.users, return_inverse=True)[1] % _HELD_SHARE == 0
        ranker = train_ranker(pool, inner.targets, self.ranking, held)
        self.said(f"ranker: {ranker.epochs} epochs, NDCG {max(ranker.curve):.4f} of held-out lists")
        curves = {"two towers": first.curve, "ranker": ranker.curve}
        return Chain(again, ItemTimes.of(log), ranker, self.repeats, self.ranking, curves)

    def _fused(self, scorers: dict[str, Scorer], log: Log, lists: int) -> Chain:
        self.said(f"only {lists} people have a later basket to learn from: ranks are fused, not learnt")
        return Chain(scorers, ItemTimes.of(log), None, self.repeats, self.ranking)


@dataclass(frozen=True)
class Answer:
    """Lists [n, k], best first: codes, -1 where there are fewer; the source that ranks each highest; scores: the chance
    that each is taken, of fused ranks their sum."""

    items: np.ndarray
    scores: np.ndarray
    sources: np.ndarray


@dataclass(frozen=True)
class Chain:
    """Answers for histories; without a ranker in the order of the fused ranks.

    `curves`: NDCG of what was kept back after each epoch, by what learnt.
    """

    scorers: dict[str, Scorer]
    times: ItemTimes
    ranker: Ranker | None
    repeats: bool
    spec: RankingSpec
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def recommend(self, histories: Histories, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(codes [n, k], best first, -1 where there are fewer; the name of the source that ranks each highest)."""
        answer = self.answer(histories, k)
        return answer.items, answer.sources

    def answer(self, histories: Histories, k: int) -> Answer:
        """The best k of each, by the ranker or else by the fused ranks; at most MOST_ITEMS of a history are seen."""
        size = max(self.spec.candidates, k)
        pool = gather(histories.newest(MOST_ITEMS), self.scorers, self.times, size, self.repeats)
        shown = np.where(pool.items >= 0, pool.fused, NEVER) if self.ranker is None else self.ranker.scores(pool)
        places = best(shown, k)
        shown = shown if self.ranker is None else self.ranker.chance.of(shown, pool.items >= 0)
        items, scores, sources = (
            np.take_along_axis(one, np.maximum(places, 0), 1) for one in (pool.items, shown, pool.sources)
        )
        return Answer(np.where(places >= 0, items, -1), scores, np.array([*self.scorers])[sources])


def _fit(sources: Sequence[Source], log: Log) -> dict[str, Scorer]:
    return {source.name: source.fit(log) for source in sources}


def _word_codes(log: Log, words: pl.DataFrame | None, most: int = 8, vocabulary: int = 5_000) -> np.ndarray:
    """[items, most]: codes from 1 of the most frequent words of each item that occur twice, 0 for none."""
    made = np.zeros((len(log.item_ids), most if words is not None else 0), np.int32)
    if words is None:
        return made
    code = pl.DataFrame({"item": log.item_ids.cast(pl.String), "code": np.arange(len(log.item_ids))})
    split = pl.col("text").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]{2,}").list.unique()
    tokens = words.drop_nulls().unique("item").join(code, on="item").select("code", split.alias("word")).explode("word")
    counts = tokens.group_by("word").len().filter(pl.col("len") > 1).sort("len", "word", descending=[True, False])
    known = counts.head(vocabulary).with_row_index("number", 1)
    rows = tokens.join(known, on="word").sort("code", "number")
    place = rows.select(pl.int_range(pl.len()).over("code")).to_series().to_numpy()
    few = place < most
    made[rows["code"].to_numpy()[few], place[few]] = rows["number"].to_numpy()[few]
    return made
