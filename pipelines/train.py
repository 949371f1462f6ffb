"""The command `train`: a model learnt from a person's own file, judged, and written if no baseline is better."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from pipelines.config import Lake
from pipelines.console import Output
from pipelines.own_files import check_paths, open_sources, plan
from pipelines.recommend import Read, Wish, evaluate, new_chain, read_in, repeats_of, say_results
from recsys.card import make_card
from recsys.evaluate.compare import Result
from recsys.own_file import ITEM_TARGETS, TARGETS
from transforms.errors import UserError


def run_train(
    location: str,
    items: str | None,
    model: str,
    wish: Wish,
    maps: list[str],
    rejects: str | None,
    format: str | None,
    as_json: bool,
) -> None:
    """Learns and judges; writes the next version of the model, unless a baseline is better."""
    assert wish.evaluate
    out = Output(as_json)
    sources = open_sources(location, TARGETS, maps, format, out, rejects)
    item_sources = plan(items, ITEM_TARGETS, {}, None) if items else []
    check_paths(item_sources, rejects)
    start = perf_counter()
    read, repeats = read_in(sources, item_sources, wish, rejects, out)
    _train(read, repeats, model, wish, start, out)


def run_train_of_lake(lake: str, model: str, wish: Wish, as_json: bool) -> None:
    """The same from silver: purchases, cart adds and views of persons."""
    from pipelines.offers import read_lake

    out, start = Output(as_json), perf_counter()
    with out.working("reading"):
        read = read_lake(Lake(lake))
    _train(read, repeats_of(read, wish, out), model, wish, start, out)


def _train(read: Read, repeats: bool, model: str, wish: Wish, start: float, out: Output) -> None:
    with out.working("learning and judging"):
        results, _ = evaluate(read, wish, repeats, out)
    best = say_results(results, wish.k, out)
    if best is not None:
        refuse(results, best, wish.k)
    with out.working("learning from everything and writing"):
        path = write_model(read, wish, repeats, results, Path(model), out)
    out.say(f"train: version {path.name} of {path.parent.name} in {perf_counter() - start:.0f} s: {path}",
            version=int(path.name), model=str(path), seconds=round(perf_counter() - start, 1))  # fmt: skip
    out.say(f"answer with it: serve --model {path.parent}")
    out.close()


def refuse(results: list[Result], best: str, k: int) -> None:
    """Raises: UserError: a baseline is better than the model, which is not promoted."""
    means = {result.name: float(result.values["ndcg"].mean()) for result in results}
    lost = f"the model lost to {best} (NDCG@{k} {means['chain']:.4f} against {means[best]:.4f}), and is not promoted"
    raise UserError(lost, remedy="train with more interactions, or use recommend, which takes the best of all")


def write_model(read: Read, wish: Wish, repeats: bool, results: list[Result], folder: Path, out: Output) -> Path:
    """Learns from the whole log and writes the next version, with its card."""
    said: list[str] = []
    source = new_chain(read, wish, repeats, lambda line: (said.append(line), out.say(line))[1])
    chain = source.fit(read.log)
    from recsys.export.catalogue import Catalogue
    from recsys.export.servable import Servable
    from recsys.export.write import versions, write_version

    version = max(versions(folder), default=0) + 1
    settings = (source.retrieval, source.ranking)
    assert wish.evaluate
    card = make_card(
        folder.resolve().name, version, read.log, repeats, wish.evaluate, results, wish.k, said, settings
    )  # fmt: skip
    servable = Servable(chain, read.log, Catalogue.of(read.log.item_ids, read.items))
    return write_version(servable, folder, version, card.files())
