"""The pipeline with stages that record what they are asked: one tone per token, no networks."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Waveform
from speechgen.pipeline.pipeline import Pipeline, Reference
from speechgen.pipeline.stages import CheckpointNames, PipelineConfig, Stages
from tests.tiny import RATE, voice_like

SETTINGS = MelSettings()


class NoOptions(StrictModel):
    loud: bool = False


@dataclass
class FakeStages:
    """All four protocols; every stage notes a number drawn from the randomness it was given."""

    drawn: dict[str, list[float]] = field(default_factory=lambda: {"semantic": [], "acoustic": []})
    spoken: list[list[int]] = field(default_factory=list)
    mel: MelSettings = SETTINGS
    empty: bool = False

    def encode(self, audio: Waveform) -> SemanticTokens:
        return tokens(8)

    def note(self, stage: str, rng: torch.Generator) -> None:
        self.drawn[stage].append(float(torch.rand(1, generator=rng)))


class FakeSemantic:
    def __init__(self, fake: FakeStages) -> None:
        self.fake = fake

    def generate(self, text, reference, *, options, rng, progress=None):
        self.fake.note("semantic", rng)
        self.fake.spoken.append(text.ids[0].tolist())
        progress(1, 1)
        return tokens(0 if self.fake.empty else 4)


class FakeAcoustic:
    mel = SETTINGS

    def __init__(self, fake: FakeStages) -> None:
        self.fake = fake

    def generate(self, tokens, prompt, prompt_tokens, *, options, rng, progress=None):
        self.fake.note("acoustic", rng)
        frames = 2 * tokens.ids.shape[1]
        return Mel(torch.zeros(1, frames, 100), torch.tensor([frames]), SETTINGS)


class FakeVocoder:
    mel = SETTINGS

    def generate(self, mel, *, rng, progress=None):
        return Waveform.single(0.1 * torch.ones((int(mel.lengths[0]) - 1) * 256), RATE)


def tokens(count: int) -> SemanticTokens:
    return SemanticTokens(torch.zeros(1, count, dtype=torch.long), torch.tensor([count]), 46.875, 8)


@pytest.fixture
def fake() -> FakeStages:
    return FakeStages()


@pytest.fixture
def pipeline(fake) -> Pipeline:
    stages = Stages(
        fake, FakeSemantic(fake), FakeAcoustic(fake), FakeVocoder(), SETTINGS, NoOptions, NoOptions, torch.device("cpu")
    )
    names = CheckpointNames(tokenizer="t", semantic="s", acoustic="a", vocoder="v")
    return Pipeline(stages, PipelineConfig(checkpoints=names, max_characters=200))


@pytest.fixture
def reference(pipeline) -> Reference:
    return pipeline.reference(Waveform.single(voice_like(2.0), RATE))


def speak(pipeline, reference, text, seed=1, progress=None):
    options = pipeline.options({}, {})
    return pipeline.speak(text, reference, language="en-us", seed=seed, options=options, progress=progress)


def test_each_piece_and_stage_draws_from_its_own_stream_of_the_seed(pipeline, reference, fake):
    speak(pipeline, reference, "One sentence here. " * 30, seed=1)
    first = {stage: list(values) for stage, values in fake.drawn.items()}
    drawn = first["semantic"] + first["acoustic"]
    assert len(set(drawn)) == len(drawn) >= 4
    fake.drawn["semantic"].clear()
    speak(pipeline, reference, "One sentence here. " * 30, seed=1)
    assert fake.drawn["semantic"] == first["semantic"]
    fake.drawn["semantic"].clear()
    speak(pipeline, reference, "One sentence here. " * 30, seed=2)
    assert not set(fake.drawn["semantic"]) & set(first["semantic"])


def test_a_hundred_thousand_characters_without_punctuation_are_spoken_in_pieces(pipeline, reference, fake):
    reports = []
    text = ("lorem ipsum dolor sit amet " * 3800)[:100_000]
    speech = speak(pipeline, reference, text, progress=lambda done, total: reports.append((done, total)))
    assert max(map(len, speech.pieces)) <= 200
    assert " ".join(speech.pieces).split() == text.split()
    assert len(fake.spoken) == len(speech.pieces) >= 500
    assert reports == sorted(reports) and reports[-1][0] == reports[-1][1]


def test_a_single_endless_word_is_cut_and_spoken(pipeline, reference):
    assert len(speak(pipeline, reference, "a" * 1000).pieces) == 5


def test_emoji_and_control_characters_are_not_spoken(pipeline, reference, fake):
    speak(pipeline, reference, "Yes.")
    speak(pipeline, reference, "\x07Yes\x00. 😀")
    assert fake.spoken[0] == fake.spoken[1]


@pytest.mark.parametrize("text", ["😀 🎉", "\x00\x07\x1b", "…!?", "Привет, мир"], ids=["emoji", "control", "marks", "cyrillic"])
def test_text_without_a_sound_in_the_language_is_refused(pipeline, reference, text):
    with pytest.raises(UserError):
        speak(pipeline, reference, text)


def test_an_unreadable_piece_of_a_long_text_is_left_out_with_a_warning(pipeline, reference):
    speech = speak(pipeline, reference, "A sentence to be read. " * 10 + "\n\n" + "Привет, мир. " * 15)
    assert speech.warnings and "Latin" in speech.warnings[0]
    assert all("Привет" not in piece for piece in speech.pieces)


def test_an_unknown_language_and_an_unknown_option_are_refused(pipeline, reference):
    with pytest.raises(UserError, match="unknown language"):
        pipeline.speak("Yes.", reference, language="klingon", seed=0, options=pipeline.options({}, {}))
    with pytest.raises(UserError, match="option of the semantic model: speed: unknown key"):
        pipeline.options({"speed": 1.0}, {})


def test_a_model_that_finds_nothing_to_say_is_reported(pipeline, reference, fake):
    fake.empty = True
    with pytest.raises(UserError, match="another --seed"):
        speak(pipeline, reference, "Yes.")


def test_speech_begins_and_ends_softly(pipeline, reference):
    samples = speak(pipeline, reference, "Yes.").samples
    assert samples[0] == 0 and samples[-1] == 0 and samples.abs().max() > 0.05
