"""Stages that read characters: what the model is told, how long it is given, and that nothing of the reference is heard."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.types import Mel, MelSettings, Waveform
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.stages import CheckpointNames, PipelineConfig
from speechgen.pipeline.text_stages import TextStages
from speechgen.text.characters import IPA
from speechgen.text.vocabulary import ENGLISH
from tests.tiny import RATE, voice_like

SETTINGS = MelSettings()
LETTERS = (" ", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'")
MARK = 50.0
"""A level that only the reference's mel has."""


class TextOptions(StrictModel):
    speed: float = 1.0


class NoOptions(StrictModel):
    pass


@dataclass
class FakeReader:
    """Ten frames of 0.1 for every symbol; notes what it was asked."""

    mel: MelSettings = SETTINGS
    vocabulary: tuple[str, ...] = LETTERS
    segmented: bool = False
    reads_prompt_text: bool = True
    spoken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    frames: list[int | None] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)

    def generate(self, text, prompt, prompt_text, *, frames=None, options, rng, progress=None):
        self.spoken.append("".join(self.vocabulary[index] for index in text.ids[0].tolist()))
        self.told.append("".join(self.vocabulary[index] for index in prompt_text.ids[0].tolist()))
        self.frames.append(frames)
        self.drawn.append(float(torch.rand(1, generator=rng)))
        size = frames or round(10 * text.ids.shape[1] / options.speed)
        whole = torch.cat((prompt.values, torch.full((1, size, 100), 0.1)), dim=1)
        return Mel(whole[:, prompt.values.shape[1] :], torch.tensor([size]), SETTINGS)


class FakeVocoder:
    mel = SETTINGS
    reach_frames = 3

    def generate(self, mel, *, options, rng, part=None, progress=None):
        level = mel.values[0, :-1, 0].repeat_interleave(256)
        return Waveform.single(level * torch.sin(torch.arange(len(level)) / 20), RATE)


class FakeTokenizer:
    """Any audio says the number of phones that its seconds tell, five for each."""

    rate, size = 46.875, 8

    def fit(self, audio, phonemes):
        return -abs(_phones(phonemes) - 5 * audio.seconds) / _phones(phonemes)

    def phone_scores(self, audio):
        return None


def _phones(ids: torch.Tensor) -> int:
    return sum(int(index) in ENGLISH.phone_ids for index in ids)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def pipeline(reader) -> Pipeline:
    options = {"text_to_mel": TextOptions, "vocoder": NoOptions}
    usual = Options(dict.fromkeys(options, NoOptions()))
    listeners = {"tokenizer": FakeTokenizer(), "hear": lambda audio: "yes it is"}
    stages = TextStages(reader, FakeVocoder(), SETTINGS, options, torch.device("cpu"), usual, **listeners)
    names = CheckpointNames(text_to_mel="t", vocoder="v")
    return Pipeline(stages, PipelineConfig(checkpoints=names, prompt_seconds=12.0, max_characters=200))


def recording(seconds: float) -> Waveform:
    return Waveform.single(voice_like(seconds), RATE)


def speak(pipeline, reference, text, **options):
    asked = pipeline.options(options.pop("asked", None), **options)
    return pipeline.speak(text, reference, language="en-us", seed=1, options=asked)


def test_the_model_is_told_what_the_reference_says_as_a_sentence_that_has_ended(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My 2 cats,")
    speak(pipeline, reference, "Hello there.")
    assert reader.told == ["My two cats. "] and reader.spoken == ["Hello there."]
    assert reference.warnings == () and reference.tokens is None


def test_a_model_that_learned_from_segments_is_told_them(pipeline, reader):
    stages = replace(pipeline.stages, text_to_mel=replace(reader, segmented=True))
    segments = Pipeline(stages, pipeline.config)
    speak(segments, segments.reference(recording(3.0), transcript="So,well; yes."), "One/two.")
    assert stages.text_to_mel.spoken == ["One two."] and stages.text_to_mel.told == ["So, well, yes. "]


def test_an_unknown_text_of_the_reference_is_heard_and_said(pipeline, reader):
    reference = pipeline.reference(recording(3.0))
    assert "heard as 'yes it is'" in reference.warnings[0] and "--ref-text" in reference.warnings[0]
    speak(pipeline, reference, "Hello.")
    assert reader.told == ["yes it is. "]


def test_nobody_to_hear_it_is_an_error_and_a_model_that_needs_no_text_needs_nobody(pipeline, reader):
    pipeline.stages = replace(pipeline.stages, hear=None)
    with pytest.raises(UserError, match="what the reference says is not known: give it by --ref-text"):
        pipeline.reference(recording(3.0))
    with pytest.raises(UserError, match="nothing in the text of the reference can be read"):
        pipeline.reference(recording(3.0), transcript="☃")
    reader.reads_prompt_text = False
    assert pipeline.reference(recording(3.0)).transcript == ""


def test_a_long_reference_is_cut_at_a_pause_and_its_text_with_it(pipeline, reader):
    transcript = "see me go " * 20
    reference = pipeline.reference(recording(28.0), transcript=transcript)
    assert 7.2 <= reference.seconds <= 12.0
    heard = _phones(torch.tensor(ENGLISH.encode(pipeline.prepare("en-us")(reference.transcript))))
    assert transcript.startswith(reference.transcript.rstrip(". ")) and heard == pytest.approx(5 * reference.seconds, abs=3)
    assert "shortened" in reference.warnings[-1]
    without = replace(pipeline.stages, tokenizer=None)
    pipeline.stages = without
    even = pipeline.reference(recording(28.0), transcript=transcript)
    assert len(even.transcript.split()) == pytest.approx(60 * even.seconds / 28, abs=3)


def test_nothing_of_the_reference_is_heard(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    reference = replace(reference, mel=Mel(torch.full_like(reference.mel.values, MARK), reference.mel.lengths, SETTINGS))
    speech = speak(pipeline, reference, "Hello there. " * 40)
    assert len(reader.spoken) == len(speech.pieces) >= 3
    expected = sum(10 * len(text) - 1 for text in reader.spoken) * 256
    assert len(speech.samples) < expected + RATE * len(reader.spoken) and speech.samples.abs().max() < 1
    assert all("My" not in text for text in reader.spoken) and set(reader.told) == {"My cats. "}


def test_a_long_reference_leaves_less_room_to_each_piece(pipeline, reader):
    text = "A sentence of some words. " * 20
    speak(pipeline, pipeline.reference(recording(3.0), transcript="a" * 45), text)
    roomy = max(map(len, reader.spoken))
    reader.spoken.clear()
    speak(pipeline, pipeline.reference(recording(11.9), transcript="a" * 60), text)
    assert roomy > 150 and max(map(len, reader.spoken)) <= 60


def test_a_duration_is_shared_by_the_pieces_and_obeyed(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    speak(pipeline, reference, "A sentence of some words, and then more. " * 12, seconds=40.0)
    assert len(reader.frames) > 1 and sum(reader.frames) == pytest.approx(40 * SETTINGS.frame_rate, abs=len(reader.frames))


def test_the_pace_may_come_from_another_recording(pipeline, reader):
    slow = pipeline.reference(recording(6.0), transcript="My cats.")
    own = pipeline.reference(recording(3.0), transcript="My cats.")
    options = pipeline.options({"speed": 2.0})
    pipeline.speak("Good cats.", own, language="en-us", seed=1, options=options, tempo=slow)
    wanted = slow.seconds * len("Good cats.") / len("My cats. ") / 2
    assert reader.frames[0] == pytest.approx(wanted * SETTINGS.frame_rate, abs=1)


def test_a_moved_pitch_keeps_the_tempo(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    plain, high = (speak(pipeline, reference, "Hello there.", pitch=pitch).samples for pitch in (0.0, 12.0))
    assert len(high) == pytest.approx(len(plain), rel=0.05)


def test_what_has_no_symbol_is_left_out_and_named_once(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    speech = speak(pipeline, reference, "A café, Ωmega it is. " * 15)
    assert "cafe" in reader.spoken[0] and "Ω" not in reader.spoken[0]
    assert [line for line in speech.warnings if "no symbol" in line] == ["this pipeline has no symbol for 'Ω': left out"]


def test_phonemes_are_spoken_by_a_model_that_knows_them_and_refused_by_others(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    with pytest.raises(UserError, match="has no phonemes"):
        speak(pipeline, reference, "I say [[təˈmeɪtoʊ]].")
    phonetic = replace(reader, vocabulary=(*LETTERS, "[", "]", *IPA))
    pipeline.stages = replace(pipeline.stages, text_to_mel=phonetic)
    speak(pipeline, reference, "I say [[təˈmeɪtoʊ]].")
    assert phonetic.spoken == ["I say [təˈmeɪtoʊ]."]


def test_pieces_draw_from_streams_of_their_own_and_streaming_hands_on_whole_pieces(pipeline, reader):
    reference = pipeline.reference(recording(3.0), transcript="My cats.")
    text = "A sentence of some words. " * 20
    whole = speak(pipeline, reference, text)
    assert len(set(reader.drawn)) == len(reader.drawn) > 1
    options = pipeline.options()
    chunks = list(pipeline.stream(text, reference, language="en-us", seed=1, options=options, spans=True))
    assert all(chunk.last for chunk in chunks) and torch.equal(torch.cat([chunk.samples for chunk in chunks]), whole.samples)


def test_candidates_need_somebody_to_tell_them_apart(pipeline):
    pipeline.stages = replace(pipeline.stages, tokenizer=None)
    with pytest.raises(UserError, match="no tokenizer to tell candidates apart"):
        pipeline.options(candidates=2)
