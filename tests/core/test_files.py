"""What is made by different models lies in different folders."""

from __future__ import annotations

import pytest

from speechgen.core.files import folder_name


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("vocos-small", "vocos-small"),
        ("runs/a/checkpoint", "runs_a_checkpoint"),
        ("/abs/olute/", "abs_olute"),
        ("magnet-small, causal", "magnet-small-causal"),
    ],
)
def test_a_folder_has_no_slash_and_tells_runs_apart(name: str, folder: str):
    assert folder_name(name) == folder
