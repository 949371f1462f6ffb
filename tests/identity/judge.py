"""How good a clustering is beside the truth: by pairs, by records (B-cubed) and by whole clusters."""

from __future__ import annotations

import polars as pl


def judge_clusters(found: pl.Series, true: pl.Series) -> dict[str, float]:
    """Precision, recall and F1 of one cluster and one true person a record.

    By pairs of records; B-cubed, for each record the share of its cluster that is of its person and the share of its
    person that is in its cluster (Bagga and Baldwin 1998); and of clusters that are exactly a person, where a record
    alone is a cluster too.
    """
    frame = pl.DataFrame({"found": found, "true": true})
    both = frame.group_by("found", "true").len()
    sizes = both.join(frame.group_by("found").len(name="of_found"), on="found").join(
        frame.group_by("true").len(name="of_true"), on="true"
    )
    right, made, there = (_pairs(frame, columns) for columns in (["found", "true"], ["found"], ["true"]))
    n, share = frame.height, pl.col("len").cast(pl.Float64) ** 2
    b_precision, b_recall = (
        float(sizes.select((share / pl.col(of)).sum()).item()) / n for of in ("of_found", "of_true")
    )
    whole = sizes.filter((pl.col("len") == pl.col("of_found")) & (pl.col("len") == pl.col("of_true"))).height
    persons, clusters = true.n_unique(), found.n_unique()
    return {
        "precision": right / max(1, made), "recall": right / max(1, there), "f1": 2 * right / max(1, made + there),
        "b3_precision": b_precision, "b3_recall": b_recall,
        "b3_f1": 2 * b_precision * b_recall / max(1e-12, b_precision + b_recall),
        "cluster_precision": whole / max(1, clusters), "cluster_recall": whole / max(1, persons),
        "cluster_f1": 2 * whole / max(1, clusters + persons),
    }  # fmt: skip


def _pairs(frame: pl.DataFrame, columns: list[str]) -> int:
    sizes = frame.group_by(columns).len()["len"].cast(pl.Int64)
    return int((sizes * (sizes - 1) // 2).sum())
