"""Blind listening: is X the sound A or the sound B? Ten lines of statistics and a file of answers."""

from __future__ import annotations

import csv
import io
import secrets
import time
from dataclasses import dataclass, field
from math import comb
from pathlib import Path

from speechgen.service import UserError, catalog

__all__ = ["AbxTest", "answers_file", "chance", "store"]

TRIALS = 8
LARGEST_BYTES = 4 * 2**20
HEADER = ["time", "text", "a", "b", "trial", "x", "answer", "right"]


@dataclass
class AbxTest:
    """One listener's test of two sounds.

    Attributes:
        text: what both say.
        ways: how A and B were made.
        hidden: which of the two X is, trial by trial.
        answers: what the listener has said.
    """

    text: str
    ways: tuple[str, str]
    hidden: tuple[str, ...] = field(default_factory=lambda: tuple(secrets.choice("AB") for _ in range(TRIALS)))
    answers: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether all trials are answered."""
        return len(self.answers) >= len(self.hidden)

    @property
    def x(self) -> str:
        """What X is now."""
        return self.hidden[len(self.answers)]

    @property
    def right(self) -> int:
        """How many answers were right."""
        return sum(hidden == answer for hidden, answer in zip(self.hidden, self.answers, strict=False))

    def verdict(self) -> str:
        """Say how it went, in one sentence."""
        count, share = len(self.answers), chance(self.right, len(self.answers))
        heard = "you hear a difference" if share <= 0.05 else "that is no proof of a difference"
        return f"{self.right} of {count} right; a guesser does as well in {100 * share:.1f} % of such tests: {heard}."

    def rows(self) -> list[list[str]]:
        """The answers as rows below HEADER."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return [
            [now, plain(self.text), plain(self.ways[0]), plain(self.ways[1]), str(number), x, answer, str(int(x == answer))]
            for number, (x, answer) in enumerate(zip(self.hidden, self.answers, strict=False), 1)
        ]


def chance(right: int, count: int) -> float:
    """Probability that a guesser has at least so many right answers of `count`."""
    return sum(comb(count, k) for k in range(right, count + 1)) / 2**count


def plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def answers_file() -> Path:
    """Where all answers are collected."""
    return catalog.home() / "listening" / "abx.csv"


def store(test: AbxTest) -> Path:
    """Append the answers to the collection and return where it is.

    Raises:
        UserError: the file has grown too large, or the disk refuses.
    """
    path = answers_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        if not new and path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{path.name} is larger than {LARGEST_BYTES // 2**20} MiB: move it away to store more answers")
        text = io.StringIO()
        csv.writer(text).writerows([HEADER, *test.rows()] if new else test.rows())
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path.name}: {error.strerror}") from error
    return path
