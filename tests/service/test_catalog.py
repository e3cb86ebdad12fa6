"""Where checkpoints, pipelines and voices are found."""

import pytest

from speechgen.core.errors import UserError
from speechgen.server.application import check
from speechgen.server.settings import ServerSettings
from speechgen.service import catalog
from speechgen.service.engine import Engine
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


def test_a_pipeline_without_its_checkpoints_is_not_listed_and_says_what_it_lacks(home):
    (home / "checkpoints" / "tiny-speaker").rename(home / "elsewhere")
    (home / "checkpoints" / "tiny-codec" / "config.json").unlink()
    assert "tiny-codes" not in catalog.pipelines() and "tiny" in catalog.pipelines()
    for refused in (Engine("cpu").load, Engine("cpu").check):
        with pytest.raises(
            UserError, match="tiny-codes needs tiny-speaker and tiny-codec, not installed here: copy what is miss"
        ):
            refused("tiny-codes")
    assert (
        str(catalog.unusable("tiny-codes", "model")) == "model tiny-codes needs tiny-speaker and tiny-codec, not installed here"
    )
    with pytest.raises(UserError, match="tiny-codes needs"):
        check(ServerSettings(pipeline="tiny-codes"))
    write_pipeline(home, "own", acoustic=str(home / "elsewhere"), vocoder="tiny-vocoder")
    write_pipeline(home, "damaged").write_text("checkpoints: [", encoding="utf-8")
    assert {"own", "damaged"} <= set(catalog.pipelines())  # by its folder; and that one is damaged is told when it is loaded


def test_a_checkpoint_may_take_the_place_of_one_that_is_missing(home):
    (home / "checkpoints" / "tiny-vocoder").rename(home / "checkpoints" / "another")
    assert Engine("cpu", ["checkpoints.vocoder=another"]).check("tiny").folders["vocoder"].name == "another"
    with pytest.raises(UserError, match="did you mean 'another'"):
        Engine("cpu", ["checkpoints.vocoder=anothr"]).check("tiny")


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
