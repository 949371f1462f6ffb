"""A model from all sides: groups, strangers, rare items and differences, each against a plain reading."""

import numpy as np
import pytest

from pipelines.judge import examples, main
from pipelines.report.judged import judged_page
from recsys.candidates.ease import Ease
from recsys.candidates.popularity import Popularity
from recsys.evaluate.metrics import Targets, accuracy
from recsys.evaluate.portrait import group_masks, lists_of, portray, rare_targets
from recsys.evaluate.splits import leave_last_out
from tests.recsys.test_candidates import log_of


@pytest.fixture(scope="module")
def split():
    """Two tastes of 10 items each; some take 4 of one's own, some 8; the last of some was never taken before."""
    random = np.random.default_rng(1)
    rows = []
    for user in range(120):
        taste = "ab"[user % 2]
        for day, item in enumerate(random.permutation(10)[: 4 if user % 3 else 9]):
            rows.append((f"u{user:03}", f"{taste}{item}", day, None))
    rows += [(f"u{user:03}", f"new{user}", 40, None) for user in range(0, 12)]
    return leave_last_out(log_of(rows))


@pytest.fixture(scope="module")
def portrait(split):
    models = {source.name: lists_of(source.fit(split.train), False) for source in (Popularity(), Ease())}
    segments = {f"u{user:03}": ["even", "odd"][user % 2] for user in range(100)}
    return portray(models, split, 5, segments)


def test_the_table_has_every_measure_of_every_model(portrait):
    assert [row["model"] for row in portrait.overall] == ["popularity", "ease"] and portrait.best.name == "ease"
    measures = {"recall@5", "ndcg@5", "map@5", "coverage", "novelty", "diversity", "popularity_bias"}
    assert measures < set(portrait.overall[0])


def test_differences_are_those_of_the_means_and_the_interval_holds_them(portrait):
    (row,) = portrait.against
    ours, theirs = (result.values["ndcg"] for result in portrait.results[::-1])
    assert row["ndcg@5 more"] == pytest.approx(ours.mean() - theirs.mean(), abs=1e-4)
    low, high = map(float, row["ndcg 95 %"].split(" to "))
    assert 0 < low < row["ndcg@5 more"] < high


def test_a_group_is_those_whose_history_or_segment_it_is(portrait, split):
    masks = group_masks(split, {f"u{user:03}": "odd" for user in range(1, 100, 2)})
    sizes = np.diff(split.histories.offsets)
    assert set(masks) == {"1 to 5 items", "6 to 20 items", "segment odd"}
    assert masks["6 to 20 items"].tolist() == (sizes > 5).tolist()
    assert masks["segment odd"].sum() == 50
    values = portrait.results[1].values["recall"]
    found = {row["group"]: row for row in portrait.groups if row["model"] == "ease"}
    assert found["6 to 20 items"]["recall@5"] == pytest.approx(values[sizes > 5].mean(), abs=1e-4)
    assert found["segment even"]["people"] == 50


def test_of_strangers_nothing_is_known(portrait, split):
    rows = {(row["model"], row["known"]): row["ndcg@5"] for row in portrait.strangers}
    users = Popularity().fit(split.train).users
    top = np.argsort(-users, kind="stable")[:5]  # one list for all
    expected = accuracy(np.tile(top, (len(split.users), 1)), split.targets)["ndcg"].mean()
    assert rows["popularity", 0] == pytest.approx(expected, abs=1e-4)
    assert rows["ease", 3] > rows["ease", 0] and rows["ease", 3] > rows["popularity", 3]


def test_rare_targets_are_those_few_had():
    targets = Targets.of(np.array([0, 0, 1, 2]), np.array([3, 1, 1, 2]), 3)
    places, rare = rare_targets(targets, np.array([9, 5, 9, 0]), 5)
    assert places.tolist() == [0, 1] and rare.items.tolist() == [1, 3, 1] and rare.offsets.tolist() == [0, 2, 3]
    places, rare = rare_targets(targets, np.array([9, 5, 9, 0]), 0)
    assert places.tolist() == [0] and rare.items.tolist() == [3]


def test_new_items_are_told_apart(portrait):
    rows = {(row["model"], row["items"]): row for row in portrait.rare}
    assert rows["ease", "new items"]["people"] == 12 and rows["ease", "new items"]["recall@5"] == 0


class _Known:
    def recommend(self, histories, k):
        lists = np.tile(np.arange(k), (len(histories), 1))
        return lists, np.full(lists.shape, "ease")


def test_the_page_shows_people_without_their_numbers(portrait, split):
    from pipelines.judge import Judged

    some = examples(_Known(), split, None, 3)
    assert 2 <= len(some) <= 4 and {"had", "offered", "took"} == set(some[0])
    assert any(item["taken"] for item in some[0]["offered"]) and not any(one["taken"] for one in some[1]["offered"])
    judged = Judged(portrait, "leave-last-out", ["two towers: 3 epochs"], {"two towers": [0.1, 0.3, 0.2]}, some)
    html = judged_page(judged)
    assert "u000" not in html and "epoch 2 is kept" in html and html.count("<svg") == 3
    assert "it goes with what you took" in html and html == judged_page(judged)


@pytest.mark.slow
def test_the_command_tells_all_tables_and_writes_the_page(tmp_path, capsys):
    import json

    random = np.random.default_rng(1)
    lines = ["user,item,time"]
    for user in range(80):
        for day, item in enumerate(random.permutation(10)[:6]):
            lines.append(f"u{user},{'ab'[user % 2]}{item},2024-01-{day + 1:02}")
    (tmp_path / "log.csv").write_text("\n".join(lines))
    page = tmp_path / "judged.html"
    main(["--interactions", str(tmp_path / "log.csv"), "--k", "3", "--json", "--report", str(page)])
    told = json.loads(capsys.readouterr().out)
    models = [row["model"] for row in told["evaluation"]]
    assert models[-1] == "chain" and {"popularity", "item kNN", "ease", "recency EASE", "implicit ALS"} < set(models)
    assert {row["known"] for row in told["strangers"]} == {0, 1, 3} and told["against"][0]["model"] == "chain"
    assert "Person 1" in page.read_text()
