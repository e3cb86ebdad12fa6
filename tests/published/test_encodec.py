"""Published EnCodec weights load strictly and code as the published code does (golden files, see golden/make_encodec.py)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from speechgen.core.errors import UserError
from speechgen.core.types import CodecTokens
from speechgen.models.codecs.encodec.config import EncodecConfig
from speechgen.models.codecs.encodec.generate import EncodecGenerator
from speechgen.models.codecs.encodec.model import Encodec
from speechgen.nn.streaming import Stream
from speechgen.published.encodec import convert, infer_config, read
from tests.conftest import REPOSITORY

NAMES = ("24khz", "48khz", "32khz", "16khz")
# What the package is told and its files do not say, as the real ones need not: segments this short were never published.
SEGMENTS = {"segment_seconds": 0.01, "segment_overlap": 0.1}
SETTINGS_32KHZ = {
    "sampling_rate": 32000, "hidden_size": 8, "num_filters": 4, "upsampling_ratios": [4, 2], "use_causal_conv": False,
    "use_conv_shortcut": False, "norm_type": "weight_norm", "num_lstm_layers": 2, "audio_channels": 1, "chunk_length_s": None,
}  # fmt: skip

SETTINGS_16KHZ = {
    "sample_rate": 16000, "channels": 1, "compression_model": "encodec", "rvq": {"n_q": 3, "bins": 16},
    "encodec": {
        "autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}", "channels": "${channels}",
        "causal": False, "renormalize": False,
    },
    "seanet": {
        "dimension": 8, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 4, "n_residual_layers": 1,
        "ratios": [4, 2], "activation": "ELU", "norm": "weight_norm", "kernel_size": 7, "residual_kernel_size": 3,
        "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": True, "compress": 2, "lstm": 2,
        "decoder": {"trim_right_ratio": 1.0, "final_activation": None}, "encoder": {},
    },
}  # fmt: skip
"""As audiocraft's config/model/encodec/default.yaml, which keeps its references."""


def golden(name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The published state dict, and what was made with it."""
    content = load_file(REPOSITORY / "tests" / "golden" / f"encodec_{name}.safetensors")
    state = {key.removeprefix("state."): value for key, value in content.items() if key.startswith("state.")}
    return state, {key: value for key, value in content.items() if not key.startswith("state.")}


def publish_16khz(folder: Path, settings: dict[str, Any] = SETTINGS_16KHZ, **more: Any) -> Path:
    """Write what audiocraft puts beside its models, and return its folder."""
    content = {"best_state": golden("16khz")[0], "xp.cfg": yaml.safe_dump(settings), "version": "1.3.0", "exported": True}
    torch.save({**content, **more}, folder / "compression_state_dict.bin")  # noqa: TID251  as it is published
    return folder


def codec(name: str) -> tuple[EncodecGenerator, dict[str, torch.Tensor]]:
    """Ours with the published weights, and what was made with them."""
    published, made = golden(name)
    if name == "16khz":
        with TemporaryDirectory() as folder:
            imported = read(publish_16khz(Path(folder)))
        config, state = imported.config, imported.state
    else:
        config, state = infer_config(published, SETTINGS_32KHZ if name == "32khz" else None), convert(published)
    config = config.model_copy(update=SEGMENTS) if name == "48khz" else config
    network = Encodec(config)
    network.load_state_dict(state, strict=True)
    return EncodecGenerator(network.eval(), config), made


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_give_the_published_codes(name):
    ours, made = codec(name)
    with torch.inference_mode():
        found = [ours._encode_row(made["audio"][0, 0], None)]
    codes, scales = found[0]
    assert len(made["codes"].unique()) > 8
    assert torch.equal(codes, made["codes"][0])
    if name == "48khz":
        torch.testing.assert_close(scales, made["scales"][0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_published_codes_decode_to_the_published_audio(name):
    ours, made = codec(name)
    lengths = torch.tensor([made["codes"].shape[-1]])
    tokens = CodecTokens(made["codes"], lengths, ours.rate, ours.size, ours.identity, made.get("scales"))
    decoded = ours.decode(tokens).samples
    assert made["decoded"].abs().max() > 0.01
    torch.testing.assert_close(decoded[0], made["decoded"][0].mean(0), rtol=0, atol=1e-5)


def test_a_reflecting_encoder_in_chunks_gives_the_published_codes():
    """The beginning waits for its mirror image, the end has one of its own."""
    ours, made = codec("24khz")
    pieces = made["audio"].split((64, 8, 40, 800, 91), dim=-1)
    stream, latents = Stream(), []
    with torch.inference_mode():
        for index, piece in enumerate(pieces):
            stream.last = index == len(pieces) - 1
            latents.append(ours.network.encoder(piece, stream))
        codes = ours.network.quantizer.encode(torch.cat(latents, dim=-1))
    assert torch.equal(codes, made["codes"])


def test_what_the_package_publishes_is_told_by_its_shapes():
    mono, stereo = (infer_config(golden(name)[0]) for name in NAMES[:2])
    sizes = {"width": 4, "ratios": (4, 2), "latent_width": 8, "num_codebooks": 3, "codebook_size": 16}
    assert mono == EncodecConfig().model_copy(update=sizes)
    assert stereo == EncodecConfig.published_48khz().model_copy(update=sizes)


def test_the_presets_are_as_large_as_what_is_published():
    """Frame rates and bit rates of the paper's section 4 and of MusicGen's."""
    rates = [(c.rate, c.kilobits) for c in (EncodecConfig(), EncodecConfig.published_48khz(), EncodecConfig.published_32khz())]
    assert rates == [(75, 24.0), (150, 24.0), (50, 2.2)]


def test_a_folder_of_transformers_is_read_with_its_settings(tmp_path):
    published, _ = golden("32khz")
    save_file(published, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS_32KHZ))
    made = read(tmp_path)
    assert made.config == infer_config(published, SETTINGS_32KHZ)
    assert not made.config.causal and not made.config.conv_shortcut and made.config.sample_rate == 32000
    assert set(made.state) == set(Encodec(made.config).state_dict())


def test_a_file_of_the_package_is_read_without_running_it(tmp_path):
    published, _ = golden("24khz")
    torch.save(published, tmp_path / "encodec_24khz-d7cc33bc.th")  # noqa: TID251  as it is published
    assert set(read(tmp_path).state) == set(convert(published))


@pytest.mark.parametrize("lacking", ["quantizer.vq.layers.0._codebook.embed", "encoder.model.0.conv.conv.weight_v"])
def test_weights_of_something_else_are_refused(lacking):
    published, _ = golden("24khz")
    with pytest.raises(UserError, match="no published EnCodec"):
        infer_config({key: value for key, value in published.items() if key != lacking})


def test_settings_that_were_never_published_are_refused(tmp_path):
    save_file(golden("32khz")[0], tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS_32KHZ | {"last_kernel_size": 3}))
    with pytest.raises(UserError, match="never published"):
        read(tmp_path)


def test_the_same_weights_are_the_same_codec_in_audiocrafts_layout_and_in_that_of_transformers(tmp_path):
    """A file named after audiocraft's, settings by reference; beside it a `config.json` that is not its own."""
    (tmp_path / "config.json").write_text("{}")
    made = read(publish_16khz(tmp_path))
    told = {
        "sampling_rate": 16000, "hidden_size": 8, "num_filters": 4, "upsampling_ratios": [4, 2], "use_causal_conv": False,
        "use_conv_shortcut": False, "norm_type": "weight_norm", "num_lstm_layers": 2, "audio_channels": 1,
        "pad_mode": "constant",
    }  # fmt: skip
    (tmp_path / "other").mkdir()
    names = ((r"\.model\.", ".layers."), (r"\.(conv|convtr)\.\1\.", ".conv."), (r"vq\.layers\.(\d+)\._", r"layers.\1."))
    state = golden("16khz")[0]
    for old, new in names:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    save_file(state, tmp_path / "other" / "model.safetensors")
    (tmp_path / "other" / "config.json").write_text(json.dumps(told))
    other = read(tmp_path / "other")
    assert made.config == other.config and made.config.rate == 2000 and set(made.state) == set(other.state)
    assert all(torch.equal(made.state[key], other.state[key]) for key in made.state)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encodec": {**SETTINGS_16KHZ["encodec"], "renormalize": True}}, "normalize needs segment_seconds"),
        ({"encodec": {**SETTINGS_16KHZ["encodec"], "quantizer": "no_quant"}}, "its encodec.quantizer is no_quant, not rvq"),
        ({"seanet": {**SETTINGS_16KHZ["seanet"], "last_kernel_size": 3}}, "never published"),
        ({"seanet": {"decoder": {}, "activation": "ELU"}}, "do not tell use_causal_conv, num_filters"),
    ],
)
def test_codecs_of_audiocraft_that_are_others_are_refused(changes, said, tmp_path):
    with pytest.raises(UserError, match=said):
        read(publish_16khz(tmp_path, SETTINGS_16KHZ | changes))


def test_a_file_that_names_its_codec_alone_says_what_to_pull(tmp_path):
    torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, tmp_path / "compression_state_dict.bin")  # noqa: TID251
    with pytest.raises(UserError, match=r"it is facebook/encodec_32khz: speechgen models pull encodec-32khz"):
        read(tmp_path)
