"""The tokenizer: lengths, level, targets of the phoneme head, and encoders of `transformers`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.models.tokenizers.wav2vec2_kmeans.config import TokenizerConfig, TokenizerObjectiveConfig
from speechgen.models.tokenizers.wav2vec2_kmeans.generate import KMeansTokenizer
from speechgen.models.tokenizers.wav2vec2_kmeans.model import Centroids, PretrainedEncoder, build, spoken_phones
from speechgen.models.tokenizers.wav2vec2_kmeans.objective import TokenizerObjective
from speechgen.text.vocabulary import ENGLISH
from tests.models.systems import MEL, batch, mel, speech
from tests.models.systems import build as build_system

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_feat_extract_layers": 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
ENCODERS = {
    "wav2vec2": {"model_type": "wav2vec2", **SMALL},
    "wav2vec2 with layer norm": {"model_type": "wav2vec2", **SMALL, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "hubert": {"model_type": "hubert", **SMALL},
    "wavlm": {"model_type": "wavlm", **SMALL},
}


def tokenizer() -> KMeansTokenizer:
    system = build_system("wav2vec2_kmeans")
    return KMeansTokenizer(system.network.eval(), system.config)


def objective(**settings) -> TokenizerObjective:
    system = build_system("wav2vec2_kmeans")
    return TokenizerObjective(system.network, system.config, TokenizerObjectiveConfig(**settings))


@pytest.mark.parametrize("frames", [4, 5, 9, 10])
def test_there_is_a_token_for_every_two_mel_frames_begun(frames):
    """T' = ceil(T / 2) = ceil((L // 256 + 1) / 2)."""
    for length in ((frames - 1) * 256, frames * 256 - 1):
        made = tokenizer().encode(Waveform.single(torch.randn(length), 24000))
        assert made.ids.shape == (1, (frames + 1) // 2) and made.lengths.tolist() == [(frames + 1) // 2]


def test_any_rate_is_read():
    made = tokenizer().encode(Waveform.single(torch.randn(16000), 16000))
    assert made.lengths.tolist() == [(24000 // 256 + 2) // 2] and made.rate == 46.875


@pytest.mark.parametrize("gain", [0.02, 0.5, 4.0])
def test_tokens_do_not_depend_on_the_level(gain):
    samples = 0.2 * torch.randn(24000, generator=torch.Generator().manual_seed(0))
    base = tokenizer().encode(Waveform.single(samples, 24000)).ids
    assert len(base.unique()) > 2
    assert torch.equal(tokenizer().encode(Waveform.single(gain * samples, 24000)).ids, base)


def test_centroids_are_the_nearest_after_normalising():
    layer, rng = Centroids(6, 4), torch.Generator().manual_seed(0)
    for name in ("centers", "mean"):
        getattr(layer, name).normal_(generator=rng)
    layer.scale.copy_(torch.tensor([0.5, 1.0, 2.0, 3.0]))
    features = torch.randn(2, 30, 4, generator=rng)
    normal = (features - layer.mean) / layer.scale
    slow = [[min(range(6), key=lambda k: float((x - layer.centers[k]).norm())) for x in line] for line in normal]
    assert layer(features).tolist() == slow


def test_features_are_those_after_the_configured_layer():
    made = tokenizer()
    audio = speech(0.5)
    first, second, configured = made.features(audio, 1)[0], made.features(audio, 2)[0], made.features(audio)[0]
    assert torch.equal(first, configured) and not torch.allclose(first, second, atol=1e-3)


def test_ctc_targets_are_the_phones_in_their_order():
    text = ["^", "ð", "ə", " ", "k", "ˈ", "æ", "t", ".", "$"]
    short = ["^", "ɑː", "$"]
    ids = torch.zeros(2, 12, dtype=torch.long)
    ids[0, :10], ids[1, :3] = torch.tensor(ENGLISH.encode(text)), torch.tensor(ENGLISH.encode(short))
    ids[1, 3:] = ENGLISH.encode(["k"])[0]  # rubbish behind the row
    targets, lengths = spoken_phones(ids, torch.tensor([10, 3]))
    assert lengths.tolist() == [5, 1] and targets.shape == (2, 5)
    assert ENGLISH.decode(targets[0].tolist()) == ["ð", "ə", "k", "æ", "t"]
    assert ENGLISH.decode(targets[1, :1].tolist()) == ["ɑː"] and targets[1, 1:].eq(0).all()


def test_a_text_without_a_phone_has_no_loss_of_its_own():
    rows = batch(("mel", "phonemes"))
    silent = Batch({**rows.fields, "phonemes": torch.full((2, 5), 1)}, rows.lengths)
    (update,) = objective().updates(silent, 0, generator(0))
    assert update.loss.isfinite()


def test_more_phones_than_frames_do_no_harm():
    rows = batch(("mel", "phonemes"))
    many = Batch({**rows.fields, "phonemes": torch.full((2, 40), 20)}, rows.lengths | {"phonemes": torch.tensor([40, 40])})
    trained = objective()
    (update,) = trained.updates(many, 0, generator(0))
    assert all(g.isfinite().all() for g in torch.autograd.grad(update.loss, list(trained.parts["network"].parameters())))


class Oracle(torch.nn.Module):
    """Logits that are certain of given ids."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__()
        self.ids = ids

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return 50 * torch.nn.functional.one_hot(self.ids, 256).float(), (lengths + 1) // 2


def test_phone_error_counts_edits_of_the_collapsed_path():
    """Rows [20 21 22] and [23]: the best paths say 20 20 _ 20 21 (two of three are wrong) and 23 (right)."""
    trained = objective()
    path = torch.tensor([[20, 20, 0, 20, 21, 0], [23, 23, 0, 99, 99, 99]])
    trained.parts["network"] = Oracle(path)
    rows = Batch(
        {"mel": mel(12, 6).values, "phonemes": torch.tensor([[1, 20, 21, 22], [23, 2, 0, 0]])},
        {"mel": torch.tensor([12, 6]), "phonemes": torch.tensor([4, 2])},
    )
    assert float(trained.validate(rows, generator(0))["phone_error"]) == pytest.approx(2 / 4)


def test_frame_labels_count_where_they_are_real():
    trained = objective(target="labels")
    rows = batch(("mel", "labels"))
    trained.parts["network"] = Oracle(rows["labels"])
    metrics = trained._loss(rows["mel"], rows)
    assert metrics[0] < 1e-6 and metrics[1]["frame_error"] == 0
    wrong = rows["labels"].clone()
    wrong[1, 8:] += 1  # behind the row
    trained.parts["network"] = Oracle(wrong)
    assert trained._loss(rows["mel"], rows)[1]["frame_error"] == 0
    wrong[1, 7] += 1
    assert float(trained._loss(rows["mel"], rows)[1]["frame_error"]) == pytest.approx(1 / 21)


def test_masks_hide_a_span_and_a_band_with_the_mean_of_what_is_real():
    trained = objective(mask_fraction=0.5, mask_bins=30)
    rows = mel(60, 40)
    rows.values[1, 40:] = 1e6
    hidden = trained._augment(rows.values, rows.lengths, generator(2))
    for index, size in enumerate((60, 40)):
        before, after = rows.values[index, :size], hidden[index, :size]
        changed = before != after
        times, bands = changed.all(1), changed.all(0)
        assert times.any() and bands.any() and torch.equal(changed, times[:, None] | bands[None])
        assert times.sum() <= size / 2 and bands.sum() <= 30
        expected = before.mean(0).expand_as(before)[changed]
        torch.testing.assert_close(after[changed], expected, rtol=1e-3, atol=1e-3)
    assert trained._augment(rows.values, rows.lengths, generator(2)).equal(hidden)
    assert objective()._augment(rows.values, rows.lengths, generator(2)) is rows.values


def pretrained(name: str) -> tuple[TokenizerConfig, PretrainedEncoder]:
    torch.manual_seed(0)
    config = TokenizerConfig(clusters=6, layer=1, pretrained=ENCODERS[name])
    network = build(config)
    network.centroids.centers.normal_()
    return config, network.eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_transformers_give_50_tokens_a_second_for_each_row_as_alone(name):
    config, network = pretrained(name)
    made = KMeansTokenizer(network, config)
    audio = speech(1.0, 0.7, 0.33)
    together = made.encode(audio)
    assert together.rate == made.rate == 50 and together.size == 6 and together.lengths[0] == 49
    hidden = made.features(audio)[0]
    for index, length in enumerate(together.lengths.tolist()):
        one = Waveform.single(audio.samples[index, : audio.lengths[index]], 24000)
        torch.testing.assert_close(hidden[index, :length], made.features(one)[0][0], rtol=1e-3, atol=1e-4)
        assert made.encode(one).lengths.tolist() == [length] and length == (int(audio.lengths[index]) * 2 // 3 - 400) // 320 + 1


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_transformers_are_saved_and_loaded_without_a_download(name, tmp_path):
    config, network = pretrained(name)
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model="wav2vec2_kmeans",
        config=config.model_dump(mode="json"),
        accepts=("Waveform",),
        produces="SemanticTokens",
        mel=MEL,
    )
    checkpoint.save(tmp_path, info, network.state_dict(), dtype=torch.float32)
    loaded = checkpoint.load(tmp_path)
    audio = speech(0.6)
    assert torch.equal(loaded.generator().features(audio)[0], KMeansTokenizer(network, config).features(audio)[0])
    assert torch.equal(loaded.generator().encode(audio).ids, KMeansTokenizer(network, config).encode(audio).ids)


def test_the_layer_and_the_level_of_a_pretrained_encoder():
    config, network = pretrained("wav2vec2")
    made = KMeansTokenizer(network, config)
    audio = speech(0.6)
    first, second = made.features(audio, 1)[0], made.features(audio, 2)[0]
    assert torch.equal(made.features(audio)[0], first) and not torch.allclose(first, second, atol=1e-3)
    quiet = Waveform(0.3 * audio.samples, audio.lengths, audio.rate)
    torch.testing.assert_close(made.features(quiet)[0], first, rtol=1e-2, atol=1e-3)


def test_a_pretrained_encoder_is_not_trained_here():
    config, network = pretrained("hubert")
    with pytest.raises(UserError, match="fit-kmeans"):
        TokenizerObjective(network, config, TokenizerObjectiveConfig())
