"""Where text is cut, and how long the silences are."""

import pytest

from speechgen.core.errors import UserError
from speechgen.pipeline.longform import LAST_PAUSE, pause_after
from speechgen.pipeline.pieces import BLOCK_CHARACTERS, cut
from speechgen.text.normalize import normalize


def test_sentences_are_pieces_and_pauses_follow_their_punctuation():
    pieces = list(cut("One sentence. Another one, longer. A last one.", 15))
    assert [piece.text for piece in pieces] == ["One sentence.", "Another one,", "longer.", "A last one."]
    assert [piece.pause for piece in pieces] == [pause_after("."), pause_after(","), pause_after("."), LAST_PAUSE]
    assert [piece.index for piece in pieces] == [0, 1, 2, 3]


def test_written_pauses_replace_those_of_the_punctuation():
    pieces = list(cut('[pause:0.5] [pause:1] One. [pause:800ms] Two <break time="2s"/>[pause:1] 😀 [pause:1]', 200))
    assert [(piece.text, piece.lead, piece.pause) for piece in pieces] == [("One.", 1.5, 0.8), ("Two", 0.0, 4.0)]


@pytest.mark.parametrize("text", ["", " ", "😀", "[pause:1]", "…"])
def test_nothing_to_speak_is_no_piece(text):
    assert list(cut(text, 200)) == []


def test_unknown_markup_is_refused_by_name():
    with pytest.raises(UserError, match="prosody"):
        list(cut('Hello <prosody rate="slow">there</prosody>.', 200))


def test_the_first_piece_is_known_before_the_end_has_been_read():
    read: list[str] = []

    def spoken(text: str) -> str:
        read.append(text)
        return normalize(text)

    text = "A sentence of some words, and [[wɜːdz]]. " * 500 + "[pause:2] The end."
    pieces = cut(text, 200, spoken)
    first = next(pieces)
    assert len(first.text) > 100 and sum(map(len, read)) <= BLOCK_CHARACTERS
    rest = list(pieces)
    assert " ".join(piece.text for piece in (first, *rest)) == " ".join(text.replace("[pause:2]", "").split())
    assert [piece.index for piece in rest] == list(range(1, len(rest) + 1)) and rest[-2].pause == 2.0


def test_paragraphs_of_a_long_text_stay_apart():
    text = "Chapter one\n\nIt was late. " + "And so on. " * 300 + "\n\nChapter two\n\nIt was early."
    assert [piece.text for piece in cut(text, 20, str.strip)][-3:] == ["And so on.", "Chapter two", "It was early."]
