"""The picture: its parts, its rows, its labels, and that drawing leaves matplotlib as it was."""

import matplotlib
import pytest
import torch
from PIL import Image

from speechgen.pipeline.alignment import Alignment
from speechgen.service.engine import Engine
from speechgen.service.plot import DPI, LONGEST_SECONDS, WIDTH, draw, draw_copy, spread
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult
from speechgen.text.phonemes import Phonemizer
from tests.tiny import RATE, voice_like

TEXT = "The harbour of the old town, and the sea."


@pytest.fixture(scope="module")
def alignment() -> Alignment:
    symbols = Phonemizer("en-us")(TEXT)
    durations = torch.full((len(symbols),), 4)
    tokens = torch.arange(int(durations.sum())) % 192
    return Alignment(TEXT, "en-us", tuple(symbols), durations, tokens, 192, 46.875, 0.0)


def result(seconds: float, *alignment: Alignment) -> SynthesisResult:
    return SynthesisResult(
        voice_like(seconds),
        RATE,
        0,
        "tiny",
        "buzz",
        "cpu",
        1,
        0.0,
        1.0,
        provenance="synthetic speech; seed 0",
        alignment=alignment,
    )


def labels(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_all_parts_share_one_time_axis_and_carry_their_labels(alignment):
    figure = draw(voice_like(3.5), RATE, [alignment])
    parts = [axis for axis in figure.axes if axis.get_xlim() == (0, 3.5)]
    assert len(parts) == 4
    found = labels(figure)
    assert {"The", "harbour", "town", "sea", "ð", "ˈoʊ", "wave", "mel\n(kHz)", "phones", "tokens"} <= set(found)


def test_frequencies_stand_where_the_mel_scale_puts_them():
    tone = 0.3 * torch.sin(2 * torch.pi * 2000 * torch.arange(RATE) / RATE)
    mel = draw(tone, RATE).axes[1]
    heights = dict(zip((label.get_text() for label in mel.get_yticklabels()), mel.get_yticks(), strict=True))
    picture = mel.images[0]
    loudest = int(picture.get_array()[:, 40].argmax()) + 1  # bins are drawn from 1
    assert heights["2"] == pytest.approx(loudest, abs=0.6)


def test_longer_sound_takes_rows_of_equal_length_and_is_cut_where_the_title_says(alignment):
    figure = draw(voice_like(23.0), RATE, [alignment])
    starts = sorted({round(axis.get_xlim()[0], 3) for axis in figure.axes if axis.get_xlim()[1] - axis.get_xlim()[0] == 5.0})
    assert starts == [0.0, 5.0, 10.0, 15.0] and LONGEST_SECONDS == 20.0
    assert [text.get_text() for text in figure.texts] == ["first 20 s of 23.0 s"]
    assert labels(figure).count("harbour") == 1


@pytest.mark.parametrize("sound", [torch.zeros(RATE), voice_like(0.1)], ids=["silence", "a tenth of a second"])
def test_silence_and_short_sound_are_drawn_without_text(sound):
    figure = draw(sound, RATE)
    assert not set(labels(figure)) & {"phones", "tokens"}


def test_the_picture_is_as_wide_as_a_page_and_says_where_it_comes_from(alignment, tmp_path):
    path = result(3.5, alignment).plot(tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.width == pytest.approx(WIDTH * DPI, abs=1) and image.height > 600
        assert image.text["Description"] == "synthetic speech; seed 0"
        assert image.info["dpi"][0] == pytest.approx(DPI, abs=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_copy_is_drawn_below_its_original_over_the_same_time():
    figure = draw_copy(voice_like(7.0), voice_like(6.9, pitch=180.0), RATE, "some-vocoder")
    assert [text.get_text() for text in figure.texts] == ["first 5 s of 6.9 s", "original", "some-vocoder"]
    parts = [axis for axis in figure.axes if axis.get_xlim() == (0, 5)]
    above, below = parts[:2], parts[2:]
    assert len(below) == 2 and above[1].get_position().y0 > below[0].get_position().y1
    assert (above[1].images[0].get_array() != below[1].images[0].get_array()).any()


def test_drawing_changes_nothing_of_matplotlib(alignment, tmp_path):
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
    result(1.0, alignment).plot(tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before and matplotlib.get_backend(auto_select=False) == backend


def test_what_the_engine_speaks_brings_its_alignment_and_copies_bring_none(home, tmp_path):
    engine = Engine("cpu")
    request = SynthesisRequest.checked({"text": TEXT * 3, "pipeline": "tiny", "seed": 0})
    spoken = engine.synthesize(request)
    assert [piece.text for piece in spoken.alignment] == list(spoken.pieces) and len(spoken.pieces) >= 2
    assert spoken.alignment[-1].start + spoken.alignment[-1].seconds <= spoken.seconds + 0.05
    assert {"phones", "tokens"} <= set(labels(draw(spoken.samples, spoken.rate, spoken.alignment)))
    assert engine.vocode(home / "voices" / "buzz.wav", "tiny-vocoder").alignment == ()


def test_labels_that_fit_stay_and_others_move_apart_within_the_limits():
    assert spread([1.0, 3.0], [1.0, 1.0], (0, 10)) == pytest.approx([1.0, 3.0])
    assert spread([4.9, 5.1], [1.0, 1.0], (0, 10)) == pytest.approx([4.5, 5.5])
    assert spread([0.1, 9.9], [1.0, 1.0], (0, 10)) == pytest.approx([0.5, 9.5])
    moved = spread([1.0, 1.1, 1.2, 1.3, 8.0], [1.0] * 5, (0, 10))
    assert all(right - left >= 1 - 1e-9 for left, right in zip(moved, moved[1:], strict=False)) and moved[-1] == 8.0
    assert spread([], [], (0, 1)) == []
