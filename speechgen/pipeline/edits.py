"""What is to be changed in a recording: stretches of it, and the words that are to be there instead.

Stretches come from the difference of two transcripts, or are given in seconds. Pauses around a changed word stay as they are;
of a word that goes, the pause behind it goes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from speechgen.core.errors import UserError
from speechgen.pipeline.transcript import Transcript, Word, bare

__all__ = ["Change", "at_span", "differences"]


@dataclass(frozen=True)
class Change:
    """One stretch of a recording and what is to be said there.

    Attributes:
        start: seconds in the recording.
        stop: likewise; equal to start where something is put in.
        text: the new words; empty where words go.
        before: words of the recording up to the stretch; none if they are not known.
        old: its words.
        after: words behind it.
        behind: the words behind it when everything is changed, each with where it ends in the recording if it is one of
            `after`.
    """

    start: float
    stop: float
    text: str
    before: tuple[Word, ...] = ()
    old: tuple[Word, ...] = ()
    after: tuple[Word, ...] = ()
    behind: tuple[tuple[str, float | None], ...] = ()

    def within(self, low: float, high: float) -> Change:
        """Return the same change with those words around it that begin after `low` and end before `high`."""
        ends = [index for index, (_, stop) in enumerate(self.behind) if stop is not None and stop <= high]
        return replace(
            self,
            before=tuple(word for word in self.before if word.start >= low),
            after=tuple(word for word in self.after if word.stop <= high),
            behind=self.behind[: ends[-1] + 1] if ends else (),
        )


def differences(transcript: Transcript, wanted: Sequence[str], seconds: float) -> list[Change]:
    """Return what is to be changed so that a recording says other words, in the order of time.

    Args:
        transcript: of the recording.
        wanted: words of the new text, as they are spoken.
        seconds: length of the recording.

    Raises:
        UserError: nothing differs but case and punctuation, or everything does.
    """
    words = transcript.words
    matcher = SequenceMatcher(None, [bare(word.text) for word in words], [bare(word) for word in wanted], autojunk=False)
    codes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    kept = {block.b + step: block.a + step for block in matcher.get_matching_blocks() for step in range(block.size)}
    if not codes:
        raise UserError("the text is identical to the original: there is nothing to change; change, add or remove a word")
    if not kept:
        raise UserError("no word of the original is left: use `speechgen synth` to speak a new text in this voice")
    changes = []
    for _, first, last, low, high in codes:
        text = " ".join(wanted[low:high])
        start, stop = _stretch(words, first, last, bool(text), seconds)
        behind = tuple((wanted[new], words[kept[new]].stop if new in kept else None) for new in range(high, len(wanted)))
        changes.append(Change(start, stop, text, words[:first], words[first:last], words[last:], behind))
    return changes


def _stretch(words: Sequence[Word], first: int, last: int, spoken: bool, seconds: float) -> tuple[float, float]:
    """Where the words [first, last) lie; for none of them, the place where others are put in."""
    if first == last:  # in a pause, words are put before the next one: what is said after a pause begins with them
        place = words[first].start if first < len(words) else words[-1].stop
        return place, place
    if spoken:
        return words[first].start, words[last - 1].stop
    if last < len(words):
        return words[first].start, words[last].start
    return (words[first - 1].stop if first else 0.0), min(seconds, words[-1].stop)


def at_span(start: float, stop: float, text: str, seconds: float, transcript: Transcript | None = None) -> Change:
    """Return the change of what lies between two times.

    Args:
        start: in seconds.
        stop: likewise; equal to start to put something in.
        text: the new words, as they are spoken; empty to cut the stretch out.
        seconds: length of the recording.
        transcript: of the recording, if it is known: the new words fit their surroundings better.

    Raises:
        UserError: the times lie outside the recording or are reversed, or nothing is asked for.
    """
    if not 0 <= start <= stop:
        raise UserError(
            f"the span {start:g}:{stop:g} is reversed or begins before 0: give START:STOP in seconds, as in 1.2:2.0"
        )
    if stop > seconds + 0.005:
        raise UserError(f"the span {start:g}:{stop:g} ends outside the recording, which lasts {seconds:.2f} s")
    if start == stop and not text:
        raise UserError("the span is empty and so is the text: there is nothing to change")
    stop = min(stop, seconds)
    if transcript is None:
        return Change(start, stop, text)
    words = transcript.words
    middles = [(word.start + word.stop) / 2 for word in words]
    before = tuple(word for word, middle in zip(words, middles, strict=True) if middle < start)
    after = tuple(word for word, middle in zip(words, middles, strict=True) if middle >= stop and middle >= start)
    old = words[len(before) : len(words) - len(after)]
    if old and text and [bare(word.text) for word in old] == [bare(word) for word in text.split()]:
        raise UserError(f"the text is identical to what the span says: there is nothing to change in {text!r}")
    return Change(start, stop, text, before, old, after, tuple((word.text, word.stop) for word in after))
