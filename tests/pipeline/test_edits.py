"""What is to be changed: by the difference of two transcripts, or between two times."""

import pytest

from speechgen.core.errors import UserError
from speechgen.pipeline.edits import at_span, differences
from speechgen.pipeline.transcript import Transcript, Word

# A pause lies behind "cats,".
WORDS = [("I", 0.1, 0.3), ("like", 0.3, 0.7), ("black", 0.7, 1.1), ("cats,", 1.1, 1.6), ("you", 2.0, 2.2), ("know.", 2.2, 2.6)]
SAID = Transcript(tuple(Word(*word) for word in WORDS), -1.0)
SECONDS = 3.0


def changed(text):
    return [(change.start, change.stop, change.text) for change in differences(SAID, text.split(), SECONDS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I like white cats, you know.", [(0.7, 1.1, "white")]),
        ("I like black dogs, you know.", [(1.1, 1.6, "dogs,")]),
        ("I like very black cats, you know.", [(0.7, 0.7, "very")]),
        ("I like black cats, as you know.", [(2.0, 2.0, "as")]),
        ("I like black cats, you know well.", [(2.6, 2.6, "well.")]),
        ("Well, I like black cats, you know.", [(0.1, 0.1, "Well,")]),
        ("I like cats, you know.", [(0.7, 1.1, "")]),
        ("I like black, you know.", [(1.1, 2.0, "")]),
        ("I like black cats,", [(1.6, 2.6, "")]),
        ("We like black dogs, they know.", [(0.1, 0.3, "We"), (1.1, 2.2, "dogs, they")]),
        ("You like white cats, we know.", [(0.1, 0.3, "You"), (0.7, 1.1, "white"), (2.0, 2.2, "we")]),
    ],
    ids=["replaced", "before a pause", "put in", "put in behind a pause", "at the end", "at the start", "gone",
         "gone with its pause", "gone at the end", "two places", "three places"],
)  # fmt: skip
def test_words_that_differ_are_found_with_their_places(text, expected):
    assert changed(text) == expected


def test_a_change_knows_the_words_around_as_they_were_and_as_they_will_be():
    first, second = differences(SAID, ["I", "love", "black", "cats,", "they", "know."], SECONDS)
    assert [word.text for word in first.before] == ["I"] and [word.text for word in first.old] == ["like"]
    assert first.behind == (("black", 1.1), ("cats,", 1.6), ("they", None), ("know.", 2.6))
    assert [word.text for word in second.before] == ["I", "like", "black", "cats,"]
    near = first.within(0.2, 1.2)
    assert near.before == () and near.behind == (("black", 1.1),) and [word.text for word in near.after] == ["black"]
    assert first.within(0.0, 2.6).behind == first.behind
    assert first.within(0.0, 1.0).behind == ()


@pytest.mark.parametrize("text", ["I like black cats, you know.", "i LIKE black cats you know"])
def test_an_identical_text_is_nothing_to_change(text):
    with pytest.raises(UserError, match="identical to the original"):
        changed(text)


def test_a_text_that_keeps_no_word_is_no_edit():
    with pytest.raises(UserError, match="no word of the original is left: use `speechgen synth`"):
        changed("completely different")


@pytest.mark.parametrize(
    ("start", "stop", "text", "message"),
    [
        (2.0, 1.0, "x", "2:1 is reversed"),
        (1.0, 3.2, "x", "1:3.2 ends outside the recording, which lasts 3.00 s"),
        (4.0, 5.0, "x", "ends outside the recording"),
        (1.0, 1.0, "", "nothing to change"),
    ],
)
def test_a_span_that_cannot_be_changed_is_refused(start, stop, text, message):
    with pytest.raises(UserError, match=message):
        at_span(start, stop, text, SECONDS)


def test_a_span_finds_its_words_by_their_middles():
    change = at_span(0.65, 1.65, "two dogs", SECONDS, SAID)
    assert [word.text for word in change.before] == ["I", "like"]
    assert [word.text for word in change.old] == ["black", "cats,"]
    assert change.behind == (("you", 2.2), ("know.", 2.6))
    with pytest.raises(UserError, match="identical to what the span says"):
        at_span(0.65, 1.65, "Black cats", SECONDS, SAID)
