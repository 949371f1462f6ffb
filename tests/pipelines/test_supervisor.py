"""What the supervisor makes of how a worker ended, and what the worker makes of what the engine's log says."""

import logging
from collections.abc import Iterable

import pytest

from pipelines.stream_config import StreamConfig
from pipelines.stream_worker import DONE, FAILED, RESTART, UNREACHABLE, _Heard
from pipelines.supervisor import Supervisor
from transforms.errors import Unreachable, UserError
from transforms.io.delta_table import explain


class Lives(Supervisor):
    """Lives of a worker that end in these codes, always with the same words."""

    def __init__(self, codes: Iterable[int]) -> None:
        super().__init__(StreamConfig("lake", "env:HUB"), said=lambda _: None, back_off=(0.0,))
        self._codes = iter(codes)

    def _once(self) -> int:
        self._words.append("stopped: the same words")
        return next(self._codes)


def test_what_does_not_answer_is_waited_for_without_a_limit():
    lives = Lives([UNREACHABLE] * 12 + [DONE])
    lives.run()
    assert lives.restarts == 12


@pytest.mark.parametrize(("codes", "restarts"), [([FAILED], 0), ([RESTART] * 3, 2), ([UNREACHABLE, FAILED], 1)])
def test_what_a_person_must_mend_ends_it(codes, restarts):
    lives = Lives(codes)
    with pytest.raises(UserError, match="the same words"):
        lives.run()
    assert lives.restarts == restarts


def heard(*messages: str) -> _Heard:
    found = _Heard()
    for message in messages:
        found.emit(logging.LogRecord("beam", logging.ERROR, "", 0, message, None, None))
    return found


TRACE = 'Traceback (most recent call last):\n  File "/a/b.py", line 7, in read\n    raise it\n'


@pytest.mark.parametrize(
    ("line", "words", "judged"),
    [
        ("transforms.errors.Unreachable: no answer (sb://x); wait", "no answer (sb://x); wait", UNREACHABLE),
        ("transforms.errors.UserError: gone (x)", "gone (x)", RESTART),
        ("transforms.io.delta_positions.Fenced: another one", "another one", FAILED),
    ],
)
def test_an_error_of_ours_comes_back_from_the_engine(line, words, judged):
    found = heard("all is well", f"{TRACE}{line} [while running 'ReadEvents/ReadPartitions-ptransform-12']\n")
    assert (found.stopped, found.judged) == (words, judged)


def test_of_a_foreign_error_class_and_place_are_told_and_not_its_text():
    again = "KeyError: \"jane@x.com\nnext: line [while running 'Step']\"\n"
    chain = f"{TRACE}KeyError: 'jane@x.com'\n\nDuring handling of the above exception:\n\n{TRACE}{again}"
    found = heard(f"Error processing instruction inst002. Original traceback is\n{chain}")
    assert (found.stopped, found.foreign, found.judged) == ("", "KeyError in /a/b.py:7", RESTART)
    assert not heard(chain).foreign  # a warning that ended nothing


def test_a_lake_that_does_not_answer_is_told_from_one_that_is_broken():
    silent = OSError("Generic MicrosoftAzure error: after 3 retries - Error sending request")
    assert isinstance(explain(silent, "abfss://c@a.dfs.core.windows.net/t"), Unreachable)
    for error in (OSError("Generic MicrosoftAzure error: no such container"), OSError("403 denied")):
        assert not isinstance(explain(error, "abfss://c@a.dfs.core.windows.net/t"), Unreachable)
