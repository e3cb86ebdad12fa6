"""Pipelines that speak through codes: pieces and dialogues, and codecs that do not belong to the codes."""

from __future__ import annotations

import pytest
import torch

from speechgen.audio.spectrogram import corrected
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.pipeline import pipeline as pipelines
from speechgen.pipeline.codec_stages import CodecStages
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.stages import load_stages, read_config
from speechgen.pipeline.streaming import take
from tests.tiny import CODEC, RATE, SPEAKER, save_checkpoint, voice_like, write_codes

CPU = torch.device("cpu")


def load(home, name: str = "tiny-codes") -> Pipeline:
    config = read_config(home / "pipelines" / f"{name}.yaml")
    return Pipeline(load_stages(config, lambda checkpoint_name: home / "checkpoints" / checkpoint_name, CPU), config)


@pytest.fixture(scope="module")
def pipeline(tiny_home) -> Pipeline:
    return load(tiny_home)


def reference(pipeline: Pipeline, pitch: float = 120.0):
    return pipeline.reference(Waveform.single(voice_like(2.0, pitch=pitch), RATE))


def test_a_text_is_spoken_at_the_rate_of_the_codec_and_the_same_again(pipeline):
    assert isinstance(pipeline.stages, CodecStages) and pipeline.stages.rate == pipeline.stages.codec.sample_rate
    voice, options = reference(pipeline), pipeline.options({"steps": 2})
    one, same, other = (
        pipeline.speak("Hello there.", voice, language="en-us", seed=seed, options=options) for seed in (1, 1, 2)
    )
    assert one.rate == pipeline.stages.rate and one.samples.isfinite().all() and len(one.samples) > 0.1 * one.rate
    assert torch.equal(one.samples, same.samples) and not torch.equal(one.samples, other.samples)
    assert one.alignment and one.alignment[0].text == "Hello there."


def test_a_dialogue_is_made_in_generations_of_thirty_seconds(pipeline, monkeypatch):
    calls: list[int] = []
    together = CodecStages.together
    monkeypatch.setattr(CodecStages, "together", lambda self, tasks: (calls.append(len(tasks)), together(self, tasks))[1])
    voices = [reference(pipeline), reference(pipeline, 200.0)]
    texts, who = ["Hello there.", "Yes.", "Good day."], [voices[0], voices[1], voices[0]]
    options = pipeline.options({"steps": 2})

    def speak(seeds=(1, 2, 3)):
        return pipeline.converse(texts, who, language="en-us", seeds=seeds, options=options)

    made = speak()
    assert calls == [3] and [speech.pieces for speech in made] == [(text,) for text in texts]
    assert all(torch.equal(one.samples, two.samples) for one, two in zip(made, speak(), strict=True))
    assert not torch.equal(made[0].samples, speak((2, 2, 3))[0].samples)
    monkeypatch.setattr(pipelines, "TOGETHER_SECONDS", 5.5)
    calls.clear()
    speak()
    assert calls == [2, 1]
    third = [*voices, reference(pipeline, 300.0)]
    assert pipeline.converse(texts, third, language="en-us", seeds=[1, 2, 3], options=options) is None


def test_a_long_turn_and_one_with_a_pause_are_spoken_with_the_others(pipeline):
    voices, options = [reference(pipeline), reference(pipeline, 200.0)], pipeline.options({"steps": 2})
    texts = ["Hello there.", "One thing more, and another. " * 12, "Well, [pause:1] good day."]
    made = pipeline.converse(texts, [voices[0], voices[1], voices[0]], language="en-us", seeds=[1, 2, 3], options=options)
    rate = pipeline.stages.rate
    assert [len(speech.pieces) for speech in made] == [1, 6, 2] and " ".join(made[1].pieces) == texts[1].strip()
    first, second = made[2].alignment
    assert second.start > first.start + 1 and len(made[2].samples) > 1.1 * rate


def test_a_turn_that_is_faulty_is_spoken_again_alone(pipeline, monkeypatch):
    """Here it has no tokens at first."""
    made = CodecStages._tokens
    monkeypatch.setattr(
        CodecStages, "_tokens", lambda self, task: take(made(self, task), 0, 0) if task.seed == 2 else made(self, task)
    )
    voices, options = [reference(pipeline), reference(pipeline, 200.0)], pipeline.options({"steps": 2})
    first, second = pipeline.converse(["Hello there.", "Good day."], voices, language="en-us", seeds=[1, 2], options=options)
    alone = pipeline.speak("Good day.", voices[1], language="en-us", seed=3, options=options)
    assert not first.warnings and len(second.samples) > 0.1 * pipeline.stages.rate < len(alone.samples)


def test_a_codec_that_the_codes_are_not_of_is_refused(home):
    torch.manual_seed(7)
    folder = home / "checkpoints"
    info = checkpoint.read_info(folder / "tiny-codec")
    state = {
        key: value + 0.01 if value.is_floating_point() else value
        for key, value in checkpoint.load(folder / "tiny-codec").network.state_dict().items()
    }
    checkpoint.save(folder / "other-codec", info, state)
    write_codes(home, "other", codec="other-codec")
    with pytest.raises(
        UserError, match=f"tiny-speaker makes codes of the codec {CODEC}-.*, but other-codec is {CODEC}-.*choose the codec"
    ):
        load(home, "other")
    save_checkpoint(folder / "unnamed", SPEAKER, uses={"tokens": checkpoint.fingerprint(folder / "tiny-tokenizer")})
    write_codes(home, "unnamed", acoustic="unnamed")
    with pytest.raises(UserError, match="that it does not name"):
        load(home, "unnamed")


def test_mel_and_codes_are_not_mixed(home):
    write_codes(home, "mixed", acoustic="tiny-acoustic")
    with pytest.raises(UserError, match="tiny-codec renders CodecTokens, but tiny-acoustic gives a Mel: choose another codec"):
        load(home, "mixed")
    path = write_codes(home, "vocoder")
    path.write_text(path.read_text().replace("codec: tiny-codec", "vocoder: tiny-vocoder"), encoding="utf-8")
    with pytest.raises(UserError, match="but tiny-speaker gives a CodecTokens: choose another vocoder"):
        load(home, "vocoder")


@pytest.fixture
def rendered(home):
    """A pipeline whose codec codes a mel, by how far voices are matched."""
    folders = home / "checkpoints"
    codec = save_checkpoint(folders / "mel-codec", "mel_codec")
    uses = {"tokens": checkpoint.fingerprint(folders / "tiny-tokenizer"), "codes": checkpoint.load(codec).generator().identity}
    save_checkpoint(folders / "mel-speaker", SPEAKER, uses=uses)

    def load_with(match: float = 0.0) -> Pipeline:
        path = write_codes(home, "rendered", codec="mel-codec", acoustic="mel-speaker", vocoder="tiny-vocoder")
        path.write_text(path.read_text() + f"match: {match}\n", encoding="utf-8")
        return load(home, "rendered")

    return load_with


def test_a_vocoder_renders_the_mel_of_codes_and_the_voice_is_matched(rendered):
    plain, moved = rendered(), rendered(1.0)
    assert plain.stages.rate == plain.stages.mel.sample_rate and set(plain.stages.models) >= {"codec", "vocoder"}
    made = []
    for pipeline in (plain, moved):
        voice, options = reference(pipeline), pipeline.options({"steps": 2})
        made.append(pipeline.speak("Hello there.", voice, language="en-us", seed=1, options=options))
        assert (voice.match is None) == (pipeline is plain)
        assert made[-1].samples.isfinite().all() and len(made[-1].samples) > 0.1 * made[-1].rate
    assert not torch.equal(made[0].samples, made[1].samples)


def test_the_mel_of_codes_is_what_the_codec_renders(rendered):
    codec = rendered().stages.codec
    codes = codec.encode(Waveform.single(voice_like(1.0), RATE))
    mel = codec.decode_mel(codes)
    assert mel.values.shape[1] == int(mel.lengths[0]) == codec.config.frames * codes.ids.shape[2]
    end = torch.cat((mel.values, mel.values[:, -1:]), dim=1)
    with torch.inference_mode():
        made = corrected(codec.network.render(end), end, codec.mel, codec.config.corrections)[0]
    torch.testing.assert_close(codec.decode(codes).samples[0], made, rtol=0, atol=1e-5)


def test_a_vocoder_beside_a_codec_of_no_mel_is_refused(home):
    write_codes(home, "both", vocoder="tiny-vocoder")
    with pytest.raises(UserError, match="tiny-vocoder cannot render what tiny-codec codes: no mel. Leave the vocoder out"):
        load(home, "both")
