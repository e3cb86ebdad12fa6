"""Building blocks: shapes, indifference to padding, and each against a slow or obvious form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.attention import SelfAttention
from speechgen.nn.conformer import Conformer
from speechgen.nn.convnext import ConvNeXtBlock
from speechgen.nn.discriminators import WaveformDiscriminator
from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.masks import masked_mean, valid_mask
from speechgen.nn.positions import rotary_angles, rotate
from speechgen.nn.transformer import TransformerBlock

CPU = torch.device("cpu")
LENGTHS = torch.tensor([7, 4])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_valid_mask_is_true_below_the_length():
    assert valid_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_masked_mean_is_the_mean_of_what_is_real():
    values = torch.randn(2, 3, 4)
    values[1, 2] = 1e9
    mask = valid_mask(torch.tensor([3, 2]), 3)
    torch.testing.assert_close(masked_mean(values, mask), values[mask].mean())
    assert masked_mean(values, torch.zeros(2, 3, dtype=torch.bool)) == 0


def test_rotation_keeps_norms_and_products_depend_on_the_distance_alone():
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    angles = rotary_angles(30, 8, CPU)
    turned_q, turned_k = rotate(q.expand(-1, -1, 30, -1), angles), rotate(k.expand(-1, -1, 30, -1), angles)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm(dim=-1).expand(-1, -1, 30))
    products = (turned_q @ turned_k.transpose(-1, -2))[0, 0]  # [30, 30]
    for distance in (-9, 0, 1, 20):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(products.diagonal(1)[0], products.diagonal(2)[0])


def test_rotation_turns_neighbouring_features_as_complex_numbers():
    x, angles = torch.randn(1, 2, 5, 6), rotary_angles(5, 6, CPU)
    turned = torch.view_as_complex(x.unflatten(-1, (3, 2))) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(rotate(x, angles), torch.view_as_real(turned).flatten(-2))
    assert rotate(x.bfloat16(), angles).dtype == torch.bfloat16


def test_attention_equals_the_written_out_formula():
    layer, x, angles = SelfAttention(12, 3), torch.randn(2, 5, 12), rotary_angles(5, 4, CPU)
    q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in layer.qkv(x).chunk(3, dim=-1))
    weights = (rotate(q, angles) @ rotate(k, angles).transpose(-1, -2) / math.sqrt(4)).softmax(-1)
    expected = layer.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, torch.ones(2, 5, dtype=torch.bool), angles), expected)


@pytest.mark.parametrize(("width", "heads"), [(10, 3), (6, 2)])
def test_attention_refuses_heads_that_cannot_be_rotated(width, heads):
    with pytest.raises(ValueError, match="heads"):
        SelfAttention(width, heads)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = SelfAttention(8, 2)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return self.layer(x, valid, rotary_angles(x.shape[1], 4, CPU))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = TransformerBlock(8, 2, 2)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return self.layer(x, valid, rotary_angles(x.shape[1], 4, CPU))


SEQUENCE_BLOCKS = pytest.mark.parametrize(
    "block", [Attention, Transformer, lambda: Conformer(8, 2, 2, 2, 3)], ids=["attention", "transformer", "conformer"]
)


@SEQUENCE_BLOCKS
def test_padding_and_what_is_in_it_change_nothing(block):
    network, x = block().eval(), torch.randn(2, 7, 8)
    together = network(x, valid_mask(LENGTHS, 7))
    assert together.shape == x.shape
    for row, size in enumerate(LENGTHS.tolist()):
        alone = network(x[row : row + 1, :size], torch.ones(1, size, dtype=torch.bool))
        torch.testing.assert_close(together[row, :size], alone[0])
    x[1, 4:] = 1e3
    torch.testing.assert_close(network(x, valid_mask(LENGTHS, 7))[1, :4], together[1, :4])


@SEQUENCE_BLOCKS
def test_positions_matter(block):
    network, x = block().eval(), torch.randn(1, 7, 8)
    valid = torch.ones(1, 7, dtype=torch.bool)
    assert not torch.allclose(network(x, valid).flip(1), network(x.flip(1), valid), atol=1e-3)


def test_a_conformer_can_stop_after_any_block():
    network, x, valid = Conformer(8, 2, 2, 2, 3).eval(), torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    first = network(x, valid, depth=1)
    assert not torch.allclose(first, network(x, valid))
    torch.testing.assert_close(network.blocks[1](first, valid, rotary_angles(5, 4, CPU)), network(x, valid))


def test_convnext_equals_its_formula_and_keeps_the_shape():
    block, x = ConvNeXtBlock(4, 8, layer_scale=0.5), torch.randn(2, 4, 9)
    y = F.conv1d(x, block.dwconv.weight, block.dwconv.bias, padding=3, groups=4).transpose(1, 2)
    y = F.layer_norm(y, (4,), block.norm.weight, block.norm.bias, 1e-6)
    y = F.linear(F.gelu(F.linear(y, block.pwconv1.weight, block.pwconv1.bias)), block.pwconv2.weight, block.pwconv2.bias)
    torch.testing.assert_close(block(x), x + 0.5 * y.transpose(1, 2))


def test_time_embedding_tells_times_apart():
    embedded = TimeEmbedding(16)(torch.linspace(0, 1, 50))
    assert embedded.shape == (50, 16)
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(50)
    assert distances.min() > 1e-3


def test_discriminators_judge_rows_apart_and_ignore_the_level():
    judge = WaveformDiscriminator((2, 3), (4, 8), (256,), 4)
    samples = torch.randn(2, 2001)
    together = judge(samples)
    assert [len(family) for family in together] == [2, 1]
    alone = judge(samples[1:])
    for both, one in zip(sum(together, []), sum(alone, []), strict=True):
        torch.testing.assert_close(both.scores[1:], one.scores, rtol=1e-4, atol=1e-5)
    louder = judge(2 * samples)
    torch.testing.assert_close(together[1][0].scores, louder[1][0].scores, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0][0].scores, louder[0][0].scores)


def test_a_period_discriminator_sees_every_pth_sample_apart():
    """With kernels (5, 1) a column holds one phase: a change of one phase leaves the scores of the others."""
    judge = WaveformDiscriminator((3,), (4,), (256,), 4).periods.parts[0]
    samples = torch.randn(1, 300)
    changed = samples.clone()
    changed[:, 1::3] += 1
    before, after = (judge(x).scores.unflatten(1, (-1, 3)) for x in (samples, changed))
    torch.testing.assert_close(before[..., [0, 2]], after[..., [0, 2]])
    assert not torch.allclose(before[..., 1], after[..., 1])


def test_a_causal_conformer_sees_the_past_alone_and_goes_on_from_its_caches():
    network, x = Conformer(8, 2, 2, 2, 3, causal=True).eval(), torch.randn(2, 7, 8)
    valid = torch.ones(2, 7, dtype=torch.bool)
    whole = network(x, valid)
    changed = x.clone()
    changed[:, 4:] = 9
    torch.testing.assert_close(network(changed, valid)[:, :4], whole[:, :4])
    cache, parts = network.cache(7), []
    for start, stop in ((0, 3), (3, 5), (5, 6), (6, 7)):
        parts.append(network(x[:, start:stop], valid[:, start:stop], cache=cache))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cannot hold 8"):
        network(x[:, :1], valid[:, :1], cache=cache)
