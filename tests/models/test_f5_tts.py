"""F5-TTS: duration, prompts without a text (E2 TTS X1), phonemes among the characters (X2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import Text
from speechgen.models.text_to_mel.f5_tts import model
from speechgen.models.text_to_mel.f5_tts.config import PHONETIC, F5Config, F5ObjectiveConfig, F5Options
from speechgen.models.text_to_mel.f5_tts.generate import SHORT_SPEED, F5Generator
from speechgen.models.text_to_mel.f5_tts.model import F5TTS, edges_of, stretch
from speechgen.models.text_to_mel.f5_tts.objective import F5Objective
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ENGLISH
from tests.models.systems import batch, build, mel

WORDS = "Don't stop here."


def tiny(**changes) -> tuple[F5TTS, F5Config]:
    torch.manual_seed(0)
    config = F5Config.tiny().model_copy(update={"vocabulary": PHONETIC, **changes})
    network = F5TTS(config)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return network, config


def told(text: str) -> Text:
    return Text(torch.tensor([[PHONETIC.index(letter) for letter in text]]).long(), torch.tensor([len(text)]))


def generate(network: F5TTS, config: F5Config, said: str, text: str = "twelve bytes", **options) -> torch.Tensor:
    asked = F5Options(steps=2, **options)
    made = F5Generator(network.eval(), config).generate(told(text), mel(30), told(said), options=asked, rng=generator(0))
    return made.values


def test_the_text_takes_as_long_as_the_prompt_did_for_as_many_bytes():
    network, config = tiny()
    assert generate(network, config, "ten bytes!").shape[1] == 36
    assert generate(network, config, "ten bytes!", speed=2.0).shape[1] == 18
    assert generate(network, config, "ten bytes!", "Yes. ").shape[1] == int(15 / SHORT_SPEED), "a word is not swallowed"
    assert generate(network, config, "ten bytes!", "[twɛlv] bytes").shape[1] == 33, "brackets take no time"


@pytest.mark.parametrize(("symbols", "frames"), [(0, 0), (6, 7), (0, 7), (6, 15)], ids=["none", "slow", "untold", "fast"])
def test_text_that_is_spread_stays_on_its_side_of_the_prompts_end(symbols, frames):
    """Reference: each frame has the symbol that is spoken at its time, one after another."""
    x, counts, lengths = torch.arange(1.0, 22.0)[None, :, None], torch.tensor([10]), torch.tensor([19])
    lasting = (torch.arange(21)[None] < 10).float()
    edges = edges_of(lasting, lengths, torch.tensor([symbols]), torch.tensor([frames]))
    made = stretch(x, counts, lengths, edges)[0, :, 0].tolist()
    own = [1 + frame * symbols // frames if symbols else 0 for frame in range(frames)]
    rest = [1 + symbols + frame * (10 - symbols) // (19 - frames) for frame in range(19 - frames)]
    assert made == [*own, *rest, 0, 0]


def test_text_is_spread_from_edge_to_edge():
    x, counts, lengths = torch.arange(1.0, 9.0).repeat(2, 1)[..., None], torch.tensor([3, 2]), torch.tensor([8, 6])
    edges = torch.tensor([[1.0, 2.5, 2.5, 7.0], [0.0, 1.0, 9.0, 10.0]])
    assert stretch(x, counts, lengths, edges)[..., 0].tolist() == [[0, 1, 1, 3, 3, 3, 3, 0], [1, 2, 2, 2, 2, 2, 0, 0]]


def test_symbols_last_in_proportion_and_a_prompts_as_long_as_the_prompt():
    lasting = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0], [1.0, 1.0, 2.0, 0.0, 0.0]])
    made = edges_of(lasting, torch.tensor([16, 10]), torch.tensor([2, 0]), torch.tensor([8, 2]))
    assert made.tolist() == [[0, 2, 8, 12, 16, 16], [2, 4, 6, 10, 10, 10]]


@pytest.mark.parametrize("untold", [False, True])
@pytest.mark.parametrize("paced", [False, True])
def test_symbols_of_some_rows_are_moved_towards_where_they_are_spoken(monkeypatch, untold, paced):
    network, config = tiny(upsample_text=True, untold_prompt=untold, paced=paced)
    objective = F5Objective(network, config, F5ObjectiveConfig(aligned=0.5))
    given, shown, plain = batch(objective.fields), [], model.stretch
    monkeypatch.setattr(model, "stretch", lambda *values: shown.append(values[-1]) or plain(*values))
    text, counts = objective._text(given, generator(0))
    _, lengths, _ = objective._utterances(given, torch.ones(2), torch.zeros(2))
    spoken = given["alignment"] + (given.lengths["reference"][:, None] if untold else 0)
    for draws, weight in (((0.4, 1.0), 1.0), ((0.4, 0.25), 0.25), ((0.6, 1.0), 0.0)):
        timing = objective._timing(given, torch.tensor(draws)[:, None].expand(2, 2))
        own = network.read(text, counts, lengths, torch.zeros(2, dtype=torch.bool), timing).edges
        assert paced == (own[0, :12].diff().std() > 1e-3), "evenly, or by what each is thought to last"
        for row, size in enumerate((12, 7)):
            wanted = weight * spoken[row, :size] + (1 - weight) * own[row, :size]
            torch.testing.assert_close(shown[-1][row, :size], wanted)
        assert (shown[-1].diff(dim=1) >= 0).all()
    (update,) = objective.updates(given, 0, generator(0))
    update.loss.backward()
    assert ("pace" in update.metrics) == paced and (not paced or network.pace.weight.grad.abs().max() > 0)
    assert objective.validate(given, generator(0))["loss"].isfinite() and objective._timing(given).spoken is None
    assert objective.sample(given, generator(0)).mel.isfinite().all()


def test_the_pace_is_off_by_the_mean_distance_of_symbols_that_are_read():
    network, config = tiny(upsample_text=True, paced=True)
    objective = F5Objective(network, config, F5ObjectiveConfig(aligned=0.5))
    edges, spoken = torch.tensor([[0.0, 5.0, 9.0, 9.0], [0.0, 4.0, 8.0, 8.0]]), torch.tensor([[0, 2, 8], [1, 4, 0]])
    loss = objective._pace(edges, spoken, torch.tensor([2, 1]))
    assert float(loss) == pytest.approx((0 + 3 + 1 + 1 + 0) / 5 / config.mel.frame_rate)
    assert objective._pace(edges, spoken, torch.tensor([-1, 1])) == pytest.approx(0.5 / config.mel.frame_rate), "one is hidden"


@pytest.mark.parametrize(
    ("changes", "objective", "message"),
    [
        ({}, {"aligned": 0.5}, "is for text that is spread"),
        ({"upsample_text": True}, {"aligned": 0.5, "phonemes": 0.1}, "is for text that is spread"),
        ({"upsample_text": True, "paced": True}, {}, "a paced model learns"),
    ],
    ids=["not spread", "phonemes", "not aligned"],
)
def test_alignment_is_for_text_that_is_spread_as_it_is_written(changes, objective, message):
    with pytest.raises(UserError, match=message):
        F5Objective(*tiny(**changes), F5ObjectiveConfig(**objective))
    with pytest.raises(ValueError, match="set upsample_text"):
        F5Config(paced=True)


@pytest.mark.parametrize("untold", [False, True])
def test_the_network_is_told_where_the_prompt_ends(monkeypatch, untold):
    network, config = tiny(upsample_text=True, untold_prompt=untold)
    told_of, read = [], network.read
    monkeypatch.setattr(network, "read", lambda *given: told_of.append(given[-1]) or read(*given))
    assert generate(network, config, "ten bytes!", speed=0.5).shape[1] == 72
    assert [(int(each.symbols[0]), int(each.frames[0])) for each in told_of] == [(0 if untold else 10, 30)]


@pytest.mark.parametrize("untold", [False, True])
def test_nothing_of_the_reference_is_in_what_is_made(monkeypatch, untold):
    """A network that would leave every frame what it saw there: its prompt, or nothing."""
    network, config = tiny(untold_prompt=untold)
    model, seen = F5Generator(network.eval(), config), []
    monkeypatch.setattr(model, "_integrate", lambda noise, visible, *_: seen.append(visible) or visible)
    prompt = replace(mel(30), values=torch.full((1, 30, 100), 7.0))
    said, options = told("ten bytes!"), F5Options(steps=2)
    made = model.generate(told("twelve bytes"), prompt, said, options=options, rng=generator(0)).values
    assert made.shape[1] == 36 and not torch.isclose(made, torch.tensor(7.0)).any()
    assert torch.isclose(network.log_mel(seen[0][:, :30]), torch.tensor(7.0), atol=1e-5).all()


def test_a_model_of_prompts_without_text_does_not_see_it_and_takes_the_pace_from_it():
    network, config = tiny(untold_prompt=True)
    one, other = (generate(network, config, said) for said in ("ten bytes!", "others ten"))
    assert torch.equal(one, other), "as long, and the text itself unseen"
    assert generate(network, config, "").shape[1] == int(12 / 15 * config.mel.frame_rate)
    assert generate(network, config, "five!").shape[1] == 2 * one.shape[1]
    known, config = tiny()
    assert not torch.equal(*(generate(known, config, said) for said in ("ten bytes!", "others ten")))
    assert (
        F5Generator(known, config).reads_prompt_text and not F5Generator(network, tiny(untold_prompt=True)[1]).reads_prompt_text
    )


def test_a_prompt_without_text_is_another_recording_of_the_speaker_and_is_not_learnt():
    network, config = tiny(untold_prompt=True)
    objective = F5Objective(network, config, F5ObjectiveConfig(drop_prompt=0, drop_all=0))
    assert objective.fields == ("mel", "characters", "reference", "tokens")
    given = batch(objective.fields)
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    (update,) = objective.updates(given, 0, generator(0))
    update.loss.backward()
    _, visible, _, text_lengths, _, _, lengths, _, _ = seen[0]
    assert lengths.tolist() == [45, 47] and text_lengths.tolist() == [11, 6]
    shown = network.normalized(given["reference"])
    assert torch.equal(visible[0, :20], shown[0, :20]) and not visible[0, 20:].any()
    assert torch.equal(visible[1, :31], shown[1, :31]) and not visible[1, 31:].any()


@pytest.mark.parametrize("untold", [False, True])
def test_masked_frames_tell_the_tokens_that_sound_while_they_last(untold):
    """Reference: frame by frame."""
    network, config = tiny(untold_prompt=untold)
    objective = F5Objective(network, config, F5ObjectiveConfig())
    given = batch(objective.fields)
    starts = given.lengths["reference"].tolist() if untold else [0, 0]
    data, _, masked = objective._utterances(given, torch.tensor([0.5, 0.9]), torch.tensor([0.3, 0.0]))
    logits = torch.randn(2, data.shape[1], config.num_tokens, generator=generator(0))
    ids = given["tokens"] % config.num_tokens
    given = replace(given, fields={**given.fields, "tokens": ids})
    wanted = []
    for row, start in enumerate(starts):
        for frame in range(start, start + 2 * int(given.lengths["tokens"][row])):
            if frame < data.shape[1] and masked[row, frame]:
                wanted.append(-logits[row, frame].log_softmax(-1)[ids[row, (frame - start) // 2]])
    loss = objective._token(logits, given, masked)
    torch.testing.assert_close(loss, torch.stack(wanted).mean())
    (update,) = objective.updates(given, 0, generator(0))
    assert set(update.metrics) == {"flow", "token"}


def spoken() -> Batch:
    """Two rows of the same words."""
    given = batch(("mel", "characters", "phonemes"))
    phonemes = torch.tensor(ENGLISH.encode(Phonemizer("en-us")(WORDS)))
    fields = {
        "characters": torch.tensor([[ord(letter) for letter in WORDS]] * 2),
        "phonemes": torch.stack((phonemes, phonemes)),
    }
    lengths = {"characters": torch.tensor([len(WORDS)] * 2), "phonemes": torch.tensor([len(phonemes)] * 2)}
    return replace(given, fields={**given.fields, **fields}, lengths={**given.lengths, **lengths})


def test_words_are_learnt_by_their_phonemes_now_and_then():
    network, config = tiny()
    objective = F5Objective(network, config, F5ObjectiveConfig(phonemes=0.5))
    assert objective.fields == ("mel", "characters", "phonemes", "tokens")
    seen = set()
    for seed in range(12):
        ids, lengths = objective._text(spoken(), generator(seed))
        seen |= {"".join(PHONETIC[i] for i in row[:n].tolist()) for row, n in zip(ids, lengths, strict=True)}
    assert WORDS in seen and "[dˈoʊnt] [stˈɑːp] [hˈɪɹ]." in seen
    assert all(text.count("[") == text.count("]") <= 3 for text in seen) and len(seen) > 4
    (update,) = objective.updates(spoken(), 0, generator(0))
    assert update.loss.isfinite()


def test_phonemes_need_a_vocabulary_that_has_them():
    system = build("f5_tts")
    with pytest.raises(UserError, match="needs a vocabulary with phonemes"):
        F5Objective(system.network, system.config, F5ObjectiveConfig(phonemes=0.15))


def test_a_vocabulary_has_a_name_in_recipes():
    assert F5Config.model_validate({"vocabulary": "phonetic"}).vocabulary == PHONETIC
    assert F5Config.model_validate({"vocabulary": ["a", "b"]}).vocabulary == ("a", "b")


def test_every_phoneme_of_english_can_be_written():
    written = "".join(ENGLISH.symbols[index] for index in ENGLISH.phone_ids)
    assert set(written) <= set(PHONETIC) and len(set(PHONETIC)) == len(PHONETIC)
