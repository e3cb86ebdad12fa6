"""Where text is cut, and how long the silences are."""

import pytest

from speechgen.core.errors import UserError
from speechgen.pipeline.longform import LAST_PAUSE, pause_after
from speechgen.pipeline.pieces import cut


def test_sentences_are_pieces_and_pauses_follow_their_punctuation():
    pieces = cut("One sentence. Another one, longer. A last one.", 15)
    assert [piece.text for piece in pieces] == ["One sentence.", "Another one,", "longer.", "A last one."]
    assert [piece.pause for piece in pieces] == [pause_after("."), pause_after(","), pause_after("."), LAST_PAUSE]
    assert [piece.index for piece in pieces] == [0, 1, 2, 3]


def test_written_pauses_replace_those_of_the_punctuation():
    pieces = cut('[pause:0.5] [pause:1] One. [pause:800ms] Two <break time="2s"/>[pause:1] 😀 [pause:1]', 200)
    assert [(piece.text, piece.lead, piece.pause) for piece in pieces] == [("One.", 1.5, 0.8), ("Two", 0.0, 4.0)]


@pytest.mark.parametrize("text", ["", " ", "😀", "[pause:1]", "…"])
def test_nothing_to_speak_is_no_piece(text):
    assert cut(text, 200) == []


def test_unknown_markup_is_refused_by_name():
    with pytest.raises(UserError, match="prosody"):
        cut('Hello <prosody rate="slow">there</prosody>.', 200)
