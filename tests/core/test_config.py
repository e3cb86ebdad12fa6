"""Strict configuration: what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from speechgen.core.config import StrictModel, apply_overrides, read_yaml, validate
from speechgen.core.errors import UserError, unknown


class Inner(StrictModel):
    learning_rate: float = Field(0.1, gt=0)


class Outer(StrictModel):
    steps: int = 5
    inner: Inner = Inner()
    parts: dict[str, Inner] = {}
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"inner": {"learning_rat": 1}}, "inner.learning_rat"),
        ({"parts": {"network": {"learning_rat": 1}}}, "parts.network.learning_rat"),
        ({"maybe": {"learning_rat": 1}}, "maybe.learning_rat"),
    ],
    ids=["section", "section of a dict", "optional section"],
)
def test_an_unknown_key_names_its_place_and_the_nearest_match_there(content, path):
    with pytest.raises(UserError) as caught:
        validate(Outer, content, "recipe.yaml")
    assert str(caught.value) == (
        f"recipe.yaml: {path}: unknown key 'learning_rat': did you mean 'learning_rate'? allowed: learning_rate"
    )


def test_an_unknown_key_at_the_top_lists_the_allowed_ones():
    with pytest.raises(UserError, match=r"unknown key 'xyz': allowed: inner, maybe, parts, steps"):
        validate(Outer, {"xyz": 1}, "recipe.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"steps": "many"}, r"recipe.yaml: steps: .*integer.*given: 'many'"),
        ({"inner": {"learning_rate": 0}}, r"inner.learning_rate: .*greater than 0.*given: 0"),
        ([], r"recipe.yaml: top level: "),
    ],
)
def test_a_wrong_value_names_its_place_what_is_allowed_and_what_was_given(content, said):
    with pytest.raises(UserError, match=said) as caught:
        validate(Outer, content, "recipe.yaml")
    assert "\n" not in str(caught.value)


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner().learning_rate = 1.0


def test_overrides_reach_into_sections_that_exist_or_not_and_read_values_as_yaml():
    content = {"a": {"b": 1}}
    changed = apply_overrides(content, ["a.b=2", "c.d=[1, x]", "e=true", "f=", "g=a=b"])
    assert changed == {"a": {"b": 2}, "c": {"d": [1, "x"]}, "e": True, "f": None, "g": "a=b"}
    assert content == {"a": {"b": 1}}


@pytest.mark.parametrize("text", ["1e-4", "0.0001", "1.0e-4"])
def test_numbers_in_exponent_form_are_numbers(text):
    """YAML reads 1e-4 as a string."""
    content = apply_overrides({}, [f"inner.learning_rate={text}"])
    assert validate(Outer, content, "recipe").inner.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("override", "said"),
    [("steps", "key=value"), ("=3", "key=value"), ("steps.x=1", "'steps' is a value"), ("steps=[1", "cannot read the value")],
)
def test_a_bad_override_is_one_clear_line(override, said):
    with pytest.raises(UserError, match=said) as caught:
        apply_overrides({"steps": 1}, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1", "must be a mapping.*got list"),
        (b"", "must be a mapping"),
        (b"\xff\xfe\xff", "not valid YAML"),
    ],
    ids=["cut", "list", "empty", "binary"],
)
def test_a_file_that_is_no_mapping_is_one_clear_line(tmp_path: Path, content, said):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_yaml_cannot_run_code(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml(path)


def test_a_name_that_resembles_nothing_lists_what_there_is():
    assert str(unknown("voice", "qqq", ["anna", "bob"])) == "unknown voice 'qqq': allowed: anna, bob"
    assert str(unknown("voice", "ana", ["anna", "bob"])) == "unknown voice 'ana': did you mean 'anna'? allowed: anna, bob"


def test_a_missing_key_is_told_without_repeating_the_whole_section():
    class Needy(StrictModel):
        steps: int
        rate: float = 1.0

    with pytest.raises(UserError) as caught:
        validate(Needy, {"rate": 2.5}, "recipe.yaml")
    assert str(caught.value) == "recipe.yaml: steps: Field required"
