"""Measuring speed: every figure comes from what happened, and measuring leaves no traces."""

import json

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.service import bench, peers
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.tiny import write_codes

TEXTS = ("Hello there.", "A quiet garden is not far from here.")


@pytest.fixture
def requests(home):
    return [SynthesisRequest.checked({"text": text, "pipeline": "tiny"}) for text in TEXTS]


@pytest.fixture
def engine(home):
    return Engine("cpu")


def measure(engine, requests, **options):
    return bench.bench_synthesis(engine, requests, runs=2, **options)


def test_every_figure_is_there_and_the_stages_are_the_work(engine, requests):
    done = []
    report = measure(engine, requests, progress=lambda count, total: done.append((count, total)))
    assert (report.texts, report.runs, report.voice, report.device) == (2, 2, "buzz", "cpu")
    assert report.dtype == "float32" and report.torch == torch.__version__ and report.comparison is None
    assert 0 < report.speed.rtf.p50 <= report.speed.rtf.p95
    assert set(report.stages) == {"semantic", "acoustic", "vocoder", "rest"}
    assert all(seconds > 0 for seconds in report.stages.values())
    assert sum(report.stages.values()) == pytest.approx(report.speed.work_seconds, rel=0.6)
    assert (
        0 < report.first_audio_seconds.p50
        and report.load_seconds > 0
        and report.reference_seconds > 0
        and report.peak_memory_mb > 50
    )
    assert report.speed.parameters > 1000
    assert done == [(count, 8) for count in range(1, 9)]


def test_the_same_work_is_timed_that_the_engine_does(engine, requests, monkeypatch):
    """Reference: a stage that takes known time is charged with it, and with no other's."""
    stages = engine.load("tiny").stages
    clock = iter(range(10**6))
    monkeypatch.setattr(bench, "now", lambda device: float(next(clock)))
    with bench._timed(stages, torch.device("cpu")) as spent:
        engine.synthesize(requests[0].model_copy(update={"seed": 0}))
        assert spent == {"tokenizer": 1.0, "semantic": 1.0, "acoustic": 1.0, "vocoder": 1.0}


@pytest.mark.parametrize("pipeline", ["ditar", "ardit"])
def test_stages_of_latents_are_timed_while_they_give_part_after_part(latent_home, pipeline):
    asked = SynthesisRequest.checked({"text": TEXTS[0], "pipeline": pipeline})
    report = bench.bench_synthesis(Engine("cpu"), [asked], runs=1)
    assert set(report.stages) == {"text_to_latents", "autoencoder", "vocoder", "rest"}
    assert report.stages["text_to_latents"] > report.stages["rest"] and all(value > 0 for value in report.stages.values())


def test_a_stage_that_makes_codes_is_timed(home):
    write_codes(home, "coded")
    report = bench.bench_synthesis(Engine("cpu"), [SynthesisRequest.checked({"text": TEXTS[0], "pipeline": "coded"})], runs=1)
    assert set(report.stages) == {"semantic", "acoustic", "codec", "rest"} and report.stages["codec"] > 0


def test_measuring_leaves_stages_threads_and_sound_as_they_were(engine, requests):
    asked = requests[0].model_copy(update={"seed": 5})
    before, threads = engine.synthesize(asked).samples, torch.get_num_threads()
    measure(engine, requests[:1], threads=threads + 1)
    assert torch.get_num_threads() == threads
    stages = engine.load("tiny").stages
    assert not any("generate" in vars(stage) for stage in (stages.semantic, stages.acoustic, stages.vocoder))
    assert "encode" not in vars(stages.tokenizer)
    assert torch.equal(engine.synthesize(asked).samples, before)


def test_the_threads_that_were_asked_for_are_used_and_told(engine, requests):
    assert measure(engine, requests[:1], threads=1).threads == 1


@pytest.fixture
def small_vits(monkeypatch):
    """VITS of a hundredth of its size; everything but the widths is as published."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "flow_size": 16, "ffn_dim": 16, "spectrogram_bins": 33, "upsample_initial_channel": 32}
    small |= {"num_hidden_layers": 1, "prior_encoder_num_wavenet_layers": 1, "posterior_encoder_num_wavenet_layers": 1}
    config = transformers.VitsConfig
    monkeypatch.setattr(transformers, "VitsConfig", lambda: config(**small))


def test_the_other_system_makes_as_much_sound_from_the_same_texts(engine, requests, small_vits):
    engine.load("tiny")
    state = torch.random.get_rng_state()
    report = measure(engine, requests, compare="vits")
    assert report.comparison is not None and report.comparison.name == "vits"
    theirs = report.comparison.speed
    assert theirs.audio_seconds == pytest.approx(report.speed.audio_seconds, abs=0.02)
    assert theirs.rtf.p50 > 0 and "replaced by even ones" in report.comparison.how and "16 kHz" in report.comparison.how
    assert torch.equal(torch.random.get_rng_state(), state)
    assert json.loads(report.to_json())["comparison"]["speed"]["parameters"] == theirs.parameters


@pytest.mark.parametrize(("frames", "symbols"), [(275, 151), (60, 151), (10, 3)])
def test_durations_are_whole_even_and_as_long_as_asked(frames, symbols):
    logarithms = peers._lasting(frames, symbols, torch.device("cpu"))(torch.nn.Identity(), (), torch.zeros(1))
    durations = torch.ceil(torch.exp(logarithms))
    assert durations.shape == (1, 1, symbols) and int(durations.sum()) == frames
    assert durations.max() - durations.min() <= 1


def test_an_unknown_comparison_is_refused_before_anything_is_loaded(engine, requests, monkeypatch):
    monkeypatch.setattr(engine, "load", lambda name: pytest.fail("models were loaded"))
    with pytest.raises(UserError, match="allowed: vits"):
        measure(engine, requests, compare="bark")
