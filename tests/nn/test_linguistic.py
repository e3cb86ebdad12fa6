"""Linguistic features of frames, against what one reads off a short row of labels."""

from __future__ import annotations

import torch

from speechgen.nn.linguistic import linguistic_features, num_linguistic_features

V = 6
LABELS = torch.tensor([[0, 3, 3, 3, 5, 5]])
PITCH = torch.tensor([[0.0, 150.0, 300.0, 75.0, 0.0, 0.0]])


def test_a_frame_says_its_phone_and_those_beside_it():
    made = linguistic_features(LABELS, PITCH, V)
    assert made.shape == (1, 6, num_linguistic_features(V)) == (1, 6, 24)
    phones = made[0, :, : 3 * V].unflatten(-1, (3, V))
    assert (phones.sum(-1) == 1).all()
    assert phones.argmax(-1).T.tolist() == [[0, 3, 3, 3, 5, 5], [0, 0, 0, 0, 3, 3], [3, 5, 5, 5, 0, 0]]


def test_a_frame_says_where_in_its_phone_it_is_and_how_long_that_is():
    since, until, share, length = linguistic_features(LABELS, PITCH, V)[0, :, 3 * V : 3 * V + 4].T
    torch.testing.assert_close((2 * since).expm1(), torch.tensor([0.0, 0, 1, 2, 0, 1]))
    torch.testing.assert_close((2 * until).expm1(), torch.tensor([0.0, 2, 1, 0, 1, 0]))
    torch.testing.assert_close(share, torch.tensor([0, 0, 1 / 3, 2 / 3, 0, 0.5]))
    torch.testing.assert_close((2 * length).exp(), torch.tensor([1.0, 3, 3, 3, 2, 2]))


def test_pitch_is_in_octaves_and_silent_where_unvoiced():
    octaves, voiced = linguistic_features(LABELS, PITCH, V)[0, :, -2:].T
    assert octaves.tolist() == [0, 0, 1, -1, 0, 0]
    assert voiced.tolist() == [0, 1, 1, 1, 0, 0]


def test_channels_that_are_too_many_are_zero():
    made = linguistic_features(LABELS, PITCH, V, 30)
    assert made.shape[-1] == 30 and not made[..., 24:].any()
    assert torch.equal(made[..., :24], linguistic_features(LABELS, PITCH, V))
