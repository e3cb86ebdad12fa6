"""Files that look like a family's and are something else: one line, whatever of them is of another kind or shape."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from speechgen.core import registry
from speechgen.core.errors import UserError
from speechgen.published import Imported, families
from speechgen.service import imports
from tests.conftest import REPOSITORY
from tests.published.test_encodec import SETTINGS_16KHZ
from tests.published.test_magnet import SETTINGS

GOLDEN = REPOSITORY / "tests" / "golden"


def state(file: str, prefix: str = "state.") -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"{file}.safetensors")
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def ivanvovk() -> dict[str, Any]:
    with safe_open(GOLDEN / "wavegrad.safetensors", "pt") as file:
        return {"params": json.loads(file.metadata()["ivanvovk"])}


def of_audiocraft(settings: dict[str, Any]) -> dict[str, Any]:
    return {"xp.cfg": yaml.safe_dump(settings)}


# Family: name of its file, where its weights are in it (None: they are all of it), they, and what lies beside them.
FILES: dict[str, tuple[str, str | None, Callable[[], dict[str, Tensor]], dict[str, Any]]] = {
    "encodec": ("compression_state_dict.bin", "best_state", lambda: state("encodec_16khz"), of_audiocraft(SETTINGS_16KHZ)),
    "f5": ("F5TTS_Base.pt", "ema_model_state_dict", lambda: state("f5", "f5.state."), {"update": 7}),
    "magnet": ("state_dict.bin", "best_state", lambda: state("magnet"), of_audiocraft(SETTINGS)),
    "sashimi": ("sashimi_x.pt", "state_dict", lambda: state("sashimi", "plain.state."), {}),
    "vocos": ("pytorch_model.bin", None, lambda: state("vocos"), {}),
    "wavegrad": ("weights.pt", "model", lambda: state("wavegrad", "ivanvovk.state."), ivanvovk()),
}


def read(folder: Path, family: str, weights: Any, **beside: Any) -> Imported:
    """Write a file with `weights` where a family has its own, and read it."""
    name, group, _, usual = FILES[family]
    content = weights if group is None else {group: weights, **usual, **beside}
    torch.save(content, folder / name)  # noqa: TID251  as it is published
    (folder / "vocab.txt").write_text("".join(f"{symbol}\n" for symbol in (" ", *"abcdefghij")), encoding="utf-8")
    made: Imported = importlib.import_module(f"speechgen.published.{family}").read(folder / name)
    return made


def told(folder: Path, family: str, weights: Any, **beside: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, family, weights, **beside)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_family_is_looked_at():
    assert set(FILES) == set(families())


@pytest.mark.parametrize("family", FILES)
def test_what_is_no_weights_by_name_is_refused(family, tmp_path):
    weights = FILES[family][2]()
    assert read(tmp_path, family, weights).state
    for given in (list(weights.values()), None, "weights", dict(enumerate(weights.values()))):
        assert FILES[family][0] in told(tmp_path, family, given)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("shape", [(), (3,), (0, 3)], ids=str)
@pytest.mark.parametrize("family", FILES)
def test_a_tensor_of_another_shape_is_one_line_or_fits(family, shape, tmp_path):
    """Each of a few; what a model does not use may be anything."""
    weights, told = FILES[family][2](), 0
    kinds = list({re.sub(r"\d+", "N", name): name for name in reversed(weights)}.values())
    about = importlib.import_module(f"speechgen.published.{family}").ABOUT
    for name in kinds[:: max(1, len(kinds) // 8)]:
        try:
            imports._check(
                read(tmp_path, family, {**weights, name: torch.zeros(shape)}), registry.get(about.model), name, about
            )
        except UserError as error:
            told += 1
            assert len(str(error).splitlines()) == 1
    assert told > 2


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("encodec", "quantizer.vq.layers.0._codebook.embed"),
        ("encodec", "decoder.model.0.conv.conv.weight_v"),
        ("f5", "transformer.text_embed.text_embed.weight"),
        ("magnet", "emb.0.weight"),
        ("sashimi", "c_layers.0.layer.layer.kernel.P"),
        ("vocos", "backbone.embed.weight"),
        ("wavegrad", "ublock_preconv.conv1d.weight"),
    ],
)
def test_what_sizes_are_read_off_may_have_too_few_of_them(family, name, tmp_path):
    weights = FILES[family][2]()
    (key,) = (key for key in weights if key.removeprefix("model.").removeprefix("module.").removeprefix("nn.") == name)
    told(tmp_path, family, {**weights, key: torch.zeros(3)})


@pytest.mark.parametrize(
    ("family", "beside"),
    [
        ("magnet", of_audiocraft({**SETTINGS, "masking": [3]})),
        ("magnet", of_audiocraft({**SETTINGS, "transformer_lm": {"num_heads": "many"}})),
        ("magnet", of_audiocraft({**SETTINGS, "generate": {"lm": {"temp": [3.0]}}})),
        ("magnet", {"xp.cfg": "a: ["}),
        ("encodec", {"xp.cfg": None}),
        ("encodec", of_audiocraft({**SETTINGS_16KHZ, "sample_rate": "${sample_rate}"})),
        ("encodec", of_audiocraft({**SETTINGS_16KHZ, "seanet": {**SETTINGS_16KHZ["seanet"], "kernel_size": "wide"}})),
        ("wavegrad", {"params": {"data_config": [1]}}),
        ("wavegrad", {"params": {"data_config": {"n_fft": "many"}}}),
    ],
)
def test_settings_of_another_kind_are_refused(family, beside, tmp_path):
    told(tmp_path, family, FILES[family][2](), **beside)


def test_a_vocabulary_that_is_no_text_is_refused(tmp_path):
    read(tmp_path, "f5", FILES["f5"][2]())
    (tmp_path / "vocab.txt").write_bytes(b" \n\xff\xfe\n")
    with pytest.raises(UserError, match=r"vocab\.txt is not UTF-8 text"):
        importlib.import_module("speechgen.published.f5").read(tmp_path / "F5TTS_Base.pt")
