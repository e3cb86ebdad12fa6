"""SaShiMi: published sizes, causality, stepping, likelihood."""

from __future__ import annotations

import itertools

import pytest
import torch

from speechgen.audio.quantize import bits_per_sample
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.models.waveform.sashimi import SPEC
from speechgen.models.waveform.sashimi.config import SashimiConfig, SashimiObjectiveConfig
from speechgen.models.waveform.sashimi.model import Sashimi

VARIANTS = {
    "unet": {},
    "plain": {"unet": False, "glu": False},
    "s4": {"unet": False, "kernel": "s4", "shared": True},
    "real": {"kernel": "real"},
    "one-scale": {"pools": (3,)},
}
ROWS = pytest.mark.parametrize("rows", [2, 9], ids=["one-by-one", "group"])
every_variant = pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)


def tiny(change, dtype=torch.float32) -> Sashimi:
    torch.manual_seed(0)
    return Sashimi(SashimiConfig.tiny().model_copy(update=change)).to(dtype).eval()


def levels(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("depth", "millions"), [(2, 1.29), (4, 2.22), (6, 3.14), (8, 4.07)])
def test_presets_have_the_published_sizes(depth, millions):
    with torch.device("meta"):
        network = Sashimi(SashimiConfig.published(depth))
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


@every_variant
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["float32", "float64"])
def test_stepping_is_the_convolution_at_every_rate(change, dtype, bound):
    network, given = tiny(change, dtype), levels(2, 101)
    with torch.inference_mode():
        expected = network(given)
        recurrences, state = network.backbone.recurrences(), network.backbone.start(2)
        past, out = torch.full((2,), 128), []
        for t in range(101):
            out.append(network.head(network.backbone.step(network.embedding(past), state, recurrences)))
            past = given[:, t]
    assert (torch.stack(out, 1) - expected).abs().max() < bound


@every_variant
@pytest.mark.parametrize("t", [0, 3, 7, 8, 15, 16, 17, 63])
def test_a_sample_changes_what_comes_after_it_alone(change, t):
    """At pooling boundaries, too: without the shift of one step the future would leak there."""
    network, given = tiny(change, torch.float64), levels(1, 80)
    changed = given.clone()
    changed[0, t] = (changed[0, t] + 90) % 256
    with torch.inference_mode():
        difference = (network(changed) - network(given)).abs().amax(-1)[0]
    assert difference[: t + 1].max() < 1e-12 < 1e-5 < difference[t + 1]


@ROWS
def test_what_is_drawn_step_by_step_has_the_likelihood_of_the_parallel_pass(rows):
    """Compiled steps, steps in torch and all at once; also with S4's rank-one part. Two scales alone: others compile anew."""
    for change in list(VARIANTS.values())[:-1]:
        config = SashimiConfig.tiny().model_copy(update=change)
        network = tiny(change)
        model = SPEC.generator(network, config)
        drawn = {}
        for engine in ("fused", "eager"):
            sampler = model.samplers(engine, rows)
            known = torch.full((60, rows), -1).numpy()
            sampler.run(known, torch.rand(60, rows, generator=generator(3)).numpy(), 0.9, 0.95)
            drawn[engine] = (known.tolist(), torch.from_numpy(sampler.bits))
        assert drawn["fused"][0] == drawn["eager"][0]
        given = torch.tensor(drawn["fused"][0]).T
        with torch.inference_mode():
            logits = network(given)
        pairs = zip(logits.split(1), given.split(1), strict=True)
        expected = [60 * bits_per_sample(*pair, torch.tensor([60])) for pair in pairs]
        for _, bits in drawn.values():
            torch.testing.assert_close(bits, torch.stack(expected).double(), rtol=1e-5, atol=1e-3)


def test_the_probabilities_of_all_continuations_sum_to_one():
    """All 256^2 pairs behind the same beginning, each computed on its own."""
    network = tiny({"pools": (2,)})
    total = 0.0
    beginning = torch.tensor([[5, 77, 140]])
    with torch.inference_mode():
        for first in range(0, 256, 32):
            pairs = torch.tensor(list(itertools.product(range(first, first + 32), range(256))))
            rows = torch.cat((beginning.expand(len(pairs), -1), pairs), 1)
            logs = network(rows).log_softmax(-1).gather(-1, rows[..., None])[:, 3:, 0].sum(1)
            total += logs.double().exp().sum().item()
    assert total == pytest.approx(1, abs=1e-5)


def test_padding_and_its_contents_do_not_change_the_loss_and_a_tail_is_learnt():
    network = tiny({})
    audio = 0.1 * torch.randn(2, 2400, generator=torch.Generator().manual_seed(0))

    def loss(length: int, padding: float, tail: float = 0.0) -> float:
        padded = torch.nn.functional.pad(audio, (0, length - 2400), value=padding)
        padded[1, 1200:] = padding
        objective = SPEC.objective(network, SashimiConfig.tiny(), SashimiObjectiveConfig(tail_seconds=tail))
        batch = Batch({"audio": padded}, {"audio": torch.tensor([2400, 1200])})
        return objective.validate(batch, generator(0))["loss"].item()

    # The filter that resamples sees some 10 samples of what lies behind the end.
    assert loss(3000, 0.0) == pytest.approx(loss(2400, 0.0), rel=1e-5)
    assert loss(3000, 0.0, tail=0.02) != pytest.approx(loss(3000, 0.0), rel=1e-4)


def test_sizes_that_cannot_be_are_one_clear_line():
    for content, said in (({"state_size": 7}, "state_size must be even"), ({"pools": [1]}, "pools at least 2")):
        with pytest.raises(UserError, match=said):
            validate(SashimiConfig, content, "recipe")
    with pytest.raises(UserError, match="mu-law"):
        validate(SashimiConfig, {"quantizer": "a-law"}, "recipe")
