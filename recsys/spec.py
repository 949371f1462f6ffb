"""What a model is made with; the defaults are what is measured, and are not tuned to a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetrievalSpec:
    """The two towers. `temperature`: of the softmax over a batch; `patience`: epochs without a better NDCG.

    An epoch is at most `epoch_batches` batches, drawn anew: what it costs does not grow with the log. With at most
    `all_items` items the softmax is over all of them.
    """

    dimension: int = 64
    history_items: int = 50
    temperature: float = 0.15
    dropout: float = 0.2
    learning_rate: float = 2e-3
    batch: int = 1024
    epoch_batches: int = 100
    all_items: int = 0
    epochs: int = 20
    patience: int = 3
    seed: int = 7

    def __post_init__(self) -> None:
        for name in (
            "dimension",
            "history_items",
            "batch",
            "epoch_batches",
            "epochs",
            "patience",
            "temperature",
            "learning_rate",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")


@dataclass(frozen=True)
class RankingSpec:
    """The cross network over the candidates of all sources.

    It learns from the last `lists` baskets of each person, from at most `most_lists` in all, whole persons each.
    """

    candidates: int = 100
    lists: int = 5
    most_lists: int = 20_000
    crosses: int = 2
    units: int = 64
    dropout: float = 0.1
    learning_rate: float = 3e-3
    batch: int = 128
    epochs: int = 20
    patience: int = 4
    seed: int = 7

    def __post_init__(self) -> None:
        numbers = ("candidates", "lists", "most_lists", "crosses", "units", "batch", "epochs", "patience")
        for name in (*numbers, "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
