"""Packed networks compute what the networks do, as exactly as their precision lets them."""

import copy

import pytest
import torch
from torch import nn

from speechgen.core.errors import UserError
from speechgen.models.text_to_mel.f5_tts.config import F5Config
from speechgen.models.text_to_mel.f5_tts.model import F5TTS
from speechgen.nn import packed
from speechgen.nn.packed import has_bfloat16, hasten, pack

CPU = torch.device("cpu")
HALVES = pytest.mark.skipif(not has_bfloat16(), reason="this CPU does not multiply bfloat16")


def network(**changes) -> F5TTS:
    torch.manual_seed(0)
    config = F5Config.tiny().model_copy(update={"width": 64, "num_heads": 4, **changes})
    made = F5TTS(config).eval()
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return made


@torch.inference_mode()
def velocity(made: F5TTS, t: torch.Tensor) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    noisy, visible = (torch.randn(2, 21, 100, generator=rng) for _ in range(2))
    text = torch.randint(0, 60, (2, 9), generator=rng)
    sizes = torch.tensor([9, 9]), torch.tensor([False, True]), t, torch.tensor([21, 21])
    return made(noisy, visible, text, *sizes).velocity


@pytest.mark.parametrize("changes", [{}, {"backbone": "unet", "text_layers": 0, "rotary_heads": 1}], ids=["dit", "unet"])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-5), pytest.param("bfloat16", 0.02, marks=HALVES), ("int8", 0.06)],
)
def test_a_packed_network_computes_the_same(changes, precision, tolerance):
    plain, t = network(**changes), torch.tensor([0.3, 0.3])
    wanted = velocity(plain, t)
    copied = copy.deepcopy(plain)
    hasten(copied, precision, CPU)
    assert not any(isinstance(layer, nn.Linear) for layer in copied.modules()), "nothing is left as it was"
    made = velocity(copied, t)
    error = float((made - wanted).norm() / wanted.norm())
    assert made.dtype == torch.float32 and error < tolerance
    assert precision == "float32" or error > 1e-4, "fewer bits are felt"


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch):
    """An emulated product would take a hundred times as long, or is refused by its kernel."""
    monkeypatch.setattr(packed, "has_bfloat16", lambda: False)
    plain, t = network(), torch.tensor([0.3, 0.3])
    wanted = velocity(plain, t)
    hasten(plain, "bfloat16", CPU)
    torch.testing.assert_close(velocity(plain, t), wanted, rtol=1e-5, atol=1e-5)


def test_no_sum_of_int8_products_overflows():
    """All inputs and weights as large as they get, of one sign: pairs of products are the largest of all."""
    linear = nn.Linear(64, 8, bias=False)
    with torch.no_grad():
        linear.weight.fill_(1.0)
    made = pack(nn.Sequential(linear), "int8")(torch.ones(3, 64))
    torch.testing.assert_close(made, torch.full((3, 8), 64.0), rtol=0.01, atol=0)


def test_one_flow_time_serves_all_rows():
    for changes in ({}, {"backbone": "unet", "text_layers": 0}):
        made = network(**changes)
        torch.testing.assert_close(velocity(made, torch.tensor([0.3])), velocity(made, torch.tensor([0.3, 0.3])))


def test_an_activation_is_computed_with_the_product_before_it():
    layers = nn.Sequential(nn.Linear(16, 32), nn.GELU("tanh"), nn.Linear(32, 8), nn.GELU(), nn.SiLU()).eval()
    x = torch.randn(3, 5, 16)
    wanted = layers(x)
    fused = pack(copy.deepcopy(layers))
    assert isinstance(fused[1], nn.Identity) and isinstance(fused[3], nn.Identity) and isinstance(fused[4], nn.SiLU)
    torch.testing.assert_close(fused(x), wanted, rtol=0, atol=1e-5)


def test_int8_leaves_the_quantised_backend_as_it_was():
    before = torch.backends.quantized.engine
    pack(nn.Sequential(nn.Linear(8, 8)), "int8")
    assert torch.backends.quantized.engine == before


def test_other_devices_take_half_precision():
    """No GPU is needed to see that the whole network works in bfloat16."""
    plain = network()
    half = copy.deepcopy(plain)
    hasten(half, "int8", torch.device("cuda"))
    assert half.symbols.weight.dtype == torch.bfloat16
    wanted, made = (velocity(each, torch.tensor([0.3])) for each in (plain, half))
    assert made.dtype == torch.float32 and float((made - wanted).norm() / wanted.norm()) < 0.05


def test_compiling_is_for_gpus_and_left_to_the_first_run(monkeypatch):
    asked = []
    monkeypatch.setattr(F5TTS, "compile", lambda self, mode: asked.append(mode))
    hasten(network(), "float32", torch.device("cuda"), compiled=True)
    assert asked == ["reduce-overhead"]
    with pytest.raises(UserError, match="compile is for GPUs, this pipeline runs on cpu"):
        hasten(network(), "float32", CPU, compiled=True)


@pytest.mark.parametrize("changes", [{}, {"backbone": "unet", "text_layers": 0, "rotary_heads": 1}], ids=["dit", "unet"])
@torch.inference_mode()
def test_one_evaluation_is_one_graph(changes):
    """What a GPU would compile has no break in it, the text being read beforehand."""
    made, (text, size) = network(**changes), (torch.ones(2, 9, dtype=torch.long), torch.tensor([9, 9]))
    mel, hidden, lengths = torch.randn(2, 21, 100), torch.tensor([False, True]), torch.tensor([21, 21])
    asked = (mel, 0.5 * mel, text, size, hidden, torch.tensor([0.3]), lengths, made.read(text, size, lengths, hidden))
    wanted = made(*asked)
    made.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(made(*asked), wanted)
