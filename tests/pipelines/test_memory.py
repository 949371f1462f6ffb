"""Freed memory goes back to the system, whichever library held it."""

import os
import subprocess
import sys

from pipelines.memory import GIVE_BACK

_MOST_MB = 25  # what stays of 400 MB that were freed
_PROGRAM = """
import pipelines.memory as memory, time, pyarrow as pa, polars as pl
memory._TRIM_SECONDS = 0.1
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024
def use(make):
    kept = []
    for _ in range(2000):  # what stays lies between what is freed
        made = make()
        kept.append(bytes(100_000)[:100])
        yield made
pl.DataFrame({"a": [1]}).select(pl.col("a") + 1), pa.array([1])
memory.give_back_for_ever()
before = resident()
makers = bytes, pa.allocate_buffer, lambda size: pl.Series(range(size // 8))
for make in makers:
    all = list(use(lambda: make(100_000)))
    del all
time.sleep(2)
print(resident() - before)
"""


def test_what_is_freed_is_given_back():
    env = {**os.environ, **GIVE_BACK}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=env, capture_output=True, text=True, check=True)
    assert float(done.stdout) < _MOST_MB
