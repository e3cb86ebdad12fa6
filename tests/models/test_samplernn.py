"""SampleRNN: published sizes, causality, carried state, likelihood."""

from __future__ import annotations

import pytest
import torch

from speechgen.audio.quantize import bits_per_sample
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.models.waveform.samplernn import SPEC
from speechgen.models.waveform.samplernn.config import SampleRnnConfig, SampleRnnObjectiveConfig
from speechgen.models.waveform.samplernn.model import SampleRnn

TIERS = {"two": (4, 2), "three": (4, 2, 3), "one": (5,)}

ROWS = pytest.mark.parametrize("rows", [2, 9], ids=["one-by-one", "group"])


def tiny(frame_sizes=(4, 2)) -> SampleRnn:
    torch.manual_seed(0)
    network = SampleRnn(SampleRnnConfig.tiny().model_copy(update={"frame_sizes": frame_sizes})).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.2 * torch.randn_like(value))
    return network


def levels(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("preset", "size"), [("three_tiers", 35_026_176), ("two_tiers", 51_842_304)])
def test_presets_have_the_published_sizes(preset, size):
    """Without the gains of weight normalisation, which that count leaves out."""
    with torch.device("meta"):
        network = SampleRnn(getattr(SampleRnnConfig, preset)())
    assert sum(p.numel() for name, p in network.named_parameters() if not name.endswith("original0")) == size


@pytest.mark.parametrize("frames", TIERS.values(), ids=TIERS)
def test_chunks_with_carried_state_are_the_whole(frames):
    network, given = tiny(frames), levels(2, 203)
    chunk = 2 * network.lookback
    with torch.inference_mode():
        expected, state, parts = network(given)[0], None, []
        for start in range(0, 203, chunk):
            logits, state = network(given[:, start : start + chunk], state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), expected)


@pytest.mark.parametrize("frames", TIERS.values(), ids=TIERS)
@pytest.mark.parametrize("t", [0, 3, 4, 7, 8, 15, 23, 24])
def test_a_sample_changes_what_comes_after_it_alone(frames, t):
    network, given = tiny(frames), levels(1, 60)
    changed = given.clone()
    changed[0, t] = (changed[0, t] + 90) % 256
    with torch.inference_mode():
        difference = (network(changed)[0] - network(given)[0]).abs().amax(-1)[0]
    assert difference[: t + 1].max() == 0 < difference[t + 1]


def test_memory_reaches_further_back_than_the_frames_because_of_the_recurrent_layers_alone():
    network, given = tiny(), levels(1, 120)
    changed = given.clone()
    changed[0, 0] = (changed[0, 0] + 90) % 256
    with torch.inference_mode():
        assert (network(changed)[0] - network(given)[0])[0, 80:].abs().max() > 0
        for tier in network.tiers:
            for value in tier.rnn.parameters():
                value.zero_()
            tier.initial.zero_()
        assert (network(changed)[0] - network(given)[0])[0, 80:].abs().max() == 0


def test_the_first_state_learns_from_the_first_chunk_alone_and_gradients_end_between_chunks():
    network, config = tiny().train(), SampleRnnConfig.tiny().model_copy(update={"frame_sizes": TIERS["two"]})
    objective = SPEC.objective(network, config, SampleRnnObjectiveConfig(chunk_samples=100))
    audio = 0.1 * torch.randn(2, 1200, generator=torch.Generator().manual_seed(0))
    batch = Batch({"audio": audio}, {"audio": torch.tensor([1200, 500])})
    gradients = []
    for update in objective.updates(batch, 0, generator(0)):
        network.zero_grad()
        update.loss.backward()  # would fail at the second if the graph of the first were part of it
        gradients.append(network.tiers[0].initial.grad.abs().max().item())
    assert objective.chunk == 104 and len(gradients) == 8  # 800 samples at 16 kHz
    assert gradients[0] > 0 and max(gradients[1:]) == 0


def test_chunks_of_training_have_the_loss_of_the_whole():
    network, config = tiny(), SampleRnnConfig.tiny().model_copy(update={"frame_sizes": TIERS["two"]})
    objective = SPEC.objective(network, config, SampleRnnObjectiveConfig(chunk_samples=200))
    batch = Batch({"audio": 0.1 * torch.randn(1, 1200)}, {"audio": torch.tensor([1200])})
    with torch.no_grad():
        parts = [update.loss.item() for update in objective.updates(batch, 0, generator(0))]
        assert len(parts) == 4 and sum(parts) / 4 == pytest.approx(objective.validate(batch, generator(0))["loss"].item())


@ROWS
def test_what_is_drawn_step_by_step_has_the_likelihood_of_the_parallel_pass(rows):
    for frames in TIERS.values():
        config, network = SampleRnnConfig.tiny().model_copy(update={"frame_sizes": frames}), tiny(frames)
        model = SPEC.generator(network, config)
        drawn = {}
        for engine in ("fused", "eager"):
            sampler = model.samplers(engine, rows)
            known = torch.full((60, rows), -1).numpy()
            with torch.inference_mode():
                sampler.run(known, torch.rand(60, rows, generator=generator(3)).numpy(), 0.9, 0.95)
            drawn[engine] = (known.tolist(), torch.from_numpy(sampler.bits))
        assert drawn["fused"][0] == drawn["eager"][0]
        given = torch.tensor(drawn["fused"][0]).T
        with torch.inference_mode():
            logits = network(given)[0]
        pairs = zip(logits.split(1), given.split(1), strict=True)
        expected = [60 * bits_per_sample(*pair, torch.tensor([60])) for pair in pairs]
        for _, bits in drawn.values():
            torch.testing.assert_close(bits, torch.stack(expected).double(), rtol=1e-5, atol=1e-3)
