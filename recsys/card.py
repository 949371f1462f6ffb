"""A model's card: what it learnt from, how it was judged beside the baselines, and what it is not for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from recsys.evaluate.compare import Result
from recsys.interactions import Log

FILES = ("assets.extra/model_card.json", "assets.extra/model_card.md")
_LIMITS = (
    "Judged by what people took, not by what they did when it was offered: what an offer does, an experiment tells.",
    "Who never took anything is offered what many take; nothing is known of a person but the history in the request.",
    "Only the newest 2,000 items of a history are looked at; items that the model has not seen are passed over.",
)


@dataclass(frozen=True)
class Card:
    """`facts` are plain data, as in the JSON."""

    facts: Mapping[str, Any]

    def files(self) -> dict[str, str]:
        """The card by its path in a version's folder."""
        return dict(zip(FILES, (json.dumps(self.facts, indent=1, ensure_ascii=False), self.text()), strict=True))

    def text(self) -> str:
        """The same for a reader."""
        facts, data = self.facts, self.facts["data"]
        shown = list(facts["results"])
        names = [*shown[0]]
        lines = [f"# Model {facts['model']}, version {facts['version']}", "", f"Made {facts['made_at']}.", ""]
        lines += ["## Data", f"{data['interactions']:,} interactions of {data['persons']:,} persons with"]
        lines[-1] += f" {data['items']:,} items, from {data['from']} to {data['to']}."
        lines += ["Items may come again." if facts["repeats"] else "Only items that a person does not have are shown."]
        lines += ["", "## Judged", f"{facts['judged']:,} persons, {facts['split']}; the best is {facts['best']}.", ""]
        lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in shown]
        lines += ["", "## By length of history (NDCG)"]
        for group, found in facts["groups"].items():
            lines += [f"- {group}: {found['ndcg']:.4f} ({found['users']:,} persons)"]
        lines += ["", "## Learning", *(f"- {line}" for line in facts["learning"]), "", "## Limits"]
        return "\n".join([*lines, *(f"- {line}" for line in facts["limits"]), ""])


def make_card(
    model: str,
    version: int,
    log: Log,
    repeats: bool,
    split: str,
    results: Sequence[Result],
    k: int,
    learning: Sequence[str],
    settings: Sequence[Any],
) -> Card:
    """`results`: every baseline and the model, the model last; `settings`: the specs it was made with."""
    mine = results[-1]
    days = [datetime.fromtimestamp(int(one), UTC).date().isoformat() for one in (log.seconds.min(), log.seconds.max())]
    data = {"interactions": len(log), "persons": len(log.user_ids), "items": len(log.item_ids)}
    facts = {
        "model": model, "version": version, "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": data | {"from": days[0], "to": days[1]}, "repeats": repeats, "split": split,
        "judged": len(mine.lists), "best": mine.name, "results": [result.row(k) for result in results],
        "intervals": {one.name: {n: asdict(e) for n, e in one.estimates().items()} for one in results},
        "groups": mine.groups, "learning": list(learning),
        "settings": {type(one).__name__: asdict(one) for one in settings}, "limits": list(_LIMITS),
    }  # fmt: skip
    return Card(facts)
