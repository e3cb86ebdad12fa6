"""Long pieces window by window, decoding in pieces, loudness."""

from __future__ import annotations

import math

import pytest
import torch
from torchaudio.functional import resample

from speechgen.audio.loudness import integrated_loudness
from speechgen.pipeline.music import decode_long, generate_long, master
from tests.music import HOP, RATE, SIZE, Options, counting_maker


def make(frames, *, overlap=30, seed=1, max_frames=100):
    stages = counting_maker(max_frames).stages
    told = []
    made = generate_long(
        stages, "a bell", frames, overlap=overlap, options=Options(), seed=seed, progress=lambda *a: told.append(a)
    )
    return stages, made, told


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 170, 171, 1000])
def test_windows_continue_what_was_made_and_none_is_asked_for_too_much(frames):
    stages, made, told = make(frames)
    assert made.ids.shape == (1, 2, frames) and made.lengths.tolist() == [frames]
    assert (made.ids.diff(dim=-1) % SIZE == 1).all()  # each code counts on from the one before, at the seams too
    windows = stages.model.asked
    assert len(windows) == 1 + max(0, math.ceil((frames - 100) / 70))
    assert windows[0][1] == 0 and all(known >= 30 for _, known, _ in windows[1:])
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_last_window_hears_all_that_it_has_room_for():
    stages, _, _ = make(110)
    assert stages.model.asked[-1][1:] == (90, 10)


def test_the_same_seed_gives_the_same_codes():
    assert torch.equal(make(150)[1].ids, make(150)[1].ids)
    assert any(not torch.equal(make(150, seed=1)[1].ids, make(150, seed=s)[1].ids) for s in (2, 3))


def test_decoding_in_pieces_is_decoding_at_once():
    stages, made, _ = make(3000)
    whole = stages.codec.decode(made).samples[0]
    stages.codec.longest = 0
    pieces = decode_long(stages.codec, made)
    assert torch.equal(pieces, whole) and len(pieces) == 3000 * HOP
    assert stages.codec.longest <= 22 * RATE / HOP


def tone(hertz: float, level: float, seconds: float = 5.0, rate: int = 48000) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [48000, 44100, 24000])
def test_loudness_is_that_of_the_standard(rate):
    """BS.1770: a full-scale sine of 997 Hz in one channel is -3.01 LUFS; EBU Tech 3341: gates leave quiet parts out."""
    assert integrated_loudness(tone(997, 1.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert integrated_loudness(tone(997, 0.1, rate=rate), rate) == pytest.approx(-23.01, abs=0.05)
    halves = torch.cat([tone(997, 0.1, 10, rate), tone(997, 0.001, 10, rate), torch.zeros(10 * rate)])
    assert integrated_loudness(halves, rate) == pytest.approx(-23.01, abs=0.1)


def test_low_sounds_count_less_and_silence_is_minus_infinity():
    assert integrated_loudness(tone(30, 0.5), 48000) < integrated_loudness(tone(997, 0.5), 48000) - 5
    assert integrated_loudness(tone(4000, 0.5), 48000) > integrated_loudness(tone(997, 0.5), 48000) + 2
    assert integrated_loudness(torch.zeros(48000), 48000) == -math.inf
    assert integrated_loudness(torch.zeros(10), 48000) == -math.inf


def test_a_master_has_its_loudness_and_its_peaks_below_the_limit():
    bursts = torch.randn(10 * RATE, generator=torch.Generator().manual_seed(0)) * 0.02
    bursts[::4001] = 1.0
    made = master(bursts, RATE)
    assert integrated_loudness(made, RATE) == pytest.approx(-14, abs=0.5)
    assert resample(made, RATE, 4 * RATE).abs().max() <= 10 ** (-0.9 / 20)
    quiet = master(tone(440, 0.01, rate=RATE), RATE)
    assert integrated_loudness(quiet, RATE) == pytest.approx(-14, abs=0.2)
    assert torch.equal(master(torch.zeros(RATE), RATE), torch.zeros(RATE))
