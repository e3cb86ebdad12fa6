"""The pipeline with stages that record what they are asked: one tone per token, no networks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
import torch

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Waveform
from speechgen.pipeline import longform, streaming
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.matching import SENTENCES
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.stages import CheckpointNames, PipelineConfig
from speechgen.pipeline.token_stages import TokenStages
from tests.models.systems import build
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
    paces: list[Mel] = field(default_factory=list)
    empty: bool = False
    tones: list[float] = field(default_factory=list)  # levels of coming pieces; 0.1 when there are none left
    fits: list[float] = field(default_factory=list)

    def encode(self, audio: Waveform) -> SemanticTokens:
        return tokens(8)

    def fit(self, audio: Waveform, phonemes: torch.Tensor) -> float:
        self.fits.append(float(audio.samples.abs().max()))
        return self.fits[-1]

    def note(self, stage: str, rng: torch.Generator) -> None:
        self.drawn[stage].append(float(torch.rand(1, generator=rng)))


class FakeSemantic:
    def __init__(self, fake: FakeStages) -> None:
        self.fake = fake

    def generate(self, text, reference, *, options, rng, progress=None):
        self.fake.note("semantic", rng)
        self.fake.spoken.append(text.ids[0].tolist())
        self.fake.paces.append(reference)
        if progress:
            progress(1, 1)
        return tokens(0 if self.fake.empty else max(4, text.ids.shape[1] + 1))

    def stream(self, text, reference, *, options, rng):
        made = self.generate(text, reference, options=options, rng=rng)
        for size in range(1, made.ids.shape[1] + 1):
            yield streaming.take(made, 0, size)


class FakeAcoustic:
    mel = SETTINGS

    def __init__(self, fake: FakeStages) -> None:
        self.fake = fake

    def generate(self, tokens, prompt, prompt_tokens, *, options, rng, progress=None):
        self.fake.note("acoustic", rng)
        frames = 2 * tokens.ids.shape[1]
        level = self.fake.tones.pop(0) if self.fake.tones else 0.1
        return Mel(torch.full((1, frames, 100), level), torch.tensor([frames]), SETTINGS)


class FakeVocoder:
    """A tone, as loud as the mel says."""

    mel = SETTINGS
    reach_frames = 3

    def generate(self, mel, *, options, rng, part=None, progress=None):
        level = mel.values[0, :-1, 0].repeat_interleave(256)
        return Waveform.single(level * torch.sin(torch.arange(len(level)) / 20), RATE)


def tokens(count: int) -> SemanticTokens:
    return SemanticTokens(torch.zeros(1, count, dtype=torch.long), torch.tensor([count]), 46.875, 8)


@pytest.fixture
def fake() -> FakeStages:
    return FakeStages()


@pytest.fixture
def pipeline(fake) -> Pipeline:
    options = dict.fromkeys(("semantic", "acoustic", "vocoder"), NoOptions)
    models = (fake, FakeSemantic(fake), FakeAcoustic(fake), FakeVocoder())
    stages = TokenStages(*models, SETTINGS, options, torch.device("cpu"), Options(dict.fromkeys(options, NoOptions())))
    names = CheckpointNames(tokenizer="t", semantic="s", acoustic="a", vocoder="v")
    return Pipeline(stages, PipelineConfig(checkpoints=names, max_characters=200))


@pytest.fixture
def reference(pipeline) -> Reference:
    return pipeline.reference(Waveform.single(voice_like(2.0), RATE))


def speak(pipeline, reference, text, seed=1, progress=None):
    options = pipeline.options()
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


def test_a_voice_is_moved_by_what_the_models_say_in_it(pipeline, fake):
    recording = Waveform.single(voice_like(2.0), RATE)
    assert pipeline.reference(recording).match is None and not fake.spoken
    moving = Pipeline(replace(pipeline.stages, match=1.0), pipeline.config)
    fake.tones.extend([0.1, 0.2, 0.4])
    match = moving.reference(recording).match
    phonemizer = pipeline.prepare("en-us")
    assert fake.spoken == [phonemizer.vocabulary.encode(phonemizer(sentence)) for sentence in SENTENCES]
    assert 0.2 < match.heard.mean() < 0.4  # the quietest frames do not count
    mel = mel_spectrogram(recording, SETTINGS).values[0]
    assert mel.mean() < match.wanted.mean() < mel.max()


def test_a_voice_in_which_nothing_is_said_is_not_moved(pipeline, fake):
    fake.empty = True
    moving = Pipeline(replace(pipeline.stages, match=1.0), pipeline.config)
    assert moving.reference(Waveform.single(voice_like(2.0), RATE)).match is None


def test_twenty_thousand_characters_without_punctuation_are_spoken_in_pieces(pipeline, reference, fake):
    reports = []
    text = ("lorem ipsum dolor sit amet " * 800)[:20_000]
    speech = speak(pipeline, reference, text, progress=lambda done, total: reports.append((done, total)))
    assert max(map(len, speech.pieces)) <= 200
    assert " ".join(speech.pieces).split() == text.split()
    assert len(fake.spoken) == len(speech.pieces) >= 100
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
        pipeline.speak("Yes.", reference, language="klingon", seed=0, options=pipeline.options())
    with pytest.raises(UserError, match="no model of this pipeline has the option speed: they have loud"):
        pipeline.options({"speed": 1.0})
    with pytest.raises(UserError, match="give a speed instead of a duration"):
        pipeline.options(seconds=3.0)


def test_a_model_that_finds_nothing_to_say_is_reported(pipeline, reference, fake):
    fake.empty = True
    with pytest.raises(UserError, match="is silent after 4 tries: try another --seed"):
        speak(pipeline, reference, "Yes.")
    assert len(fake.spoken) == 4
    with pytest.raises(UserError, match="'Yes.' was passed over, no sound was found for it"):
        list(pipeline.stream("Yes.", reference, language="en-us", seed=1, options=pipeline.options(), spans=True))


def test_speech_begins_and_ends_softly(pipeline, reference):
    samples = speak(pipeline, reference, "Yes.").samples
    assert samples[0] == 0 and samples[-1] == 0 and samples.abs().max() > 0.05


def test_a_faulty_piece_is_spoken_again_with_the_next_seed_and_said(pipeline, reference, fake):
    fake.tones = [0.0, 0.0]
    speech = speak(pipeline, reference, "One sentence here.", seed=5)
    assert len(fake.spoken) == 3 and speech.samples.abs().max() > 0.05
    assert speech.warnings == ("'One sentence here.' was faulty at first: spoken again with seed 7",)
    fake.tones = [0.0] * 9
    with pytest.raises(UserError, match="silent after 4 tries"):
        speak(pipeline, reference, "One sentence here.")


def test_of_the_candidates_the_one_that_fits_best_is_kept(pipeline, reference, fake):
    fake.tones = [0.2, 0.5, 0.3]
    options = pipeline.options(candidates=3)
    pipeline.speak("One sentence here.", reference, language="en-us", seed=1, options=options)
    assert fake.fits == pytest.approx([0.2, 0.5, 0.3], abs=0.01) and len(fake.spoken) == 3


def test_what_the_tokenizer_does_not_understand_is_spoken_again(pipeline, reference, fake, monkeypatch):
    monkeypatch.setattr(FakeStages, "fit", lambda self, audio, phonemes: float(audio.samples.abs().max()) - 1.2)
    listening = Pipeline(pipeline.stages, pipeline.config.model_copy(update={"least_fit": -0.2}))
    fake.tones = [0.2, 0.5, 0.3]
    speech = speak(listening, reference, "One sentence here.", seed=7)
    assert fake.tones == [0.3] and speech.warnings == ("'One sentence here.' was faulty at first: spoken again with seed 8",)
    fake.tones = [0.2, 0.1, 0.3, 0.2]
    speech = speak(listening, reference, "One sentence here.", seed=7)
    assert speech.warnings == ("'One sentence here.' is unclear after 4 tries: try another --seed",)
    fake.tones = [0.1]
    assert not speak(listening, reference, "Oh!").warnings, "a word alone fits less well in recordings, too"


@pytest.mark.parametrize("seconds", [0.2, 0.9, 1.3, 2.0, 7.3, 30.0])
def test_spans_cover_every_token_once_and_grow(seconds):
    count = round(seconds * 46.875)
    made = list(streaming.spans(tokens(size) for size in range(count + 1)))
    assert [(span.start, span.stop) for span in streaming.spans([tokens(count)])] == [(span.start, span.stop) for span in made]
    assert [span.last for span in made] == [False] * (len(made) - 1) + [True]
    early = made[0].tokens.ids.shape[1]
    assert early <= 1.4 * 46.875, "the first span waits for little more than itself"
    assert made[0].start == 0 and made[-1].stop == made[-1].ahead == count
    assert all(a.stop == b.start for a, b in itertools.pairwise(made))
    assert all(span.stop <= span.ahead <= count and span.stop - span.start >= min(count, 21) for span in made)


def test_a_streamed_vocoder_gives_the_samples_of_the_whole():
    system = build("vocos")
    vocoder = system.spec.generator(system.network.eval(), system.config)
    values = torch.randn(1, 150, 100, generator=torch.Generator().manual_seed(0))
    options = system.spec.options()
    whole = vocoder.generate(Mel(values, torch.tensor([150]), SETTINGS), options=options, rng=generator(0)).samples[0]
    whole = longform.limit_peaks(whole, RATE)
    for cuts in ([150], [40, 70, 40], [1, 1, 148], [60, 60, 29, 1]):
        stream = streaming.VocoderStream(vocoder, options, generator(0))
        ends = list(itertools.accumulate(cuts))
        parts = [stream.push(values[:, end - size : end], last=end == 150) for size, end in zip(cuts, ends, strict=True)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)


def test_streamed_speech_says_the_same_tokens_and_its_first_chunk_comes_early(pipeline, reference, fake):
    options = pipeline.options()
    text = "One sentence here. " * 12
    chunks = list(pipeline.stream(text, reference, language="en-us", seed=1, options=options, spans=True))
    said = [list(ids) for ids in fake.spoken]
    assert chunks[0].samples.numel() < 1.0 * RATE and not chunks[0].last and chunks[-1].last
    fake.spoken.clear()
    whole = speak(pipeline, reference, text)
    assert fake.spoken == said
    together = torch.cat([chunk.samples for chunk in chunks])
    assert abs(len(together) - len(whole.samples)) < 0.1 * RATE
    assert together.abs().max() > 0.05


def test_the_number_of_pieces_of_a_stream_is_about_known_and_at_last_exactly(pipeline, reference):
    text = "Some sentence or other here. " * 400
    chunks = pipeline.stream(text, reference, language="en-us", seed=1, options=pipeline.options(), spans=True)
    told = [(chunk.piece, chunk.pieces) for chunk in chunks if chunk.last]
    whole = pipeline.stream(text, reference, language="en-us", seed=1, options=pipeline.options())
    exact = {chunk.pieces for chunk in whole}
    assert exact == {len(told)} == {told[-1][1]} and all(piece < pieces for piece, pieces in told)
    assert told[0][1] == pytest.approx(len(told), rel=0.2)


def test_the_pace_may_come_from_another_recording(pipeline, reference, fake):
    other = pipeline.reference(Waveform.single(voice_like(3.0, pitch=200.0), RATE))
    options = pipeline.options()
    pipeline.speak("Yes.", reference, language="en-us", seed=1, options=options, tempo=other)
    speak(pipeline, reference, "Yes.")
    assert fake.paces[0] is other.mel and fake.paces[-1] is reference.mel


def test_pitch_moves_the_voice_and_not_the_tempo(pipeline, reference, fake):
    plain = speak(pipeline, reference, "Yes.").samples
    options = replace(pipeline.options(), pitch=12.0)
    # This semantic model knows no speed, so that the sound is shorter by the ratio.
    high = pipeline.speak("Yes.", reference, language="en-us", seed=1, options=options).samples
    assert peak_hz(high) == pytest.approx(2 * peak_hz(plain), rel=0.02)


def peak_hz(samples: torch.Tensor) -> float:
    power = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return float(power.argmax()) * RATE / len(samples)


class AlignedSemantic:
    """Silence before the text, then four tokens of sound for every symbol."""

    def generate(self, text, reference, *, options, rng, progress=None):
        durations = torch.full_like(text.ids, 4)
        durations[0, 0] = round(16 / getattr(options, "speed", 1.0))
        ids = (torch.arange(int(durations.sum())) >= durations[0, 0]).long()[None]
        return replace(tokens(ids.shape[1]), ids=ids, durations=durations)

    def stream(self, text, reference, *, options, rng):
        yield self.generate(text, reference, options=options, rng=rng)


class AlignedAcoustic:
    mel = SETTINGS

    def generate(self, tokens, prompt, prompt_tokens, *, options, rng, progress=None):
        frames = 0.1 * tokens.ids.repeat_interleave(2, dim=1)[..., None].expand(-1, -1, 100)
        return Mel(frames, torch.tensor([frames.shape[1]]), SETTINGS)


@pytest.mark.parametrize("spans", [False, True], ids=["whole", "spans"])
def test_the_alignment_tells_where_in_the_output_each_piece_is_heard(pipeline, reference, spans):
    pipeline.stages = replace(pipeline.stages, semantic=AlignedSemantic(), acoustic=AlignedAcoustic())
    text = "The window looks out on a quiet garden. " * 8
    options = pipeline.options()
    chunks = list(pipeline.stream(text, reference, language="en-us", seed=0, options=options, spans=spans))
    aligned = [chunk.alignment for chunk in chunks if chunk.last]
    assert len(aligned) >= 2 and all(chunk.alignment is None for chunk in chunks if not chunk.last)
    speech = pipeline.speak(text, reference, language="en-us", seed=0, options=options)
    assert [piece.text for piece in speech.alignment] == list(speech.pieces)
    sounds = speech.samples.abs() > 0.01
    for piece, streamed in zip(speech.alignment, aligned, strict=True):
        begin, stop = (int(edge * RATE) for edge in (piece.phones()[1].start, piece.start + piece.seconds))
        margin = RATE // 25
        assert not sounds[max(0, begin - margin) : begin - 700].any() and sounds[begin : begin + margin].any()
        assert sounds[stop - margin : stop].any() and not sounds[stop + margin : stop + 3 * margin].any()
        assert streamed.start == pytest.approx(speech.alignment[0].start, abs=0.03) and streamed.symbols == piece.symbols


def test_a_moved_pitch_leaves_the_alignment_on_the_sound(pipeline, reference):
    pipeline.stages = replace(pipeline.stages, semantic=AlignedSemantic(), acoustic=AlignedAcoustic())
    options = pipeline.options(pitch=5.0)
    speech = pipeline.speak("A quiet garden.", reference, language="en-us", seed=0, options=options)
    (piece,) = speech.alignment
    assert piece.rate == pytest.approx(46.875 * 2 ** (5 / 12))
    begin = int(piece.phones()[1].start * RATE)
    assert (speech.samples[begin : begin + 1000].abs() > 0.01).any()
    assert piece.start + piece.seconds + longform.LAST_PAUSE == pytest.approx(len(speech.samples) / RATE, abs=0.04)


def test_a_model_that_does_not_tell_durations_gives_no_alignment(pipeline, reference):
    assert speak(pipeline, reference, "Hello there.").alignment == ()


def test_written_phonemes_are_spoken_and_wrong_ones_end_the_request(pipeline, reference, fake):
    speak(pipeline, reference, "[[jɛs]].")
    speak(pipeline, reference, "Yes.")
    stress = pipeline.prepare("en-us").vocabulary.encode(["ˈ"])
    bare = [[symbol for symbol in ids if symbol not in stress] for ids in fake.spoken]
    assert bare[0] == bare[1]
    with pytest.raises(UserError, match="§"):
        speak(pipeline, reference, "This is a sentence. [[§]]")


def test_a_written_pause_is_that_long(pipeline, reference):
    plain = speak(pipeline, reference, "Yes.").samples
    both = speak(pipeline, reference, "[pause:0.5] Yes. [pause:1.5] Yes.").samples
    assert len(both) / RATE == pytest.approx(2 * len(plain) / RATE + 2.0 - longform.LAST_PAUSE, abs=0.05)
    assert both[: int(0.49 * RATE)].eq(0).all()


class Singing(StrictModel):
    pitch: float = 0.0


def test_a_vocoder_that_moves_the_pitch_is_asked_to_and_nothing_else_moves_it(pipeline):
    by_rate = pipeline.options(pitch=3.0)
    assert by_rate.pitch == 3.0 and "pitch" not in by_rate.models["vocoder"].model_dump()
    pipeline.stages = replace(pipeline.stages, options={**pipeline.stages.options, "vocoder": Singing})
    by_vocoder = pipeline.options(pitch=3.0)
    assert by_vocoder.pitch == 0.0 and by_vocoder.models["vocoder"].pitch == 3.0
    assert pipeline.options().models["vocoder"].pitch == 0.0
