"""`python -m recsys.evaluate`: a model beside every baseline, on one's own file or the lake, from all sides."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.own_files import open_sources, plan
from pipelines.recommend import Read, Wish, new_chain, read_in, repeats_of
from recsys.evaluate.compare import baselines
from recsys.evaluate.portrait import Lists, Portrait, lists_of, portray
from recsys.evaluate.splits import Split, parse_split
from recsys.own_file import ITEM_TARGETS, TARGETS
from recsys.reasons import reason
from transforms.io.delta import open_table, read_table

if TYPE_CHECKING:
    from recsys.chain import Chain

EXAMPLES = 4
_TABLES = (
    ("the chain beside each", "against"),
    ("by group", "groups"),
    ("as if only the newest items were known", "strangers"),
    ("of rare items", "rare"),
)


@dataclass(frozen=True)
class Judged:
    """`curves`: NDCG of the validation after each epoch, by what learns. `examples`: what a few people had, were
    offered and took."""

    portrait: Portrait
    split: str
    learning: Sequence[str]
    curves: Mapping[str, Sequence[float]]
    examples: Sequence[Mapping[str, Any]] = field(default_factory=list)


def judge_read(read: Read, wish: Wish, repeats: bool, out: Output, segments: Mapping[str, str]) -> Judged:
    """Learns every baseline and the chain from what the split lets them, and judges them by the rest."""
    assert wish.evaluate
    split = parse_split(wish.evaluate, read.log, repeats)
    told = f"{counted(len(split.users), 'list')} and {int(split.targets.counts.sum()):,} items held out"
    out.say(f"judged by {told} ({wish.evaluate}), learnt from {counted(len(split.train), 'row')}")
    models: dict[str, Lists] = {
        source.name: lists_of(source.fit(split.train), repeats) for source in baselines(repeats)
    }
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        out.say(line)

    chain = new_chain(read, wish, repeats, say).fit(split.train)
    models["chain"] = lambda histories, k: chain.recommend(histories, k)[0]
    portrait = portray(models, split, wish.k, segments)
    return Judged(portrait, wish.evaluate, said, chain.curves, examples(chain, split, read.words, wish.k))


def examples(chain: Chain, split: Split, words: pl.DataFrame | None, k: int) -> list[dict[str, Any]]:
    """People with a hit and people without, by turns: their last items, the list with reasons, what they took."""
    lists, sources = chain.recommend(split.histories, k)
    hit = split.targets.hits(lists).any(1)
    names = dict(words.iter_rows()) if words is not None else {}

    def name(code: int) -> str:
        item = str(split.train.item_ids[int(code)])
        return names.get(item) or item

    rows = []
    for turn in range(EXAMPLES):
        some = np.flatnonzero(hit if turn % 2 == 0 else ~hit)
        if turn // 2 >= len(some):
            continue
        place = int(some[turn // 2 * (len(some) // EXAMPLES + 1) % len(some)])
        had = split.histories.items[split.histories.offsets[place] : split.histories.offsets[place + 1]][-5:]
        took = split.targets.items[split.targets.offsets[place] : split.targets.offsets[place + 1]]
        offered = [
            {"item": name(item), "why": reason(str(source)), "taken": bool(item in took)}
            for item, source in zip(lists[place], sources[place], strict=True)
            if item >= 0
        ]
        rows.append({"had": [name(one) for one in had[::-1]], "offered": offered, "took": [name(one) for one in took]})
    return rows


def segments_of(lake: Lake) -> dict[str, str]:
    """The RFM segment of each person of customer_360, none where it is not there."""
    uri = lake.gold("customer_360")
    if open_table(uri) is None:
        return {}
    rows = pl.DataFrame(read_table(uri, columns=("person_id", "rfm_segment"))).drop_nulls()
    return dict(rows.iter_rows())


def say_portrait(judged: Judged, out: Output) -> None:
    portrait = judged.portrait
    out.table("evaluation", portrait.overall)
    out.facts |= {"best": portrait.best.name, "judged": len(portrait.results[-1].lists), "split": judged.split}
    out.say(f"best by NDCG@{portrait.k}: {portrait.best.name}")
    for title, name in _TABLES:
        rows = getattr(portrait, name)
        if rows:
            out.say(f"\n{title}")
            out.table(name, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m recsys.evaluate", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--interactions", help="a file, a folder or a glob")
    where.add_argument("--lake", help="silver of a lake, by segment of its customer_360")
    parser.add_argument("--items", help="all items there are")
    parser.add_argument("--split", default="leave-last-out", help="leave-last-out, or time:DATE")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", action=argparse.BooleanOptionalAction, help="may items come again?")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--map", action="append", default=[], help="user=COLUMN, item=COLUMN, time= ...")
    parser.add_argument("--report", help="an HTML file with curves, intervals and a few people")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    out, wish = Output(asked.json), Wish(asked.k, asked.split, asked.repeats, asked.seed)
    segments: dict[str, str] = {}
    if asked.lake:
        from pipelines.offers import read_lake

        read = read_lake(Lake(asked.lake))
        repeats, segments = repeats_of(read, wish, out), segments_of(Lake(asked.lake))
    else:
        sources = open_sources(asked.interactions, TARGETS, asked.map, None, out)
        item_sources = plan(asked.items, ITEM_TARGETS, {}, None) if asked.items else []
        read, repeats = read_in(sources, item_sources, wish, None, out)
    with out.working("learning and judging"):
        judged = judge_read(read, wish, repeats, out, segments)
    say_portrait(judged, out)
    if asked.report:
        from pipelines.report.judged import judged_page

        Path(asked.report).write_text(judged_page(judged))
        out.say(f"report: {asked.report}", report=asked.report)
    out.close()
