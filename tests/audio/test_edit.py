"""Joins: where two sounds agree, how they are faded, how loud and where in the stereo picture."""

import pytest
import torch

from speechgen.audio.edit import LAG_SECONDS, cross_fade, lag_between, level_gain, projection

RATE = 16000


def noise(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lag", [-64, -5, 0, 17, 64])
def test_a_sound_is_found_where_it_was_moved_to(lag):
    sound = noise(2000)
    assert lag_between(sound[900:1100], sound, 900 - lag, RATE) == lag


def test_what_lies_further_away_or_is_silent_is_not_found():
    sound = torch.cat((torch.zeros(1000), noise(300), torch.zeros(1000)))
    assert abs(lag_between(noise(300), sound, 1000 - 200, RATE)) <= LAG_SECONDS * RATE
    assert lag_between(torch.zeros(300), sound, 1000, RATE) == 0
    assert lag_between(noise(300), torch.zeros(2000), 1000, RATE) == 0


def test_a_fade_between_equal_sounds_changes_nothing_and_between_others_keeps_the_power():
    same = noise(4000)[None]
    torch.testing.assert_close(cross_fade(same, same), same)
    other = noise(4000, 1)[None]
    faded = cross_fade(same, other)
    for part in faded[0].split(1000):
        assert float(part.square().mean()) == pytest.approx(1.0, abs=0.15)
    assert float((faded[0, :40] - same[0, :40]).abs().max()) < 0.1
    assert float((faded[0, -40:] - other[0, -40:]).abs().max()) < 0.1


def test_a_fade_of_nothing_is_nothing():
    assert cross_fade(torch.zeros(2, 0), torch.zeros(2, 0)).shape == (2, 0)


def test_levels_are_matched_within_reason():
    sound = noise(1000)
    assert level_gain(sound, 0.8 * sound) == pytest.approx(1.25, rel=1e-4)
    assert level_gain(sound, 0.01 * sound) == pytest.approx(10**0.2)
    assert level_gain(torch.zeros(9), sound) == 1.0


def test_a_voice_keeps_its_place_between_the_channels():
    voice = noise(1000)
    channels = torch.stack((1.5 * voice, 0.5 * voice))
    torch.testing.assert_close(projection(channels, channels.mean(0)), torch.tensor([1.5, 0.5]))
    assert projection(torch.zeros(2, 10), torch.zeros(10)).tolist() == [1.0, 1.0]
