"""MAGNeT: who sees what, spans and their rates, guidance, the causal mode, rescoring and hybrid."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from speechgen.core import checkpoint
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig, MAGNeTObjectiveConfig, MAGNeTOptions
from speechgen.models.text_to_codes.magnet.generate import MAGNeTGenerator, _Predictor, _Rescorer
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.models.text_to_codes.magnet.objective import MAGNeTObjective
from speechgen.nn.decoder import DecoderBlock, Sight, band_mask, banded_attention
from speechgen.sampling.autoregressive import arrange, inputs_of, layout, restore
from speechgen.sampling.masked import Pass, span_starts
from speechgen.text.captions import LONGEST_WORDS, word_ids, words_of
from speechgen.training.recipe import load_recipe
from speechgen.training.run import exporter
from tests.conftest import REPOSITORY
from tests.models.systems import CODEBOOKS, CODES, batch, codes

SAID = ["a slow waltz, 72 bpm"]


def network(**changes: object) -> MAGNeT:
    torch.manual_seed(0)
    model = MAGNeT(MAGNeTConfig.tiny().model_copy(update=changes)).eval()
    for value in model.parameters():
        value.data.add_(0.2 * torch.randn_like(value))
    return model


def objective(model: MAGNeT, **settings: object) -> MAGNeTObjective:
    return MAGNeTObjective(model, model.config, MAGNeTObjectiveConfig(**settings))


def logits(model: MAGNeT, given: Tensor, level: int | None, said: list[str] = SAID) -> Tensor:
    """Of every codebook and frame: [K, T, C] of one row."""
    ids, counts = word_ids(said, model.config.word_buckets)
    told = torch.arange(ids.shape[1]) < counts[:, None]
    wanted = torch.ones_like(given, dtype=torch.bool)
    return model(ids, told, given, torch.tensor([given.shape[2]]), wanted, level).unflatten(0, (CODEBOOKS, -1))


@pytest.mark.parametrize(("size", "reach"), [(5, 2), (16, 5), (17, 1), (50, 5), (33, 20)])
def test_banded_attention_equals_masked_full_attention(size, reach):
    q, k, v = torch.randn(3, 2, 2, size, 4, generator=generator(0))
    lengths = torch.tensor([size, size - 3])
    valid = torch.arange(size) < lengths[:, None]
    mask = (band_mask(size, reach, q.device) & valid[:, None]) | torch.eye(size, dtype=torch.bool)
    full = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
    banded = banded_attention(q, k, v, valid, reach)
    torch.testing.assert_close(banded, full, rtol=1e-4, atol=1e-5)


def test_one_restricted_block_sees_five_frames_on_either_side_and_an_unrestricted_one_all():
    block, x = DecoderBlock(8, 2, 2).eval(), torch.randn(1, 40, 8)
    text, valid = torch.randn(1, 3, 8), torch.ones(1, 40, dtype=torch.bool)
    changed = x.clone()
    changed[:, 20] = torch.randn(8)

    def moved(sight: Sight) -> list[int]:
        difference = (block(changed, sight, text, None) - block(x, sight, text, None)).abs().sum((0, 2))
        return (difference > 1e-6).nonzero()[:, 0].tolist()

    with torch.no_grad():
        assert moved(Sight(valid, reach=5)) == list(range(15, 26))
        assert moved(Sight(valid)) == list(range(40))
        assert moved(Sight(valid, causal=True)) == list(range(20, 40))
        spoken = block(x, Sight(valid, reach=5), text.flip(2), None) - block(x, Sight(valid, reach=5), text, None)
        assert (spoken.abs().sum((0, 2)) > 1e-6).all()  # words reach every frame


def test_codebooks_behind_the_first_see_their_neighbours_alone():
    model, ids = network(), codes(40).ids
    other = ids.clone()
    other[:, :, 20] = (other[:, :, 20] + 1) % CODES
    with torch.no_grad():
        for level, far in ((0, list(range(40))), (1, list(range(16, 25)))):  # two blocks of reach 2
            difference = (logits(model, other, level) - logits(model, ids, level)).abs().sum((0, 2))
            assert (difference > 1e-6).nonzero()[:, 0].tolist() == far


def test_the_loss_teaches_one_head_and_hidden_codes_do_not_matter():
    model, rows = network(), batch(("codes", "characters"))
    task = objective(model, mode="masked", drop_text=0.0)
    heard = task.hear(rows, generator(0))
    task._masked(heard, 1, generator(1)).backward()
    assert (model.heads.weight.grad.unflatten(0, (CODEBOOKS, CODES)).abs().sum((1, 2)) > 0).tolist() == [False, True, False]
    loss = task._masked(heard, 1, generator(1))
    with torch.no_grad():
        heard.codes[:, 2] = (heard.codes[:, 2] + 3) % CODES
    assert torch.equal(loss, task._masked(heard, 1, generator(1)))


def test_spans_are_whole_behind_prompts_and_have_the_rate_that_was_drawn():
    model, rows = network(span=3, max_frames=13), batch(("codes", "characters"))
    task = objective(model, mode="masked", prompt=0.5)
    for seed in range(40):
        rng = generator(seed)
        heard = task.hear(rows, rng)
        masked = task.spans(heard, rng)
        for row, (prompt, length) in enumerate(zip(heard.prompts.tolist(), heard.lengths.tolist(), strict=True)):
            assert masked[row].any() and not masked[row, :prompt].any() and not masked[row, length:].any()
            runs = torch.nn.functional.pad(masked[row].long(), (1, 1)).diff()
            for begin, end in zip((runs == 1).nonzero(), (runs == -1).nonzero(), strict=True):
                assert end - begin >= 3 or end == length


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_as_many_spans_begin_as_give_the_rate(rate):
    """Against the exact expectation by hand, and against draws; u = rate T / L would mask less."""
    size, span = 200, 3
    count = span_starts(size, span, rate)
    exact = 1 - math.comb(size - span, count) / math.comb(size, count)
    beside = [abs(1 - math.comb(size - span, u) / math.comb(size, u) - rate) for u in (count - 1, count + 1)]
    assert abs(exact - rate) <= min(beside)
    drawn = []
    for seed in range(400):
        starts = torch.zeros(size, dtype=torch.bool)
        starts[torch.randperm(size, generator=generator(seed))[:count]] = True
        drawn.append(torch.nn.functional.pad(starts, (span - 1, 0)).unfold(0, span, 1).any(-1).float().mean())
    assert float(torch.stack(drawn).mean()) == pytest.approx(rate, abs=0.01)
    assert span_starts(size, span, 0.0) == 1 and 1 - math.comb(size - span, span_starts(size, span, 1.0)) == 1
    assert span_starts(1, span, 0.5) == 1


def test_a_causal_network_goes_on_from_its_cache_as_in_one_pass():
    model, prompt = network(), codes(4)
    made = MAGNeTGenerator(model, model.config).generate(
        SAID, 8, prompt, options=MAGNeTOptions(causal=True, causal_temperature=0, causal_guidance=0), rng=generator(0)
    )
    whole = torch.cat((prompt.ids, made.ids), dim=2)
    places = layout("delay", 12, CODEBOOKS)
    with torch.no_grad():
        likeliest = logits(model, inputs_of(arrange(whole, places, CODES), CODES), None).argmax(-1)  # [K, S]
    assert torch.equal(restore(likeliest[None], places)[..., 4:], made.ids)


def test_what_a_request_leaves_open_is_the_models():
    def made(options: MAGNeTOptions, **changes: object) -> Tensor:
        model = network(**changes)
        return MAGNeTGenerator(model, model.config).generate(SAID, 12, codes(4), options=options, rng=generator(0)).ids

    wanted = made(MAGNeTOptions(temperature=0.5, guidance=2.0))
    assert torch.equal(made(MAGNeTOptions(), temperature=0.5, guidance=2.0), wanted)
    assert torch.equal(made(MAGNeTOptions(temperature=0.5), temperature=9.0, guidance=2.0), wanted)
    assert torch.equal(made(MAGNeTOptions()), made(MAGNeTOptions(temperature=3.0, guidance=9.0)))
    wanted_too = made(MAGNeTOptions(top_p=0.3, least_guidance=4.0))
    assert torch.equal(made(MAGNeTOptions(), top_p=0.3, least_guidance=4.0), wanted_too)
    assert torch.equal(made(MAGNeTOptions(top_p=0.9, least_guidance=0.0), top_p=0.3, least_guidance=4.0), made(MAGNeTOptions()))
    assert not torch.equal(wanted_too, made(MAGNeTOptions()))
    assert not torch.equal(made(MAGNeTOptions()), wanted)


def test_guidance_is_what_its_formula_says_and_nothing_without_words():
    """u + w (c - u) with w = 1 + strength; without words both branches are one."""
    model = network()
    maker, given = MAGNeTGenerator(model, model.config), torch.full((1, CODEBOOKS, 9), CODES)
    masked = torch.ones(1, 9, dtype=torch.bool)
    with torch.no_grad():
        told = _Predictor(model, maker._words(SAID, given.device))
        guided = told(given, masked, Pass(0, 1.0, 1.0, guidance=9.0))
        said, silent = logits(model, given, 0)[0], logits(model, given, 0, [""])[0]
        torch.testing.assert_close(guided, silent + 10 * (said - silent), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(told(given, masked, Pass(0, 1.0, 1.0)), said, rtol=1e-4, atol=1e-5)
        untold = _Predictor(model, maker._words([""], given.device))
        torch.testing.assert_close(untold(given, masked, Pass(0, 1.0, 1.0, guidance=9.0)), silent, rtol=1e-4, atol=1e-4)


def test_passes_are_counted_and_rescoring_costs_one_more_each(monkeypatch):
    """(steps + fine steps of the other codebooks) evaluations; the rescorer's are causal."""
    model, calls = network(), []
    refine = MAGNeT.refine

    def counted(self: MAGNeT, x: Tensor, text: Tensor, text_valid: Tensor, valid: Tensor, level: int | None, cache=None):
        calls.append(level)
        return refine(self, x, text, text_valid, valid, level, cache)

    monkeypatch.setattr(MAGNeT, "refine", counted)
    maker = MAGNeTGenerator(model, model.config)

    def make(**options: object) -> Tensor:
        calls.clear()
        return maker.generate(SAID, 20, codes(0), options=MAGNeTOptions(steps=4, fine_steps=3, **options), rng=generator(0)).ids

    plain = make()
    assert calls == [0] * 4 + [1] * 3 + [2] * 3
    rescored = make(rescoring=0.7)
    assert calls == [0, None] * 4 + [1, None] * 3 + [2, None] * 3 and not torch.equal(plain, rescored)
    hybrid = make(prefix_seconds=6 / model.config.code_rate)
    assert calls == [None] * (6 + CODEBOOKS - 1) + [0] * 4 + [1] * 3 + [2] * 3 and hybrid.shape == plain.shape
    make(causal=True)
    assert calls == [None] * (20 + CODEBOOKS - 1)


def test_another_model_rescores_with_its_own_reading_of_the_description(monkeypatch):
    """By hand: what its own causal pass says of the codes that were chosen, given its words."""
    model, other = network(), network(width=24, num_heads=3, word_buckets=32)
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.3 * torch.randn_like(value))
    maker, another = MAGNeTGenerator(model, model.config), MAGNeTGenerator(other, other.config)
    asked = []

    def watched(self: _Rescorer, codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        made = scores(self, codes, masked, step)
        asked.append((self.network, codes.clone(), masked, step.level, made))
        return made

    scores = _Rescorer.__call__
    monkeypatch.setattr(_Rescorer, "__call__", watched)
    options = MAGNeTOptions(steps=4, fine_steps=2, rescoring=0.7, rescorer="other")
    made = maker.rescored_by(another).generate(SAID, 12, codes(0), options=options, rng=generator(0)).ids
    assert {each[0] for each in asked} == {other} and len(asked) == 4 + 2 + 2
    for _, given, masked, level, found in asked:
        slots = inputs_of(arrange(given, layout("delay", 12, CODEBOOKS), CODES), CODES)
        with torch.no_grad():
            wanted = logits(other, slots, None)[level, level : level + 12]
        torch.testing.assert_close(found, wanted[masked[0]], rtol=1e-4, atol=1e-4)
    own = maker.generate(SAID, 12, codes(0), options=options.model_copy(update={"rescorer": None}), rng=generator(0)).ids
    assert maker.rescorer is None and not torch.equal(made, own)
    with pytest.raises(ValueError, match="other is a name alone"):
        maker.generate(SAID, 12, codes(0), options=options, rng=generator(0))


@pytest.mark.parametrize(
    ("mode", "asked", "said"),
    [
        ("masked", {"causal": True}, r"^causal ask.*masked spans alone \(mode masked\): leave it out"),
        ("masked", {"prefix_seconds": 0.1}, "^prefix_seconds ask"),
        ("masked", {"rescoring": 0.7}, "^rescoring ask.*another one rescores as rescorer=NAME"),
        ("masked", {"rescoring": 0.7, "prefix_seconds": 1.0}, "^prefix_seconds and rescoring ask.*leave them out"),
        ("causal", {}, r"one code after another alone \(mode causal\): set causal=true"),
        ("causal", {"prefix_seconds": 0.1}, "set causal=true"),
    ],
)
def test_what_was_not_learnt_is_refused_by_name(mode, asked, said):
    model = network(mode=mode)
    with pytest.raises(UserError, match=said):
        MAGNeTGenerator(model, model.config).generate(
            SAID, 12, codes(0), options=MAGNeTOptions(steps=1, fine_steps=1, **asked), rng=generator(0)
        )


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("masked", {}),
        ("causal", {"causal": True}),
        *((mode, asked) for mode in ("hybrid", None) for asked in ({}, {"causal": True}, {"rescoring": 0.5})),
    ],
)
def test_what_was_learnt_or_may_have_been_is_done(mode, asked):
    model = network(mode=mode)
    options = MAGNeTOptions(steps=1, fine_steps=1, **asked)
    assert MAGNeTGenerator(model, model.config).generate(SAID, 5, codes(0), options=options, rng=generator(0)).ids.shape[2] == 5


def test_training_notes_what_was_learnt_in_the_checkpoint(tmp_path):
    for mode in ("masked", "causal", "hybrid"):
        recipe = load_recipe(REPOSITORY / "recipes" / "smoke" / "magnet.yaml", [f"objective.mode={mode}"])
        exporter(recipe, ("codes",), {}, tmp_path)(mode, MAGNeT(recipe.config).state_dict(), {})
        assert recipe.config.mode is None and checkpoint.load(tmp_path / mode).config.mode == mode


def test_checkpoints_that_do_not_say_what_they_learnt_still_load(tmp_path):
    recipe = load_recipe(REPOSITORY / "recipes" / "smoke" / "magnet.yaml")
    exporter(recipe, ("codes",), {}, tmp_path)("old", MAGNeT(recipe.config).state_dict(), {})
    path = tmp_path / "old" / "config.json"
    content = json.loads(path.read_text())
    for name in ("mode", "top_p", "least_guidance"):
        del content["config"][name]
    path.write_text(json.dumps(content))
    assert checkpoint.load(tmp_path / "old").config == recipe.config


def test_a_rescorer_needs_a_weight():
    with pytest.raises(UserError, match=r"no say while rescoring is 0: .*rescoring=0\.7"):
        validate(MAGNeTOptions, {"rescorer": "other"}, "options")


def test_a_hybrid_learns_the_prefix_and_the_spans_behind_it():
    """The causal loss knows nothing of what lies behind the split, the masked one begins there."""
    model, rows = network(), batch(("codes", "characters"))
    task = objective(model, mode="hybrid", drop_text=0.0)
    heard = task.hear(rows, generator(2))
    assert (heard.prompts < heard.lengths).all() and heard.prompts.max() > 1
    losses = [task._causal(heard, before=True)]
    for row, prompt in enumerate(heard.prompts.clamp(min=1).tolist()):
        heard.codes[row, :, prompt:] = (heard.codes[row, :, prompt:] + 5) % CODES
    losses.append(task._causal(heard, before=True))
    assert torch.equal(*losses) and not torch.equal(losses[0], task._causal(heard, before=False))
    (update,) = task.updates(rows, 0, generator(0))
    assert set(update.metrics) == {"masked", "causal"}
    torch.testing.assert_close(update.loss.detach(), sum(update.metrics.values()))


def test_long_sounds_are_cropped_to_what_the_network_makes():
    model = network(max_frames=6)
    heard = objective(model).hear(batch(("codes", "characters")), generator(0))
    assert heard.codes.shape == (2, CODEBOOKS, 6) and heard.lengths.tolist() == [6, 6]
    whole, found = batch(("codes",))["codes"], False
    for start in range(13 - 6 + 1):
        found |= torch.equal(heard.codes[0], whole[0, :, start : start + 6])
    assert found


def test_words_are_hashed_the_same_everywhere_and_their_number_is_bounded():
    assert words_of("A slow, church-organ chorale; 72 bpm!") == ["a", "slow", "church", "organ", "chorale", "72", "bpm"]
    ids, lengths = word_ids(["slow waltz", "", "waltz " * 500], 4096)
    assert lengths.tolist() == [2, 0, LONGEST_WORDS] and ids.shape == (3, LONGEST_WORDS)
    assert ids[0, 1] == ids[2, 0] and ids[0, 0] != ids[0, 1]
    assert ids[0, :2].tolist() == [889680349 % 4096, 3020180784 % 4096]  # CRC-32
