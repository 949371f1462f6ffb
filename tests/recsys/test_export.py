"""The SavedModel answers what the Python chain answers; its rules against a plain reading of them."""

import numpy as np
import polars as pl
import pytest

from recsys.chain import ChainSource
from recsys.export.catalogue import Catalogue
from recsys.export.servable import Servable, ServableSpec
from recsys.export.write import WARM_UP, versions, write_version
from recsys.interactions import Histories
from recsys.spec import RankingSpec, RetrievalSpec
from recsys.tensorflow import tf
from tests.recsys.test_candidates import log_of
from transforms.errors import UserError

DAY, K = 86_400, 8
RETRIEVAL = RetrievalSpec(dimension=8, history_items=6, batch=256, epochs=2, epoch_batches=4)


@pytest.fixture(scope="module")
def log():
    """People come back to a few own items and take now and then what others of their group take."""
    random = np.random.default_rng(8)
    rows = []
    for user in range(90):
        own, group = random.choice(40, 3), user % 2 * 20
        for basket in range(random.integers(2, 7)):
            day = int(random.integers(0, 300))
            items = {*random.choice(own, 1).tolist(), *(group + random.integers(0, 20, 2)).tolist()}
            rows += [(f"u{user:02}", f"i{item:02}", day, f"{user}-{basket}") for item in items]
    return log_of(rows)


@pytest.fixture(scope="module")
def items(log):
    ids = log.item_ids.to_list()
    words = [f"{'red' if int(i[1:]) < 20 else 'blue'} {'cup' if int(i[1:]) % 3 else 'plate'}" for i in ids]
    kinds = [f"c{int(i[1:]) % 4}" for i in ids]
    prices = [float(int(i[1:])) if i != "i05" else None for i in ids]
    return pl.DataFrame({"item": ids, "text": words, "category": kinds, "price": prices})


@pytest.fixture(scope="module")
def chain(log, items):
    spec = RankingSpec(candidates=25, epochs=2)
    made = ChainSource(True, items.select("item", "text"), RETRIEVAL, spec).fit(log)
    assert made.ranker is not None
    return made


@pytest.fixture(scope="module")
def model(chain, log, items, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "shop"
    path = write_version(Servable(chain, log, Catalogue.of(log.item_ids, items), ServableSpec(K)), folder)
    assert path.name == "1" and versions(folder) == [1] and (path / WARM_UP).stat().st_size > 0
    assert [one.name for one in folder.iterdir()] == ["1"]
    return tf.saved_model.load(str(path))


def request_of(log, histories: Histories):
    length = max(int(np.diff(histories.offsets).max(initial=0)), 1)
    ids = np.array([*log.item_ids.to_list(), ""], object)
    items, seconds = np.full((len(histories), length), "", object), np.zeros((len(histories), length), np.int64)
    weights = np.ones((len(histories), length), np.float32)
    row, place = histories.owners, np.arange(len(histories.items)) - histories.offsets[histories.owners]
    items[row, place], seconds[row, place] = ids[histories.items], histories.seconds
    weights[row, place] = histories.weights
    now = np.broadcast_to(histories.now, len(histories)).astype(np.int64)
    return {"history_items": items, "history_seconds": seconds, "now": now}, weights


def ask(model, inputs, signature="serving_default"):
    kinds = model.signatures[signature].structured_input_signature[1]
    given = {name: tf.constant(value, kinds[name].dtype) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in model.signatures[signature](**given).items()}


def with_rules(plain, **rules):
    rows = len(plain["now"])
    none = np.full((rows, 1), "", object)
    zero = np.zeros(rows, np.float32)
    made = plain | {
        "history_weights": np.ones(plain["history_seconds"].shape, np.float32), "allow": none, "deny": none,
        "price_from": zero, "price_to": zero, "new_only": np.zeros(rows, bool),
        "category_cap": np.zeros(rows, np.int32), "diversity": zero,
    }  # fmt: skip
    return made | {name: np.broadcast_to(value, (rows, *np.shape(value))) for name, value in rules.items()}


@pytest.fixture(scope="module")
def asked(log):
    """The histories of everyone, and of some before one of their rows, when others are known too."""
    return log.histories_before(np.arange(0, len(log), 5))


def names(log, codes):
    return np.array([*log.item_ids.to_list(), ""], object)[codes]


def text(values):
    return np.array([[one.decode() for one in row] for row in values], object)


def test_the_saved_model_answers_what_the_chain_answers_row_by_row(model, chain, log, asked):
    expected = chain.answer(asked, K)
    plain, _ = request_of(log, asked)
    got = ask(model, plain)
    assert np.allclose(got["scores"], np.where(expected.items >= 0, expected.scores, 0), atol=1e-4)
    assert (text(got["items"]) == names(log, expected.items)).all()
    assert (text(got["sources"]) == expected.sources).all()
    assert all("" not in row for row in text(got["reasons"]))


def test_without_a_ranker_too_and_new_items_only(log, items, asked, tmp_path):
    few = log.keep(log.users < 20)
    chain = ChainSource(False, None, RETRIEVAL, RankingSpec(candidates=25)).fit(few)
    assert chain.ranker is None
    made = tf.saved_model.load(str(write_version(Servable(chain, few, Catalogue.of(few.item_ids)), tmp_path / "shop")))
    histories = few.histories(np.arange(20))
    got, expected = ask(made, request_of(few, histories)[0]), chain.answer(histories, 20)
    assert (text(got["items"]) == names(few, expected.items)).all()
    assert np.allclose(got["scores"], np.where(expected.items >= 0, expected.scores, 0), atol=1e-6)


def test_neither_company_nor_padding_nor_order_changes_an_answer(model, log, asked):
    plain, _ = request_of(log, asked)
    together = ask(model, plain)
    for row in (0, 7, 31):
        alone = {name: value[row : row + 1] for name, value in plain.items()}
        items, seconds = alone["history_items"][0], alone["history_seconds"][0]
        turned = np.argsort(-seconds, kind="stable")  # rows of one second keep the order of the request
        turned = turned[items[turned] != ""]
        mixed = alone | {
            "history_items": np.concatenate([["", "no such item"], items[turned]])[None],
            "history_seconds": np.concatenate([[0, 9], seconds[turned]])[None],
        }
        for request in (alone, mixed):
            got = ask(model, request)
            assert np.allclose(got["scores"][0], together["scores"][row], atol=1e-4)
            assert (got["items"][0] == together["items"][row]).all()


def test_nobody_nothing_known_and_ten_thousand_items_get_an_answer(model):
    nothing = {"history_items": np.zeros((1, 0), object), "history_seconds": np.zeros((1, 0)), "now": [0]}
    unknown = {"history_items": [["x", "y"]], "history_seconds": [[1, 2]], "now": [0]}
    first, second = ask(model, nothing), ask(model, unknown)
    assert (first["items"] == second["items"]).all() and (first["items"] != b"").all()
    assert {*text(first["reasons"])[0]} <= {"many people have it", "many people take it now"}
    long = np.array([[f"i{n % 40:02}" for n in range(10_000)]], object)
    many = ask(model, {"history_items": long, "history_seconds": np.arange(10_000)[None], "now": [0]})
    newest = {"history_items": long[:, -2_000:], "history_seconds": np.arange(8_000, 10_000)[None], "now": [0]}
    assert (many["items"] == ask(model, newest)["items"]).all() and np.isfinite(many["scores"]).all()


def test_no_rules_change_nothing(model, log, asked):
    plain, _ = request_of(log, asked)
    ruled, free = ask(model, with_rules(plain), "with_rules"), ask(model, plain)
    assert (ruled["items"] == free["items"]).all() and np.allclose(ruled["scores"], free["scores"], atol=1e-5)


def test_what_may_not_be_shown_is_not_shown(model, log, items, asked):
    plain, _ = request_of(log, asked)
    price = dict(items.select("item", "price").iter_rows())
    allow = ask(model, with_rules(plain, allow=["i01", "i02", "i33", "nonsense"]), "with_rules")
    assert set(text(allow["items"]).ravel()) == {"i01", "i02", "i33", ""}
    deny = text(ask(model, with_rules(plain, deny=["i01", "i02"]), "with_rules")["items"])
    assert not {"i01", "i02"} & set(deny.ravel()) and (deny != "").all()
    band = text(ask(model, with_rules(plain, price_from=np.float32(3), price_to=np.float32(15)), "with_rules")["items"])
    assert all(price[one] is not None and 3 <= price[one] <= 15 for one in band.ravel() if one)
    new = text(ask(model, with_rules(plain, new_only=True), "with_rules")["items"])
    taken = [set(row) - {""} for row in plain["history_items"]]
    assert not any(set(row) & have for row, have in zip(new, taken, strict=True))


def test_cap_and_diversity_choose_as_said(model, chain, log, items, asked):
    plain, _ = request_of(log, asked)
    kind = dict(items.select("item", "category").iter_rows())
    towers = chain.scorers["two towers"].items
    full = chain.answer(asked, 25)
    for cap, share in ((1, 0.0), (2, 0.0), (0, 0.5), (2, 0.3)):
        rules = with_rules(plain, category_cap=np.int32(cap), diversity=np.float32(share))
        got = text(ask(model, rules, "with_rules")["items"])
        agree = 0
        for row, (codes, scores) in enumerate(zip(full.items, full.scores, strict=True)):
            there = codes >= 0
            logit = np.log(scores[there]) - np.log1p(-scores[there])  # grows as the ranker's own scores do
            plainly = greedy(codes[there], logit, log.item_ids, kind, towers, cap, share)
            agree += [one for one in got[row] if one] == plainly
        assert agree >= 0.97 * len(asked), (cap, share, agree)  # the rest are near ties of float32


def greedy(codes, scores, ids, kind, towers, cap, share):
    worth = (scores - scores.min()) / (scores.max() - scores.min() + 1e-9)
    chosen: list[int] = []
    while len(chosen) < K:
        best, most = None, -np.inf
        for place, code in enumerate(codes):
            same = [c for c in chosen if kind[ids[int(codes[c])]] == kind[ids[int(code)]]]
            if place in chosen or (cap and len(same) >= cap):
                continue
            near = max([0.0, *(float(towers[code] @ towers[codes[c]]) for c in chosen)])
            if (value := (1 - share) * worth[place] - share * near) > most:
                best, most = place, value
        if best is None:
            break
        chosen.append(best)
    return [ids[int(codes[place])] for place in chosen]


def test_what_is_out_of_stock_is_not_offered(chain, log, items, asked, tmp_path):
    gone = items.with_columns(in_stock=pl.col("item") != "i01")
    servable = Servable(chain, log, Catalogue.of(log.item_ids, gone), ServableSpec(20))
    plain, _ = request_of(log, asked)
    tensors = (tf.constant(plain["history_items"]), tf.constant(plain["history_seconds"]), tf.constant(plain["now"]))
    assert "i01" not in text(servable._default(*tensors)["items"].numpy())


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"price_from": np.float32("nan")}, "price_from"),
        ({"diversity": np.float32(2)}, "diversity must be from 0 to 1"),
    ],
)
def test_senseless_numbers_are_refused_by_the_model_itself(model, rules, said):
    plain = {"history_items": [["i01"]], "history_seconds": [[1]], "now": [0]}
    plain = {name: np.array(value, object if name == "history_items" else None) for name, value in plain.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        ask(model, with_rules(plain, **rules), "with_rules")


def test_candidates_come_from_the_sources(model, chain, log, asked):
    got = ask(model, request_of(log, asked)[0], "candidates")
    best = chain.answer(asked, K)
    assert got["items"].shape == (len(asked), 25)
    assert all(
        set(one) - {""} <= set(every) for one, every in zip(names(log, best.items), text(got["items"]), strict=True)
    )


def test_a_version_is_never_written_over(chain, log, tmp_path):
    (tmp_path / "shop" / "7").mkdir(parents=True)
    with pytest.raises(UserError, match="version 7 is there already"):
        write_version(Servable(chain, log, Catalogue.of(log.item_ids)), tmp_path / "shop", 7)
    assert [one.name for one in (tmp_path / "shop").iterdir()] == ["7"]
