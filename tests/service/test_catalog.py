"""Where checkpoints, pipelines and voices are found."""

import pytest

from speechgen.core.errors import UserError
from speechgen.service import catalog
from tests.tiny import write_pipeline


def test_the_users_folder_is_read_when_asked_and_wins(home, monkeypatch, tmp_path):
    assert catalog.find_pipeline("tiny").parent.parent == home
    write_pipeline(home, "default")
    assert catalog.find_pipeline("default").is_relative_to(home)
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path / "elsewhere"))
    assert not catalog.find_pipeline("default").is_relative_to(home)
    with pytest.raises(UserError, match="unknown pipeline 'tiny'"):
        catalog.find_pipeline("tiny")


def test_a_checkout_brings_its_pipelines_and_three_example_voices(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path))
    assert "default" in catalog.pipelines()
    assert len(catalog.voices()) >= 3
    assert catalog.default_voice().path.is_file()


def test_an_installed_wheel_is_read_from_the_folders_beside_the_package(monkeypatch, tmp_path, tiny_home):
    site = tmp_path / "site-packages"
    (site / "speechgen" / "service").mkdir(parents=True)
    (site / "speechgen_bundle" / "recipes").mkdir(parents=True)
    (site / "speechgen_bundle" / "checkpoints").symlink_to(tiny_home / "checkpoints")
    (site / "speechgen_bundle" / "recipes" / "pipelines").symlink_to(tiny_home / "pipelines")
    (site / "speechgen_app").mkdir()
    (site / "speechgen_app" / "examples").symlink_to(tiny_home / "voices")
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(catalog, "__file__", str(site / "speechgen" / "service" / "catalog.py"))
    assert catalog.find_checkpoint("tiny-vocoder").is_relative_to(site)
    assert set(catalog.pipelines()) == {"tiny", "tiny-reader", "tiny-codes"}
    assert catalog.default_voice().name == "buzz"


def test_an_unknown_checkpoint_names_its_nearest_match_and_a_folder_can_be_given_by_path(home):
    with pytest.raises(UserError, match="did you mean 'tiny-vocoder'"):
        catalog.find_checkpoint("tiny-vocodr")
    folder = home / "checkpoints" / "tiny-vocoder"
    assert catalog.find_checkpoint(str(folder)) == folder


def test_without_any_voice_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path))
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(UserError, match="no example voice is installed: give a reference"):
        catalog.default_voice()
