"""What every model folder promises. Found by the registry: a new folder is tested without an entry here."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import speechgen.models
from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import CodecTokens, Mel, Text, Waveform
from speechgen.data.batching import FIELDS
from tests.models.systems import (
    CODEBOOKS,
    CODEC,
    CODES,
    GENERATE,
    LATENT_RATE,
    LATENT_WIDTH,
    MEL,
    TOKEN_RATE,
    System,
    batch,
    build,
    codes,
    latents,
    mel,
    speech,
    tokens,
)

FILES = ("__init__", "config", "model", "objective", "generate")
STOCHASTIC = ("semantic", "acoustic", "text_to_mel", "text_to_codes", "text_to_latents", "waveform")

every_model = pytest.mark.parametrize("name", registry.names())


def of_role(*roles: str, codes: bool | None = None) -> Any:
    """Every model of these roles; `codes`: only those that produce codes, or only the others."""
    found = [name for name, role in registry.names().items() if role in roles]
    if codes is not None:
        found = [name for name in found if (registry.get(name).produces == "CodecTokens") == codes]
    return pytest.mark.parametrize("name", found)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_the_four_systems_are_found():
    assert len(registry.names()) >= 4
    assert set(registry.names().values()) == set(GENERATE)


@every_model
def test_a_folder_has_its_five_files_and_each_says_what_it_is(name):
    folder = Path(speechgen.models.__file__).parent / registry.names()[name] / name
    for file in FILES:
        assert len(ast.get_docstring(ast.parse((folder / f"{file}.py").read_text())) or "") > 10, file
    assert {path.stem for path in folder.glob("*.py")} == set(FILES)


@every_model
def test_the_spec_names_its_role_carriers_and_paper(name):
    spec = registry.get(name)
    assert spec.role == registry.names()[name] and spec.accepts and spec.produces and "20" in spec.paper
    assert all(field.description for field in (*spec.config.model_fields.values(), *spec.options.model_fields.values()))


@every_model
def test_the_default_sizes_can_be_built_and_are_larger_than_the_tiny_ones(name):
    spec = registry.get(name)
    default, tiny = spec.build(spec.config()), spec.build(spec.config.tiny())
    sizes = [sum(p.numel() for p in network.parameters()) for network in (default, tiny)]
    assert sizes[0] > 10 * sizes[1] and sizes[1] < 200_000
    assert list(default.state_dict())[:2] == list(tiny.state_dict())[:2]


@every_model
def test_building_from_a_seed_repeats(name):
    one, same = state_of(build(name).network), state_of(build(name).network)
    assert all(torch.equal(value, same[key]) for key, value in one.items())


@every_model
def test_objectives_train_the_parts_they_name(name):
    system = build(name)
    objective = system.objective()
    assert "network" in objective.parts and set(objective.fields) <= set(FIELDS)
    updates = list(objective.updates(batch(objective.fields), 0, generator(0)))
    assert {update.part for update in updates} == set(objective.parts)
    for update in updates:
        assert update.loss.dim() == 0 and update.loss.isfinite()
        assert all(value.dim() == 0 and not value.requires_grad for value in update.metrics.values())


@every_model
def test_every_parameter_of_a_part_gets_a_gradient(name):
    """Also what starts at zero: build() woke it. What an objective keeps as it is, it says so of."""
    objective = build(name).objective()
    for update in objective.updates(batch(objective.fields), 0, generator(0)):
        part = objective.parts[update.part]
        learnt = {key: value for key, value in part.named_parameters() if value.requires_grad}
        grads = torch.autograd.grad(update.loss, list(learnt.values()), allow_unused=True)
        unused = [key for key, grad in zip(learnt, grads, strict=True) if grad is None]
        assert not unused
        assert all(grad.isfinite().all() for grad in grads)


@every_model
def test_training_draws_from_the_given_generator_alone(name):
    losses = []
    for seed in (1, 1, 2):
        objective = build(name).objective()  # anew: codebooks move as they are used
        rows = batch(objective.fields)
        before = torch.get_rng_state()
        losses.append([u.loss.item() for u in objective.updates(rows, 0, generator(seed))])
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]


@every_model
def test_validation_and_samples_are_of_use_to_the_trainer(name):
    objective = build(name).objective()
    rows = batch(objective.fields)
    first, same = (objective.validate(rows, generator(3)) for _ in range(2))
    assert "loss" in first and all(value.dim() == 0 and value.isfinite() for value in first.values())
    assert first == same
    sample = objective.sample(rows, generator(3))
    assert sample.audio is None or sample.audio.dim() == 1
    assert sample.mel is None or sample.mel.shape[1:] == (MEL.num_bins,)
    can_be_shown = not {"audio", "mel", "reference", "latents"}.isdisjoint(objective.fields)
    assert (sample.audio is not None or sample.mel is not None) == can_be_shown


@every_model
def test_what_pads_a_batch_does_not_change_the_loss(name):
    """More padding and rubbish in it; crops of audio are never padded."""
    objective = build(name).objective()
    fields = tuple(field for field in objective.fields if field != "audio")
    if fields != tuple(objective.fields):
        pytest.skip("learns from crops, which are never padded")
    for part in objective.parts.values():
        part.eval()
    plain, padded = (objective.validate(batch(fields, padding), generator(3)) for padding in (0, 4))
    for key, value in plain.items():
        torch.testing.assert_close(padded[key], value, rtol=1e-4, atol=1e-5)


@every_model
def test_one_batch_can_be_learnt_by_heart(name):
    system = build(name)
    objective = system.objective()
    rows = batch(objective.fields)
    optimizers = {part: torch.optim.AdamW(network.parameters(), 1e-2) for part, network in objective.parts.items()}
    before = after = objective.validate(rows, generator(3))["loss"]
    for step in range(60):
        if step % 5 == 0 and (after := objective.validate(rows, generator(3))["loss"]) < 0.75 * before:
            return
        for update in objective.updates(rows, step, generator(step)):
            network = objective.parts[update.part]
            update.loss.backward(inputs=[each for each in network.parameters() if each.requires_grad])
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizers[update.part].step()
            optimizers[update.part].zero_grad()
    pytest.fail(f"loss {float(before):.3f} only fell to {float(after):.3f}")


@every_model
def test_a_saved_checkpoint_generates_the_same(name, tmp_path):
    system = build(name)
    spec = system.spec
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model=name,
        config=system.config.model_dump(mode="json"),
        accepts=spec.accepts,
        produces=spec.produces,
        mel=MEL,
    )
    checkpoint.save(tmp_path, info, system.network.state_dict(), dtype=torch.float32)
    loaded = checkpoint.load(tmp_path)
    again = System(name, loaded.spec, loaded.config, loaded.network)
    assert loaded.config == system.config
    assert torch.equal(again.generate(7), system.generate(7))


@every_model
def test_half_precision_weights_stay_finite(name):
    for value in build(name).network.state_dict().values():
        assert value.to(torch.float16).isfinite().all()


@every_model
def test_the_same_seed_generates_the_same_and_nothing_else_is_drawn(name):
    system = build(name)
    before = torch.get_rng_state()
    first, same, other = system.generate(1), system.generate(1), system.generate(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same) and not first.requires_grad
    if system.spec.role != "vocoders":  # some of them draw noise
        assert torch.equal(first, other) != (system.spec.role in STOCHASTIC)


@every_model
def test_generation_reports_its_progress_to_the_end(name):
    system, calls = build(name), []
    system.generate(progress=lambda done, total: calls.append((done, total)))
    if system.spec.role in ("tokenizers", "autoencoders", "codecs"):
        return  # too quick to report
    assert calls[-1][0] == calls[-1][1] and calls == sorted(calls)


@of_role("tokenizers")
def test_tokens_have_the_promised_rate_and_size_and_rows_do_not_see_each_other(name):
    system = build(name)
    tokenizer = system.spec.generator(system.network.eval(), system.config)
    audio = speech(0.9, 0.5, 0.31)
    together = tokenizer.encode(audio)
    assert together.ids.dtype == torch.int64 and together.size == tokenizer.size
    assert together.ids.min() >= 0 and together.ids.max() < together.size
    assert len(together.ids.unique()) > 1
    for row, length in enumerate(together.lengths.tolist()):
        alone = tokenizer.encode(Waveform.single(audio.samples[row, : audio.lengths[row]], audio.rate))
        assert alone.lengths[0] == length == alone.ids.shape[1]
        assert torch.equal(together.ids[row, :length], alone.ids[0])
        assert length == pytest.approx(float(audio.lengths[row]) / audio.rate * tokenizer.rate, abs=1)
    assert together.rate == tokenizer.rate == TOKEN_RATE


@of_role("semantic")
def test_generated_tokens_are_of_the_promised_alphabet(name):
    system = build(name)
    ids = system.generate()
    assert ids.shape[0] == 1 and ids.dtype == torch.int64 and ids.shape[1] > 0
    assert ids.min() >= 0 and ids.max() < system.config.num_tokens


@of_role("acoustic", codes=True)
def test_generated_codes_are_as_long_as_their_tokens_without_the_prompt_and_of_its_codec(name):
    system = build(name)
    assert system.generate().shape == (1, CODEBOOKS, 11) and 0 <= system.generate().min() <= system.generate().max() < CODES
    model = system.spec.generator(system.network.eval(), system.config)

    def speak(prompt: CodecTokens, count: int = 11) -> CodecTokens:
        return model.generate(tokens(count), prompt, tokens(8), options=system.spec.options(), rng=generator(0))

    made = speak(codes(7))
    assert (made.codec, made.rate, made.size, made.lengths.tolist()) == (CODEC, TOKEN_RATE, CODES, [11])
    assert speak(codes(0)).ids.shape == (1, CODEBOOKS, 11) and speak(codes(7), 0).ids.shape == (1, CODEBOOKS, 0)
    for other in ({"size": 1024}, {"rate": 75.0}, {"ids": codes(7).ids[:, :2]}):
        with pytest.raises(ValueError, match="choose the codec"):
            speak(replace(codes(7), **other))


@of_role("text_to_codes")
def test_described_codes_are_as_long_as_was_asked_behind_their_prompts_and_of_their_codec(name):
    system = build(name)
    model = system.spec.generator(system.network.eval(), system.config)
    assert (model.rate, model.size, model.num_codebooks) == (TOKEN_RATE, CODES, CODEBOOKS)

    def make(prompt: CodecTokens, frames: int, *described: str) -> CodecTokens:
        return model.generate(described, frames, prompt, options=system.spec.options(steps=2), rng=generator(0))

    for prompt, frames in ((codes(0, 0), 11), (codes(6, 6), 7), (codes(6, 6), model.max_frames - 6)):
        made = make(prompt, frames, "a slow waltz, 72 bpm", "")
        assert made.ids.shape == (2, CODEBOOKS, frames) and 0 <= made.ids.min() <= made.ids.max() < CODES
        assert (made.codec, made.rate, made.size, made.lengths.tolist()) == (CODEC, TOKEN_RATE, CODES, [frames] * 2)
    assert make(codes(0), 5, "word " * 1000).ids.shape == (1, CODEBOOKS, 5)
    for frames in (0, model.max_frames - 5):
        with pytest.raises(ValueError, match="frames"):
            make(codes(6), frames, "a tone")
    for other in ({"size": 1024}, {"rate": 75.0}, {"ids": codes(7).ids[:, :2]}):
        with pytest.raises(ValueError, match="choose the codec"):
            make(replace(codes(7), **other), 5, "a tone")


@of_role("acoustic", codes=False)
def test_generated_mels_are_as_long_as_their_tokens_and_without_the_prompt(name):
    values = build(name).generate()
    assert values.shape == (1, round(11 / TOKEN_RATE * MEL.frame_rate), MEL.num_bins)
    assert values.isfinite().all() and values.dtype == torch.float32


@of_role("text_to_mel")
def test_read_mels_are_as_long_as_was_asked_and_without_the_prompt(name):
    values = build(name).generate()
    assert values.shape == (1, 21, MEL.num_bins)
    assert values.isfinite().all() and values.dtype == torch.float32


@of_role("autoencoders")
def test_latents_have_the_promised_rate_and_size_and_become_as_many_frames(name):
    system = build(name)
    model = system.spec.generator(system.network.eval(), system.config)
    made = model.encode(mel(21, 9))
    assert made.values.shape == (2, -(-21 // model.frames), model.width) and made.rate == model.rate
    assert model.rate * model.frames == pytest.approx(MEL.frame_rate)
    assert system.generate().shape == (1, -(-22 // model.frames) * model.frames, MEL.num_bins)


@of_role("text_to_latents")
def test_streamed_latents_are_of_the_promised_width_and_the_last_part_says_so(name):
    system = build(name)
    model = system.spec.generator(system.network.eval(), system.config)
    asked = Text(torch.arange(20, 40)[None], torch.tensor([20]))
    options = system.spec.options(steps=2)
    parts = list(model.stream(asked, latents(7), asked, count=12, options=options, rng=generator(0)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 1
    assert all(part.values.shape[::2] == (1, LATENT_WIDTH) and part.values.isfinite().all() for part in parts)
    assert [part.done for part in parts] == sorted(part.done for part in parts) and parts[-1].done == 1
    assert model.rate == LATENT_RATE
    made = sum(part.values.shape[1] for part in parts)
    assert made == 12 if model.sets_duration else made > 0


@of_role("vocoders")
def test_rendered_audio_has_a_hop_between_frames_and_rows_do_not_see_each_other(name):
    system = build(name)
    vocoder = system.spec.generator(system.network.eval(), system.config)
    rows = mel(30, 12, 2)
    options = system.spec.options()
    together = vocoder.generate(rows, options=options, rng=generator(0))
    assert together.rate == MEL.sample_rate and together.lengths.tolist() == [(t - 1) * MEL.hop_samples for t in (30, 12, 2)]
    assert together.samples.shape == (3, 29 * MEL.hop_samples) and together.samples.abs().max() <= 1
    for row, frames in enumerate(rows.lengths.tolist()):
        alone = type(rows)(rows.values[row : row + 1, :frames], rows.lengths[row : row + 1], MEL)
        expected = vocoder.generate(alone, options=options, rng=generator(0)).samples[0]
        torch.testing.assert_close(together.samples[row, : len(expected)], expected, rtol=1e-4, atol=1e-5)


@of_role("waveform")
def test_drawn_waveforms_are_as_many_and_as_long_as_was_asked(name):
    system = build(name)
    model = system.spec.generator(system.network.eval(), system.config)
    options = system.spec.options()
    made = model.generate(3, 50, None, options=options, rng=generator(0))
    assert made.samples.shape == (3, 50) and made.lengths.tolist() == [50] * 3 and made.rate == model.sample_rate
    assert made.samples.abs().max() <= 1 and made.samples.dtype == torch.float32
    primed = model.generate(3, 50, speech(0.02), options=options, rng=generator(0))
    assert not torch.equal(primed.samples, made.samples)
    for count, samples in ((0, 50), (1, 0)):
        with pytest.raises(UserError, match="nothing to generate"):
            model.generate(count, samples, None, options=options, rng=generator(0))


@of_role("acoustic", "text_to_mel", "autoencoders", "vocoders", codes=False)
@pytest.mark.parametrize("other", [{"floor": 1e-7}, {"sample_rate": 22050}])
def test_a_mel_that_is_defined_differently_is_refused(name, other):
    system = build(name)
    changed = System(name, system.spec, system.config.model_copy(update={"mel": MEL.model_copy(update=other)}), system.network)
    with pytest.raises(ValueError, match="floor="):
        changed.generate()


@of_role("vocoders")
def test_a_mel_that_cannot_be_rendered_is_named_and_one_frame_is_no_sound(name):
    system = build(name)
    vocoder = system.spec.generator(system.network.eval(), system.config)

    def render(rows):
        return vocoder.generate(rows, options=system.spec.options(), rng=generator(0))

    rows = mel(4, 3)
    rows.values[1, 3] = torch.nan  # behind the end
    assert render(rows).samples.isfinite().all()
    rows.values[1, 2, 5] = torch.nan
    with pytest.raises(ValueError, match="row 1"):
        render(rows)
    with pytest.raises(ValueError, match="the mel given has .*floor"):
        render(Mel(mel(4).values, torch.tensor([4]), MEL.model_copy(update={"floor": 1e-7})))
    assert render(mel(1)).samples.shape == (1, 0)


def test_a_batch_moves_as_one():
    moved = batch(("mel", "tokens")).to("meta")
    assert isinstance(moved, Batch) and {v.device.type for v in (*moved.fields.values(), *moved.lengths.values())} == {"meta"}
