"""Vocoders side by side: what is counted is what is done, and measuring leaves no traces."""

import json
import sys

import pytest
import torch
from torch import nn

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.service import bench_vocoders, machine, peers
from speechgen.service.engine import Engine

CPU = torch.device("cpu")


def contender(render, network=None):
    return peers.Decoder("stand-in", "a stand-in", network or nn.Linear(3, 4), render)


def test_operations_are_those_of_the_layers():
    """Closed form: a convolution of 3 x 5 weights, 2 channels out, over 100 samples; a recurrent layer's matrices each step."""
    layers = nn.Conv1d(3, 2, 5, padding=2), nn.LSTM(4, 6)

    @torch.inference_mode()
    def render(seconds):
        layers[0](torch.zeros(1, 3, 100))
        layers[1](torch.zeros(10, 1, 4))
        return seconds

    expected = 100 * 2 * 3 * 5 + 10 * (4 * 6 * 4 + 4 * 6 * 6)
    assert bench_vocoders._count(contender(render), 0.5) == expected / 0.5


def test_time_memory_and_peak_are_joined_to_figures(monkeypatch):
    """Reference: a clock that ticks a second a look, rendering that takes one tick for four seconds of sound."""
    clock = iter(range(10**6))
    monkeypatch.setattr(bench_vocoders, "now", lambda device: float(next(clock)))
    monkeypatch.setattr(bench_vocoders, "gemm_peak", lambda device: 48.0)
    monkeypatch.setattr(bench_vocoders, "memory_added", lambda work, device: work() and 5_000_000)
    steps, weights = [], torch.ones(2, 6)

    def render(seconds):
        weights @ torch.ones(6, 8)
        return 4.0

    report = bench_vocoders._measure(CPU, [contender(render)], 4.0, 3, lambda: steps.append(1), ("gone",))
    speed = report.vocoders["stand-in"]
    assert (speed.rtf.p50, speed.rtf.p95, speed.macs, speed.memory_mb, speed.parameters) == (0.25, 0.25, 24, 5, 16)
    assert speed.gemm_share == pytest.approx(2 * 24 / 0.25 / 48)
    assert len(steps) == 5 and report.skipped == ("gone",) and report.threads == torch.get_num_threads()


def test_memory_is_what_work_takes_at_its_peak():
    """Reference: a block of 200 MB that is gone when the work ends."""
    added = machine.memory_added(lambda: torch.ones(50_000_000).sum(), CPU)
    if added is None:
        pytest.skip("this system does not tell")
    assert 190e6 < added < 300e6
    assert machine.memory_added(lambda: None, CPU) < 20e6


def test_the_peak_is_a_rate_that_this_machine_can_have():
    assert 1e8 < machine.gemm_peak(CPU) < 1e14


def test_threads_are_set_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), machine.using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError
    assert torch.get_num_threads() == before


@pytest.fixture
def small_peers(monkeypatch):
    """Other systems of a hundredth of their size; rates and ratios are as published."""
    transformers = pytest.importorskip("transformers")
    hifigan, encodec = transformers.SpeechT5HifiGanConfig, transformers.EncodecConfig

    def small_hifigan(**options):
        return hifigan(**options, upsample_initial_channel=16)

    monkeypatch.setattr(transformers, "SpeechT5HifiGanConfig", small_hifigan)
    monkeypatch.setattr(transformers, "EncodecConfig", lambda: encodec(num_filters=2, hidden_size=16, codebook_dim=16))
    return transformers


def test_peers_make_as_much_sound_as_asked_for(small_peers):
    state = torch.random.get_rng_state()
    for peer in (peers.hifigan(small_peers, CPU, MelSettings()), peers.encodec(small_peers, CPU)):
        assert peer.render(0.4) == pytest.approx(0.4, abs=0.02)
        assert "random weights" in peer.how
        assert not any(nn.utils.parametrize.is_parametrized(layer) for layer in peer.network.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_command_measures_all_in_one_run(home, small_peers, capsys):
    arguments = ["bench", "vocoders", "--vocoder", "tiny-vocoder", "--seconds", "0.3", "--runs", "2", "--threads", "1", "-q"]
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["tiny-vocoder", "hifigan", "encodec"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert "2 runs of 0.3 s in turns; GEMM peak" in lines[4] and "1 thread, torch" in lines[4]
    assert run([*arguments, "--json", "--no-peers"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["vocoders"]) == ["tiny-vocoder"] and found["vocoders"]["tiny-vocoder"]["macs"] > 1e5


def test_peers_are_skipped_with_a_line_when_their_package_is_missing(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    report = bench_vocoders.bench_vocoders(Engine("cpu"), ["tiny-vocoder"], seconds=0.2, runs=1)
    assert list(report.vocoders) == ["tiny-vocoder"]
    assert report.skipped[0].startswith("not measured, hifigan and encodec") and "pip install" in report.skipped[0]


def test_what_cannot_be_measured_is_refused(home):
    with pytest.raises(UserError, match="not a vocoder"):
        bench_vocoders.bench_vocoders(Engine("cpu"), ["tiny-acoustic"], with_peers=False)
    with pytest.raises(UserError, match="too little"):
        bench_vocoders.bench_vocoders(Engine("cpu"), ["tiny-vocoder"], seconds=0.01)
