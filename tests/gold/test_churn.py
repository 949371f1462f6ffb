"""Churn: better than recency, calibrated, with reasons that add up; planted and on real orders."""

import numpy as np
import polars as pl
import pytest

from tests.gold.orders_data import online_retail, planted, planted_seasonal
from transforms.errors import UsageError
from transforms.gold.value.churn import (
    CHURN,
    ChurnRules,
    active,
    churn_rows,
    churned,
    judge_churn,
    learn_churn,
    score,
)
from transforms.gold.value.features import know, matrix
from transforms.gold.value.learned import predict
from transforms.gold.value.level import platt

RULES = ChurnRules()


@pytest.fixture(scope="module")
def learned():
    ledger = planted(3_000, 600)
    return ledger, learn_churn(ledger, RULES)


def test_planted_churn_is_foreseen_better_than_by_recency_and_calibrated():
    judged = judge_churn(planted(4_000, 700))
    assert judged["model"].auc > judged["recency"].auc + 0.01
    assert judged["model"].brier < judged["recency"].brier
    assert judged["model"].lift >= judged["recency"].lift
    assert judged["model"].ece <= 0.03


def test_churn_that_moves_with_the_season_is_calibrated_once_a_year_is_known():
    """Judged out of time. The level of the latest known window alone would be far off: it was another season."""
    ledger = planted_seasonal(6_000, 800)
    judged = judge_churn(ledger)
    assert judged["model"].auc > judged["recency"].auc + 0.01
    assert judged["model"].ece <= 0.03
    day = ledger.last_day - RULES.horizon_days
    past = ledger.until(day)
    latest = active(know(past, day - RULES.horizon_days), RULES)
    now = active(know(past, day), RULES)
    model = learn_churn(past)
    then_said, said = model.probability(latest), model.probability(now)
    unmoved = np.mean(churned(past, latest, RULES)) - then_said.mean()
    assert abs(np.mean(churned(ledger, now, RULES)) - said.mean() - unmoved) > 0.03


def test_real_churn_is_foreseen_better_than_by_recency():
    """Out of time, with nine months known: no autumn has been seen, so the level of the coming one is a guess.

    The bar for the calibration, 0.03, is held where the level can be known: over customers of one window (`unseen`),
    and a month earlier. For the last quarter 0.050 was measured (0.118 at the latest window's level); with the level as
    it came it would be 0.027.

    Over seven origins 15 days apart, none of which knows a year, this level was off by 0.076 on average; the latest
    window's level by 0.091, one of nowcasts over 30 or 45 days by 0.077, pooled windows by 0.077, and a prior found by
    EM on the customers to be scored (Saerens, Latinne & Decaestecker 2002) by 0.142: so it stays.
    """
    ledger = online_retail()
    judged = judge_churn(ledger)
    assert judged["model"].auc > judged["recency"].auc + 0.03
    assert judged["model"].brier < judged["recency"].brier
    assert judged["model"].lift > judged["recency"].lift
    assert judged["model"].ece < 0.06 and judged["model"].ece < judged["recency"].ece
    assert judge_churn(ledger.until(ledger.last_day - 30))["model"].ece <= 0.03
    unseen = learn_churn(ledger, RULES).unseen  # at the level of the window it was calibrated for, of other customers
    assert unseen.ece <= 0.03 and unseen.auc > 0.7


def test_reasons_add_up_to_the_log_odds(learned):
    ledger, model = learned
    known = active(know(ledger, ledger.last_day), RULES)
    rows, names = matrix(known)
    probability = model.probability(known)
    base = np.mean([predict(b, rows, pred_contrib=True)[:, -1] for b in model.boosters], axis=0)
    odds = model.reasons(known).sum(axis=1) + model.slope * base + model.offset
    assert odds == pytest.approx(np.log(probability / (1 - probability)), abs=1e-6)
    assert model.reasons(known).shape[1] == len(names)


def test_rows_say_who_is_active_and_why_they_may_go(learned):
    ledger, model = learned
    table = churn_rows(ledger, model, RULES, ledger.last_day)
    assert table.schema.equals(CHURN) and table.num_rows == len(ledger)
    rows = pl.DataFrame(table)
    active_rows = rows.filter(pl.col("churn_status") == "active")
    assert active_rows["churn_probability"].is_between(0, 1).all()
    assert rows.filter(pl.col("churn_status") != "active")["churn_probability"].is_null().all()
    likely = active_rows.sort("churn_probability", descending=True).head(20)
    assert likely["churn_reason_1"].str.contains(r"^[a-z0-9_]+ [0-9.unkow]+ \(\+\d").all()
    chosen = np.arange(len(ledger)) % 2 == 0
    part = pl.DataFrame(churn_rows(ledger.take(chosen), model, RULES, ledger.last_day))
    assert part.equals(rows.filter(pl.Series(chosen)))


def test_too_little_to_learn_from_gives_rows_without_probability():
    ledger = planted(30, 200)
    assert learn_churn(ledger, RULES) is None and judge_churn(ledger) is None
    rows = pl.DataFrame(churn_rows(ledger, None, RULES, ledger.last_day))
    assert rows["churn_probability"].is_null().all() and "active" in rows["churn_status"]


def test_churned_is_no_order_in_the_horizon(learned):
    ledger, _ = learned
    day = ledger.last_day - 90
    known = active(know(ledger, day), RULES)
    bought = {o for o, d, n in zip(ledger.owner, ledger.day, ledger.orders, strict=True) if n and day < d <= day + 90}
    assert [int(w) not in bought for w in known.who] == churned(ledger, known, RULES).tolist()


def test_calibration_and_scores_are_what_they_say():
    random = np.random.default_rng(1)
    odds = random.normal(size=40_000)
    truth = 1 / (1 + np.exp(-(0.5 * odds - 1.0)))
    outcome = (random.random(len(odds)) < truth).astype(float)
    assert platt(odds, outcome) == pytest.approx((0.5, -1.0), abs=0.05)
    found = score(truth, outcome)
    assert found.ece < 0.01 and found.brier == pytest.approx(np.mean((truth - outcome) ** 2))
    pairs = truth[outcome == 1][:300, None] - truth[outcome == 0][None, :300]
    assert found.auc == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=0.05)
    assert score(np.zeros(10), np.array([1.0] * 5 + [0.0] * 5)).auc == 0.5
    assert score(1 - truth, outcome).ece > 0.2


def test_wrong_rules_say_so():
    with pytest.raises(UsageError, match="horizon_days"):
        ChurnRules(horizon_days=0)
