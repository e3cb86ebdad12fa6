"""Stages of latents: how long a piece is, who sets the pace, the stream, and filling gaps with the tiny models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Latents, Waveform
from speechgen.models.autoencoders.vae.config import VAEConfig
from speechgen.models.autoencoders.vae.generate import VAEGenerator
from speechgen.pipeline.editing import Editor
from speechgen.pipeline.edits import at_span
from speechgen.pipeline.fillers import LIKELY, filler_for, usual_options
from speechgen.pipeline.hearing import HEARD_SHARE, count_phones, phones_in
from speechgen.pipeline.latent_stages import PACE_LIMITS, MelStream, pace_of
from speechgen.pipeline.pipeline import Pipeline
from speechgen.service.engine import Engine
from speechgen.service.evaluate_lengths import measure_lengths
from speechgen.text.vocabulary import ENGLISH
from tests.models.systems import build
from tests.tiny import RATE, save_checkpoint, voice_like

TEXT = "The kitchen window looks out on a garden."


@pytest.fixture
def load(latent_home):
    return Engine("cpu").load


def refer(pipeline: Pipeline, seconds: float = 3.0):
    return pipeline.reference(Waveform.single(voice_like(seconds), RATE))


def speak(pipeline: Pipeline, text: str = TEXT, seed: int = 0, **options):
    asked = options.pop("asked", None)
    return pipeline.speak(text, refer(pipeline), language="en-us", seed=seed, options=pipeline.options(asked, **options))


@pytest.mark.parametrize("name", ["ditar", "ardit"])
def test_a_text_is_spoken_and_the_same_seed_repeats_it(name, load):
    pipeline = load(name)
    first, same, other = (speak(pipeline, seed=seed).samples for seed in (1, 1, 2))
    assert torch.equal(first, same) and len(first) > RATE and not torch.equal(first, other)


def test_a_piece_takes_as_long_as_its_phones_do_at_the_pace_of_the_reference(load):
    pipeline, made = load("ardit"), []
    stages = pipeline.stages
    decode = stages.autoencoder.decode
    stages.autoencoder.decode = lambda latents: made.append(latents.values.shape[1]) or decode(latents)
    phones = phones_in(torch.tensor(ENGLISH.encode(pipeline.prepare("en-us")(TEXT))))
    for pace in (8.0, 12.0):
        reference = replace(refer(pipeline), pace=pace)
        pipeline.speak(TEXT, reference, language="en-us", seed=0, options=pipeline.options({"speed": 1.0}))
        assert made.pop() == round(phones / pace * stages.autoencoder.rate)
    pipeline.speak(TEXT, reference, language="en-us", seed=0, options=pipeline.options({"speed": 2.0}))
    assert made.pop() == pytest.approx(phones / 24 * stages.autoencoder.rate, abs=1)
    pipeline.speak(TEXT, reference, language="en-us", seed=0, options=pipeline.options({"speed": 2.0}, seconds=4.0))
    assert made.pop() == round(4.0 * stages.autoencoder.rate), "a duration is meant as it is given"


def test_sound_lasts_to_the_sample_as_long_as_asked_whole_and_streamed(load):
    """Two pieces share what is asked for, and none of it is trimmed."""
    pipeline = load("ardit")
    for seconds, text in ((1.1, TEXT), (9.3, "Hello there, all of you who came. " * 8)):
        options = pipeline.options(seconds=seconds)
        whole = pipeline.speak(text, refer(pipeline), language="en-us", seed=0, options=options)
        spans = pipeline.stream(text, refer(pipeline), language="en-us", seed=0, options=options, spans=True)
        for made in (whole.samples, torch.cat([chunk.samples for chunk in spans])):
            assert abs(len(made) - round(seconds * pipeline.stages.rate)) < len(whole.pieces)
    assert len(whole.pieces) > 1


def test_pauses_that_are_written_are_kept_and_count_as_part_of_what_is_asked(load):
    pipeline = load("ardit")
    rate, text = pipeline.stages.rate, "[pause:1] Hello there, all of you. [pause:2] Good morning to you all."
    made = speak(pipeline, text, seconds=8.0).samples
    assert abs(len(made) - 8 * rate) < 3
    second = rate + round(2.5 * rate)  # both pieces have 24 letters
    assert not made[:rate].any() and not made[second + 10 : second + 2 * rate - 10].any()
    assert made[rate : second - 200].abs().max() > 0 and made[second + 2 * rate + 200 :].abs().max() > 0
    with pytest.raises(UserError, match="pauses in the text alone last 3 s, and all of it shall last 2.5 s"):
        speak(pipeline, text, seconds=2.5)


@pytest.mark.parametrize("name", ["ditar", "ardit"])
@pytest.mark.parametrize("text", ["Oh.", "I.", "Hi.", "A"])
def test_a_word_of_one_phone_is_spoken_at_any_pace(name, text, load):
    pipeline = load(name)
    for pace, speed in ((7.0, 1.0), (15.0, 2.0)):
        reference = replace(refer(pipeline), pace=pace)
        spoken = pipeline.speak(text, reference, language="en-us", seed=0, options=pipeline.options({"speed": speed}))
        assert len(spoken.samples) > 0.1 * RATE


def test_a_piece_that_finds_no_end_is_spoken_again_or_told_where_it_is_streamed(load):
    pipeline = load("ditar")
    with torch.no_grad():
        pipeline.stages.text_to_latents.network.stop.bias.fill_(-50.0)
    pipeline.config = pipeline.config.model_copy(update={"max_tries": 3})
    assert any("without an end after 3 tries" in line for line in speak(pipeline).warnings)
    chunks = pipeline.stream(TEXT, refer(pipeline), language="en-us", seed=0, options=pipeline.options(), spans=True)
    assert any("without an end" in line for chunk in chunks for line in chunk.warnings)


def test_a_model_that_ends_by_itself_takes_no_duration(load):
    with pytest.raises(UserError, match="as long as its text takes"):
        load("ditar").options(seconds=3.0)


@pytest.mark.parametrize("name", ["ditar", "ardit"])
def test_streamed_sound_is_that_of_the_whole(name, load):
    """Latents, mel and samples come in the same numbers, whatever they are cut into."""
    pipeline = load(name)
    reference, options = refer(pipeline), pipeline.options()
    chunks = list(pipeline.stream(TEXT, reference, language="en-us", seed=3, options=options, spans=True))
    assert len(chunks) > 3 and [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    parts: list[torch.Tensor] = []
    stages = pipeline.stages
    render = stages.vocoder.generate
    stages.vocoder.generate = lambda mel, **asked: parts.append(mel.values) or render(mel, **asked)
    pipeline.speak(TEXT, reference, language="en-us", seed=3, options=options)
    streamed = torch.cat([chunk.samples for chunk in chunks])
    assert len(streamed) == pytest.approx(parts[0].shape[1] * 256, abs=0.5 * RATE)


def test_the_first_sound_comes_before_the_second_half_is_made(load):
    pipeline, made = load("ardit"), []
    read = pipeline.stages.text_to_latents.stream

    def counted(*arguments, **options):
        for part in read(*arguments, **options):
            made.append(part)
            yield part

    pipeline.stages.text_to_latents.stream = counted
    stream = pipeline.stream(TEXT, refer(pipeline), language="en-us", seed=3, options=pipeline.options(), spans=True)
    next(stream)
    total = round(1 / made[0].done)
    assert len(made) < total / 2


def test_a_mel_that_is_decoded_as_it_grows_is_that_of_the_whole():
    model = VAEGenerator(build("vae").network.eval(), VAEConfig.tiny())
    values = torch.randn(1, 30, model.width, generator=generator(0))
    whole = model.decode(Latents(values, torch.tensor([30]), model.rate)).values
    stream = MelStream(model)
    parts = [stream.push(part).values for part in values.split((1, 7, 2, 13, 7), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_what_an_autoencoder_did_not_make_is_refused(load, latent_home, tmp_path):
    other = save_checkpoint(tmp_path / "other-vae", "vae")
    (other / "config.json").write_text((other / "config.json").read_text().replace('"uses":{}', '"uses":{"a":"b"}') + "\n")
    text = (latent_home / "pipelines" / "ardit.yaml").read_text().replace("tiny-vae", str(other))
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(UserError, match="tiny-ardit was trained with latents of checkpoint"):
        load(str(tmp_path / "wrong.yaml"))


def test_the_pace_of_a_reference_is_heard_within_what_people_speak():
    class Recogniser:
        def phone_scores(self, audio):
            ids = torch.tensor([0, 5, 5, 0, 5, 7, 7, 0])
            return torch.nn.functional.one_hot(ids, 9).float()

    class Deaf:
        def phone_scores(self, audio):
            return None

    audio = Waveform.single(torch.zeros(RATE), RATE)
    assert count_phones(Recogniser(), audio) == pytest.approx(3 / HEARD_SHARE)
    assert count_phones(Deaf(), audio) is None
    assert pace_of(None, 3.0) is None and pace_of(36, 3.0) == 12
    assert (pace_of(3, 3.0), pace_of(100, 3.0)) == PACE_LIMITS


@pytest.mark.parametrize("span", [(1.0, 1.6), (0.0, 1.0), (3.6, 4.5)])
def test_gaps_are_filled_and_nothing_outside_is_touched(span, load):
    pipeline = load("ardit")
    filler = filler_for(pipeline, pipeline.options(), "en-us")
    editor = Editor(filler, pipeline.stages.tokenizer, pipeline.prepare("en-us"), torch.device("cpu"))
    samples = voice_like(4.5)[None]
    edited = editor.apply(samples, RATE, [at_span(*span, "good morning", 4.5)], seed=0)
    (region,) = edited.regions
    start, stop = int(region.start * RATE), int(region.stop * RATE)
    margin = int(0.05 * RATE)
    assert torch.equal(edited.samples[:, : max(0, start - margin)], samples[:, : max(0, start - margin)])
    behind = samples.shape[1] - stop - margin
    assert behind < 0 or torch.equal(edited.samples[:, edited.samples.shape[1] - behind :], samples[:, stop + margin :])


def test_editing_asks_of_the_models_what_is_usual_for_them(load):
    """Tokens are drawn near the likeliest, unless the pipeline's own temperature is set; other models do as ever."""
    tokens = load("tiny")
    assert usual_options(tokens) == {"temperature": LIKELY}
    tokens.config = tokens.config.model_copy(update={"semantic": {"temperature": 0.9}})
    assert usual_options(tokens) == {} == usual_options(load("ardit"))


def test_a_model_that_only_goes_forward_cannot_fill_gaps(load):
    pipeline = load("ditar")
    with pytest.raises(UserError, match="cannot fill a gap"):
        filler_for(pipeline, pipeline.options(), "en-us")


def test_copies_can_be_made_through_latents(latent_home):
    """As long as those of the vocoder alone, and its very copy where the autoencoder loses nothing."""
    engine, audio = Engine("cpu"), Waveform.single(voice_like(1.3), RATE)
    plain, coded = (engine.copy(audio, name) for name in ("tiny-vocoder", "tiny-vae+tiny-vocoder"))
    assert plain.samples.shape == coded.samples.shape and not torch.equal(plain.samples, coded.samples)
    model, _ = engine.load_vocoder("tiny-vae+tiny-vocoder")
    model._autoencoder.encode, model._autoencoder.decode = (lambda mel: mel), (lambda mel: mel)
    assert torch.equal(engine.copy(audio, "tiny-vae+tiny-vocoder").samples, plain.samples)
    with pytest.raises(UserError, match="before the . belongs an autoencoder"):
        engine.load_vocoder("tiny-vocoder+tiny-vocoder")


def test_lengths_are_compared_with_those_that_are_expected(latent_home, tmp_path, capsys):
    """A model of given lengths ends all texts properly; one that never ends is stopped by its bound, and told as too long."""
    reference = latent_home / "voices" / "buzz.wav"
    exact = measure_lengths(Engine("cpu"), "ardit", [TEXT, "Good morning."], [reference])
    assert exact.ratios == (1.0, 1.0) and exact.proper == 1
    engine = Engine("cpu", ["text_to_latents.stop_at=0.9999", "text_to_latents.longest=2.5"])
    endless = measure_lengths(engine, "ditar", [TEXT, "Good morning."], [reference])
    assert endless.proper == 0 and all(ratio == pytest.approx(2.5, abs=0.3) for ratio in endless.ratios)
    assert "| 2 | 0.000 | 0 | 2 |" in endless.table()
    with pytest.raises(UserError, match="makes no latents"):
        measure_lengths(Engine("cpu"), "tiny", [TEXT], [reference])
    sentences = tmp_path / "sentences.txt"
    sentences.write_text(TEXT)
    asked = [
        "eval",
        "lengths",
        "--pipeline",
        "ardit",
        "--sentences",
        str(sentences),
        "--ref",
        str(reference),
        "-q",
        "--device",
        "cpu",
    ]
    assert run(asked) == 0 and "| 1 | 1.000 |" in capsys.readouterr().out
