"""Tables of codes that begin with a codec's vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from speechgen.core.random import generator
from speechgen.nn.codes import CodeEmbedding, CodeHeads, tables_from_codec
from speechgen.training.run import warm_start
from tests.models.systems import build

BOOKS, SIZE, WIDTH = 2, 64, 32


def begun(vectors: torch.Tensor) -> tuple[CodeEmbedding, CodeHeads]:
    codes, heads = CodeEmbedding(BOOKS, SIZE, WIDTH), CodeHeads(BOOKS, SIZE, WIDTH, bias=True)
    tables = tables_from_codec({"quantizer.vectors": vectors}, codes, heads)
    codes.load_state_dict({"weight": tables["codes.weight"]})
    heads.load_state_dict({"weight": tables["heads.weight"]}, strict=False)
    return codes, heads


def test_codes_that_sound_alike_begin_alike():
    vectors = torch.randn(3, SIZE, 8, generator=generator(0))
    vectors[1] *= 0.01  # a finer level is as large as a coarse one to the network
    codes, heads = begun(vectors)
    for level in range(BOOKS):
        ids = torch.arange(SIZE)[None, None]
        rows = codes(ids, [level])[0]
        for table in (rows, heads.weight[level * SIZE : (level + 1) * SIZE]):
            far, near = torch.cdist(table, table), torch.cdist(vectors[level], vectors[level])
            assert torch.corrcoef(torch.stack((far.flatten(), near.flatten())))[0, 1] > 0.8
        assert 0.5 < rows.std() * BOOKS**0.5 < 1.5


def test_what_stands_for_a_masked_code_stays():
    codes = CodeEmbedding(BOOKS, SIZE, WIDTH)
    before = codes.weight[SIZE].clone()
    heads = CodeHeads(BOOKS, SIZE, WIDTH, bias=False)
    tables = tables_from_codec({"quantizer.vectors": torch.randn(BOOKS, SIZE, 8)}, codes, heads)
    assert torch.equal(tables["codes.weight"][SIZE], before)


@pytest.mark.parametrize("shape", [(1, SIZE, 8), (BOOKS, SIZE + 1, 8)])
def test_a_codec_of_other_sizes_is_left_out(shape):
    codes, heads = CodeEmbedding(BOOKS, SIZE, WIDTH), CodeHeads(BOOKS, SIZE, WIDTH, bias=False)
    assert tables_from_codec({"quantizer.vectors": torch.randn(shape)}, codes, heads) == {}
    assert tables_from_codec({"weight": torch.randn(3)}, codes, heads) == {}


@pytest.mark.parametrize("name", ["soundstorm", "magnet"])
def test_training_begins_with_the_vectors_of_the_codec_that_is_given(name, tmp_path: Path):
    network = build(name).network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    books = network.config.num_codebooks
    save_file({"quantizer.vectors": torch.randn(books, network.config.codebook_size, 4)}, tmp_path / "model.safetensors")
    report = warm_start(network, tmp_path)
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == set(report.loaded) == {"codes.weight", "heads.weight"}
