"""A codec of the mel: causal ConvNeXt blocks, a residual quantiser, blocks back to the mel, and a Vocos that renders it.

What a listener needs is in the mel, and a vocoder that was trained for long makes sound of it: what is left to learn is small,
so that an hour of two CPU cores makes a codec. For EnCodec, which learns sound and codes at once, it is far too short.

config (sizes) · model (network) · objective (distance of the mel) · generate (audio to codes and back)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.codecs.mel_codec.config import MelCodecConfig, MelCodecObjectiveConfig, MelCodecOptions
from speechgen.models.codecs.mel_codec.generate import MelCodecGenerator
from speechgen.models.codecs.mel_codec.model import MelCodec
from speechgen.models.codecs.mel_codec.objective import MelCodecObjective

SPEC = ModelSpec(
    role="codecs",
    accepts=("Waveform", "CodecTokens"),
    produces="Waveform",
    config=MelCodecConfig,
    build=MelCodec,
    objective_config=MelCodecObjectiveConfig,
    objective=MelCodecObjective,
    generator=MelCodecGenerator,
    options=MelCodecOptions,
    paper="Zeghidour et al., SoundStream (2021), arXiv:2107.03312 (the quantiser); Siuzdak, Vocos (2023), arXiv:2306.00814",
)
