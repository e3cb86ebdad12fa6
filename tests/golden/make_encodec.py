"""Made encodec_24khz, _48khz, _32khz and _16khz.safetensors: small published EnCodecs with random weights.

Each holds the state dict, a signal, its codes (scales, too, at 48 kHz) and what they decode to: by the `encodec` package for
24 and 48 kHz, by `transformers` for 32 kHz, by audiocraft at 896ec7c for 16 kHz.

pip install --no-deps encodec==0.1.1 audiocraft==1.3.0 && pip install einops flashy     (beside torch, torchaudio, transformers)
python make_encodec.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from audiocraft.models.encodec import EncodecModel as AudiocraftModel
from audiocraft.modules.seanet import SEANetDecoder as AudiocraftDecoder
from audiocraft.modules.seanet import SEANetEncoder as AudiocraftEncoder
from audiocraft.quantization import ResidualVectorQuantizer as AudiocraftQuantizer
from encodec.model import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import EncodecConfig as PublishedConfig
from transformers import EncodecModel as PublishedModel

HERE = Path(__file__).parent
SIZES = {"dimension": 8, "n_filters": 4, "ratios": [4, 2]}


def main() -> None:
    """Write the files beside this script."""
    torch.manual_seed(0)
    stereo = {"causal": False, "norm": "time_group_norm", "channels": 2}
    package("24khz", {"causal": True, "norm": "weight_norm"}, {}, signal(1003))
    package("48khz", stereo, {"normalize": True, "segment": 0.01, "overlap": 0.1}, signal(1003).expand(-1, 2, -1))
    transformers_32khz(signal(1003))
    torch.manual_seed(1)
    audiocraft_16khz(signal(1003))


def package(name: str, network: dict[str, object], settings: dict[str, object], audio: Tensor) -> None:
    """One of the package's two models, at small sizes."""
    channels = audio.shape[1]
    model = EncodecModel(
        SEANetEncoder(**SIZES, **network),
        SEANetDecoder(**SIZES, **network),
        ResidualVectorQuantizer(dimension=8, n_q=3, bins=16, kmeans_init=False),
        target_bandwidths=[1.0],
        sample_rate=48000 if channels == 2 else 24000,
        channels=channels,
        **settings,
    ).eval()
    shake(model, audio)
    with torch.no_grad():
        frames = model.encode(audio)
        made = {"audio": audio, "codes": torch.cat([codes for codes, _ in frames], dim=-1), "decoded": model.decode(frames)}
    if frames[0][1] is not None:
        made["scales"] = torch.cat([scale for _, scale in frames], dim=-1)
    write(name, model, made)


def transformers_32khz(audio: Tensor) -> None:
    """MusicGen's, at small sizes."""
    config = PublishedConfig(
        sampling_rate=32000, target_bandwidths=[160.0], hidden_size=8, num_filters=4, upsampling_ratios=[4, 2],
        codebook_size=16, codebook_dim=8, use_causal_conv=False, use_conv_shortcut=False,
    )  # fmt: skip
    model = PublishedModel(config).eval()
    shake(model, audio)
    with torch.no_grad():
        coded = model.encode(audio, bandwidth=160.0)
        decoded = model.decode(coded.audio_codes, coded.audio_scales).audio_values
    write("32khz", model, {"audio": audio, "codes": coded.audio_codes[0], "decoded": decoded})


def audiocraft_16khz(audio: Tensor) -> None:
    """Audio-MAGNeT's, at small sizes, and as config/model/encodec/default.yaml has it."""
    network = {"n_residual_layers": 1, "norm": "weight_norm", "pad_mode": "constant", "true_skip": True, "lstm": 2}
    model = AudiocraftModel(
        AudiocraftEncoder(**SIZES, **network),
        AudiocraftDecoder(**SIZES, **network),
        AudiocraftQuantizer(dimension=8, n_q=3, bins=16, kmeans_init=False),
        frame_rate=2000,
        sample_rate=16000,
        channels=1,
    ).eval()
    shake(model, audio)
    with torch.no_grad():
        codes, _ = model.encode(audio)
        write("16khz", model, {"audio": audio, "codes": codes, "decoded": model.decode(codes)})


def shake(model: nn.Module, audio: Tensor) -> None:
    """What starts at zero or one must be told apart as well, and codebooks must lie where what they quantise does."""
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point() and not key.endswith("inited"):
                value.add_(0.1 * torch.randn_like(value))
        latent = model.encoder(audio)
        mean, deviation = latent.mean((0, 2)), latent.std((0, 2))
        for key, value in model.state_dict().items():
            if key.endswith("embed"):
                value.copy_(mean + deviation * torch.randn_like(value))
                mean, deviation = torch.zeros_like(mean), 0.7 * deviation


def signal(samples: int) -> Tensor:
    """A tone in noise, [1, 1, L]."""
    return 0.3 * torch.sin(torch.arange(samples) * 0.05)[None, None] + 0.02 * torch.randn(1, 1, samples)


def write(name: str, model: nn.Module, made: dict[str, Tensor]) -> None:
    """One file."""
    state = {f"state.{key}": value for key, value in model.state_dict().items()}
    save_file({key: value.contiguous().clone() for key, value in (state | made).items()}, HERE / f"encodec_{name}.safetensors")


if __name__ == "__main__":
    main()
