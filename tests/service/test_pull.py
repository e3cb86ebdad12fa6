"""Published weights by name: fetched, compared with their hashes, licensed, and speaking; and all that can go wrong."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.models.vocoders.vocos.config import VocosConfig
from speechgen.service import catalog, imports
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from tests.conftest import REPOSITORY
from tests.tiny import RATE, voice_like

hub = pytest.importorskip("huggingface_hub")
SYMBOLS = (" ", *"abcdefghij")


def published(family: str, prefix: str = "ema_model.") -> dict[str, torch.Tensor]:
    golden, start = load_file(REPOSITORY / "tests" / "golden" / "f5.safetensors"), f"{family}.state."
    return {f"{prefix}{key.removeprefix(start)}": value for key, value in golden.items() if key.startswith(start)}


def lay_out(folder: Path, family: str = "e2") -> Path:
    folder.mkdir(parents=True)
    save_file(published(family), folder / "model_7.safetensors")
    (folder / "vocab.txt").write_text("".join(f"{symbol}\n" for symbol in SYMBOLS), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SPEECHGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    return tmp_path / "home"


@pytest.fixture
def online(tmp_path, monkeypatch) -> Path:
    """A hub that holds SWivid/E2-TTS; returns the folder of its cached contents, by hash."""
    origin, blobs, place = lay_out(tmp_path / "origin" / "E2TTS_Base"), tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()

    def list_repo_files(repository: str) -> list[str]:
        assert repository == "SWivid/E2-TTS"
        return ["README.md", *(f"E2TTS_Base/{path.name}" for path in origin.iterdir())]

    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        assert repository == "SWivid/E2-TTS"
        for path in origin.iterdir():
            if any(fnmatch(f"E2TTS_Base/{path.name}", pattern) for pattern in allow_patterns):  # as the hub's client does
                content = path.read_bytes()
                small = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
                blob = blobs / (small if path.suffix == ".txt" else hashlib.sha256(content)).hexdigest()
                if not blob.exists():
                    blob.write_bytes(content)
                link = place / "E2TTS_Base" / path.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(blob)
        return str(place)

    monkeypatch.setattr(hub, "list_repo_files", list_repo_files)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return blobs


def vocoder_for(bins: int, home: Path, name: str) -> None:
    """A tiny vocoder of mels of other sizes."""
    spec = registry.get("vocos")
    config = VocosConfig.tiny().model_copy(update={"mel": MelSettings(num_bins=bins)})
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT, model="vocos", config=config.model_dump(mode="json"), accepts=spec.accepts,
        produces=spec.produces, mel=config.mel,
    )  # fmt: skip
    checkpoint.save(home / "checkpoints" / name, info, spec.build(config).state_dict())


def test_one_command_fetches_weights_and_makes_a_pipeline_that_speaks(online, own_home, tmp_path, capsys):
    vocoder_for(20, own_home, "vocos-mel-24khz")
    assert run(["models", "pull", "e2tts-base"]) == 0
    told = capsys.readouterr()
    assert "synth --pipeline e2tts-base" in told.out and "CC-BY-NC-4.0" in told.err
    write_audio(tmp_path / "voice.wav", voice_like(3.0), RATE)
    request = {"text": "a bad face", "pipeline": "e2tts-base", "steps": 2, "seed": 1, "ref": tmp_path / "voice.wav"}
    result = Engine("cpu").synthesize(SynthesisRequest.checked({**request, "ref_text": "jade had bad"}))
    assert result.samples.isfinite().all() and result.seconds > 0.5
    faster = Engine("cpu", ["precision=int8"]).synthesize(SynthesisRequest.checked({**request, "ref_text": "jade had bad"}))
    assert faster.seconds > 0.5 and not torch.equal(faster.samples, result.samples)


def test_what_came_damaged_is_refused_and_fetched_anew(online, own_home):
    imports.pull("e2tts-base")
    (own_home / "checkpoints" / "e2tts-base").rename(own_home / "away")
    damaged = max(online.iterdir(), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(UserError, match=r"model_7\.safetensors came damaged: its hash is .*try again"):
        imports.pull("e2tts-base")
    assert not (own_home / "checkpoints" / "e2tts-base").exists()
    assert imports.pull("e2tts-base").parameters > 0


def test_a_repository_of_several_models_names_their_folders_and_fetches_nothing(own_home, tmp_path, monkeypatch):
    """A folder in it is fetched alone, though `*.safetensors` fits files in folders, too."""
    origin, fetched = tmp_path / "snapshot", []
    for name in ("F5TTS_Base", "F5TTS_v1_Base"):
        lay_out(origin / name, "f5")
    names = [path.relative_to(origin).as_posix() for path in origin.rglob("*") if path.is_file()]

    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        fetched.extend(name for name in names if any(fnmatch(name, pattern) for pattern in allow_patterns))
        return str(origin)

    monkeypatch.setattr(hub, "list_repo_files", lambda repository: [*names, "F5TTS_Base/samples/a.wav"])
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    several = r"lie in folders, .* give one of SWivid/F5-TTS/F5TTS_Base, SWivid/F5-TTS/F5TTS_v1_Base$"
    with pytest.raises(UserError, match=several):
        imports.import_published("f5", "SWivid/F5-TTS", "x")
    with pytest.raises(UserError, match=r"did not give it \(SWivid/F5-TTS/none has no \*\.safetensors or \*\.pt\)"):
        imports.import_published("f5", "SWivid/F5-TTS/none", "x")
    assert not fetched
    assert imports.import_published("f5", "SWivid/F5-TTS/F5TTS_v1_Base", "x").parameters > 0
    assert sorted(fetched) == ["F5TTS_v1_Base/model_7.safetensors", "F5TTS_v1_Base/vocab.txt"]


def test_what_the_cache_has_is_enough_without_a_network(own_home, tmp_path, monkeypatch):
    snapshot = tmp_path / "cache" / "models--me--mine" / "snapshots" / ("0" * 40)
    lay_out(snapshot / "E2TTS_Base")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert imports.import_published("f5", "me/mine/E2TTS_Base", "x").parameters > 0
    with pytest.raises(UserError, match="give one of me/mine/E2TTS_Base"):
        imports.import_published("f5", "me/mine", "y")


def failing(kind: str) -> Exception:
    """Errors of the hub's client: of its HTTP library, whichever it is, of its storage's, and of neither."""
    library = hub.errors.HfHubHTTPError.__bases__[0]
    kinds = {"http": type("ProxyError", (library,), {}), "xet": hub.errors.XetDownloadError, "other": RuntimeError}
    return kinds[kind]("refused")


@pytest.mark.parametrize("kind", ["http", "xet", "other"])
@pytest.mark.parametrize("call", ["list_repo_files", "snapshot_download"])
def test_whatever_the_client_raises_says_what_to_copy(online, monkeypatch, call, kind, capsys):
    def fails(*given: object, **more: object) -> None:
        raise failing(kind)

    monkeypatch.setattr(hub, call, fails)
    assert run(["models", "pull", "e2tts-base"]) == 2
    said = capsys.readouterr().err
    assert f"did not give it ({type(failing(kind)).__name__}): copy *.safetensors" in said and len(said.splitlines()) == 1


def test_without_a_network_it_says_what_to_copy_where_and_that_works(own_home, tmp_path, monkeypatch, capsys):
    assert run(["models", "pull", "e2tts-base"]) == 2
    said = capsys.readouterr().err
    assert (
        "copy *.safetensors or *.pt and vocab.txt of huggingface.co/SWivid/E2-TTS/E2TTS_Base into a folder E2TTS_Base" in said
    )
    assert said.rstrip().endswith("speechgen models import f5 E2TTS_Base --name e2tts-base")
    lay_out(tmp_path / "E2TTS_Base")
    monkeypatch.chdir(tmp_path)
    assert run(["models", "import", "f5", "E2TTS_Base", "--name", "e2tts-base"]) == 0
    with pytest.raises(UserError, match="did you mean 'e2tts-base'"):
        imports.pull("e2tts-bas")


def test_licences_are_listed_and_what_is_not_free_is_marked(own_home, tmp_path, capsys):
    assert run(["models", "show", "f5tts-base"]) == 0
    assert "models pull f5tts-base" in capsys.readouterr().out
    imports.import_published("f5", str(lay_out(tmp_path / "E2TTS_Base")), "e2tts-base")
    assert run(["models", "list"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    lines = {line.split()[0]: line for line in reversed(told)}  # checkpoints come before pipelines
    assert "CC-BY-NC-4.0 (not for commercial use)" in lines["e2tts-base"] and "Apache-2.0" in lines["default-vocoder"]
    assert "MIT" in lines["vocos-mel-24khz"] and "not for commercial use" in lines["f5tts-v1-base"]
    assert catalog.licence(catalog.find_checkpoint("e2tts-base")) == "CC-BY-NC-4.0"
    assert run(["models", "show", "e2tts-base"]) == 0
    assert "licence of the weights: CC-BY-NC-4.0 (not for commercial use)" in capsys.readouterr().out
    assert {name for name, each in imports.pullable().items() if each.commercial} == {"vocos-mel-24khz"}


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = lay_out(tmp_path / "E2TTS_Base") / "model_7.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read as weights .*copy it again"):
        imports.import_published("f5", str(path.parent), "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("ema_model.transformer.layers.1.2.to_k.weight"), r"lack layers\.1\.2\.to_k\.weight"),
        (lambda state: state.pop("ema_model.transformer.time_embed.time_mlp.0.bias"), r"it lacks time\.perceptron\.0\.bias"),
        (lambda state: state.update({"ema_model.transformer.x.y": torch.zeros(1)}), r"no published E2 or F5 has: x\.y"),
        (lambda state: state.update({"ema_model.transformer.proj_out.bias": torch.zeros(3)}), r"shape are out\.bias"),
    ],
    ids=["half a product", "lacking", "strange", "shape"],
)  # fmt: skip
def test_foreign_weights_are_refused_by_the_names_that_differ(tmp_path, own_home, change, said):
    folder = lay_out(tmp_path / "E2TTS_Base")
    state = published("e2")
    change(state)
    save_file(state, folder / "model_7.safetensors")
    with pytest.raises(UserError, match=said):
        imports.import_published("f5", str(folder), "x")
    assert not (own_home / "checkpoints" / "x").exists() and not (own_home / "pipelines").exists()


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not(tmp_path):
    folder, traces = lay_out(tmp_path / "E2TTS_Base"), tmp_path / "ran"
    (folder / "model_7.safetensors").unlink()
    torch.save({"ema_model_state_dict": published("e2"), "more": Runs(traces)}, folder / "model_7.pt")  # noqa: TID251
    with pytest.raises(UserError, match="reading it would run code"):
        imports.import_published("f5", str(folder), "x")
    assert not traces.exists()


def test_the_name_of_another_pipeline_is_left_alone(own_home, tmp_path):
    (own_home / "pipelines").mkdir(parents=True)
    (own_home / "pipelines" / "mine.yaml").write_text("mine")
    made = imports.import_published("f5", str(lay_out(tmp_path / "E2TTS_Base")), "mine")
    assert made.pipeline is None and (own_home / "pipelines" / "mine.yaml").read_text() == "mine"
