"""Published SaShiMi: its logits, in both forms of its keys."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from speechgen.core.errors import UserError
from speechgen.models.waveform.sashimi.model import Sashimi
from speechgen.published import sashimi
from tests.conftest import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "sashimi.safetensors"
variants = pytest.mark.parametrize("variant", ["plain", "unet"])


def golden(variant):
    """The state dict, the levels and the logits."""
    content = load_file(GOLDEN)
    prefix = f"{variant}.state."
    state = {key.removeprefix(prefix): value for key, value in content.items() if key.startswith(prefix)}
    return state, content["levels"], content[f"{variant}.logits"]


def logits(state, levels):
    published = sashimi.to_version_4(state)
    config = sashimi.infer_config(published)
    network = Sashimi(config)
    network.load_state_dict(sashimi.convert(published, config))
    with torch.inference_mode():
        return config, network(levels)


def old_form(state):
    """The same under the names and signs of version 3."""
    found = {}
    for key, value in state.items():
        if key.endswith("A_imag"):
            value = -value
        if key.endswith("inv_dt"):
            value = value.squeeze(-1)
        key = key.replace("A_imag", "w_imag").replace("A_real", "log_w_real").replace("inv_dt", "log_dt")
        key = key.replace("layer.layer.kernel.l_kernel", "layer.kernel.kernel.L").replace("layer.layer.D", "layer.D")
        found[key.replace("layer.layer.kernel.", "layer.kernel.kernel.")] = value
    return found


@variants
def test_logits_are_those_of_the_published_implementation(variant):
    state, levels, expected = golden(variant)
    config, found = logits(state, levels)
    assert (config.width, config.depth, config.pools, config.state_size) == (8, 1, (4, 2), 64)
    assert (config.kernel, config.shared, config.glu, config.unet) == ("s4", True, True, variant == "unet")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@variants
def test_the_older_form_of_the_keys_is_read_as_well(variant):
    state, levels, _ = golden(variant)
    older = old_form(state)
    assert set(older) != set(state)
    assert torch.equal(logits(older, levels)[1], logits(state, levels)[1])


def test_what_cannot_be_read_is_one_clear_line():
    state, _, _ = golden("plain")
    with pytest.raises(UserError, match="no published SaShiMi"):
        sashimi.infer_config({"weight": torch.zeros(3)})
    diagonal = {key: value for key, value in sashimi.to_version_4(state).items() if not key.endswith("kernel.P")}
    with pytest.raises(UserError, match="only those with S4's are read"):
        sashimi.infer_config(diagonal)
