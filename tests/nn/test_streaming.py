"""A layer that reads a signal in chunks gives what it gives for the whole."""

from __future__ import annotations

import pytest
import torch

from speechgen.nn.streaming import LSTM, Stream, StreamingConv, StreamingConvTranspose

CHUNKS = (12, 4, 8, 3)  # multiples of the strides, but for the last


def in_chunks(layer: torch.nn.Module, signal: torch.Tensor) -> torch.Tensor:
    """The signal through the layer, chunk by chunk."""
    stream, made = Stream(), []
    pieces = signal.split(CHUNKS, dim=-1)
    for index, piece in enumerate(pieces):
        stream.last = index == len(pieces) - 1
        made.append(layer(piece, stream))
    return torch.cat(made, dim=-1)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 3), (1, 1, 1), (4, 2, 1), (8, 4, 1)])
def test_a_convolution_in_chunks_equals_the_whole(kernel, stride, dilation, mode):
    torch.manual_seed(0)
    layer = StreamingConv(2, 3, kernel, stride=stride, dilation=dilation, pad_mode=mode)
    signal = torch.randn(2, 2, sum(CHUNKS))
    whole = layer(signal)
    assert whole.shape[-1] == -(-signal.shape[-1] // stride)
    torch.testing.assert_close(in_chunks(layer, signal), whole)


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_a_transposed_convolution_in_chunks_equals_the_whole(stride):
    torch.manual_seed(0)
    layer = StreamingConvTranspose(2, 3, stride)
    signal = torch.randn(2, 2, sum(CHUNKS))
    whole = layer(signal)
    assert whole.shape[-1] == signal.shape[-1] * stride
    torch.testing.assert_close(in_chunks(layer, signal), whole)


def test_an_lstm_in_chunks_equals_the_whole():
    torch.manual_seed(0)
    layer, signal = LSTM(4, 2), torch.randn(2, 4, sum(CHUNKS))
    torch.testing.assert_close(in_chunks(layer, signal), layer(signal))


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_layer_is_blind_to_what_follows(causal):
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(
        [StreamingConv(2, 2, 4, stride=2, causal=causal), StreamingConvTranspose(2, 2, 2, causal=causal)]
    )
    signal = torch.randn(1, 2, 16)
    changed = signal.clone()
    changed[..., 8:] += 1
    first, second = (layers[1](layers[0](each)) for each in (signal, changed))
    assert torch.equal(first[..., :8], second[..., :8]) == causal
    assert not torch.equal(first[..., 8:], second[..., 8:])


def test_a_layer_that_sees_the_future_refuses_chunks():
    with pytest.raises(ValueError, match="sees the future"):
        StreamingConv(1, 1, 3, causal=False)(torch.zeros(1, 1, 8), Stream())


def test_a_norm_over_all_time_cannot_be_causal():
    with pytest.raises(ValueError, match="not causal"):
        StreamingConv(1, 1, 3, group_norm=True)


def test_a_signal_shorter_than_its_mirror_image_is_coded_all_the_same():
    layer = StreamingConv(1, 1, 7, pad_mode="reflect")
    assert layer(torch.randn(1, 1, 2)).shape == (1, 1, 2)
