"""Given names that stand for each other: Liz and Elizabeth, Hans and Johannes."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
from nicknames import name_triplets

# Beside the English ones of the package `nicknames`. A line is one name with its short and foreign forms.
_OTHERS = """
johannes hans johann jan hannes hanne johan
katharina kathe kathi katja katrin kathrin kate
wolfgang wolf
hendrik henk hein rik
cornelis cees kees cor
elisabeth elizabeth els elsbeth lisa lies liesbeth elise sissi betty
antonio toni tonio antonino
francisco paco pancho curro fran
jose pepe chepe
giuseppe beppe peppe pino
alessandro sandro ale
francesca franca
mohammed mo muhammad mohamed mohammad muhammed mehmet
katarzyna kasia kaska
malgorzata gosia malgosia
aleksander olek aleksandr sasha
aleksandra ola sasha
agnieszka aga
joanna asia
krzysztof krzysiek krzys
tomasz tomek
wojciech wojtek
andrzej jedrek
jakub kuba
stanislaw staszek
friedrich fritz frieder
heinrich heinz heiner hein
josef sepp jupp josip joschi
maximilian max
sebastian basti
matthias matze mattes hias
michael michi michel mike michal mikhail misha miguel michele
andreas andi andre
ulrich uli
ulrike uli
margarete grete margret gretel gretchen rita
gertrud trude gerti
susanne susi sanne susanna zuzanna
ursula uschi ulla
dimitris dimitrios dimitri mitsos dmitri dmitry dima
georgios giorgos yorgos george georg jorge giorgio
konstantinos kostas konstantin costas
ioannis yannis giannis
eleni elena helen helena
nikolaos nikos nicholas nikolai kolya
aikaterini katerina katia
ivan vanya
mikhail misha
vladimir volodya vova
yevgeny zhenya evgeny
yekaterina katya ekaterina
tatiana tanya
maria marie mary masha mariya marija mari
guadalupe lupe
dolores lola
manuel manolo manu
rafael rafa
ignacio nacho
jesus chucho
concepcion concha
rosario charo
enrique quique
guillaume guy
jean-baptiste jb
pieter piet peter
willem wim william
theodorus theo
wilhelmina mina wil
luigi gigi
giovanni gianni vanni
domenico mimmo
salvatore totò toto turi
"""


@cache
def _pairs() -> dict[str, tuple[str, ...]]:
    """Each name with all that may stand for it."""
    groups: dict[str, set[str]] = {}
    for name, _, nick in name_triplets():
        groups.setdefault(name, {name}).add(nick)
    others: list[set[str]] = [set(line.split()) for line in _OTHERS.split("\n") if line]
    found: dict[str, set[str]] = {}
    for group in [*groups.values(), *others]:
        for name in group:
            found.setdefault(name, set()).update(group - {name})
    return {name: tuple(sorted(names)) for name, names in found.items()}


def alias_pairs(values: pl.Series) -> np.ndarray:
    """Which of the distinct values stand for each other: sorted numbers low * len(values) + high of their places."""
    place = {value: number for number, value in enumerate(values.to_list())}
    known = _pairs()
    found = {
        min(a, b) * len(place) + max(a, b)
        for value, a in place.items()
        for other in known.get(value, ())
        if (b := place.get(other)) is not None
    }
    return np.array(sorted(found), np.int64)
