"""`speechgen bench synth`: a table for people, one object for programs."""

import json

import pytest

from speechgen.cli.main import run

BENCH = ["bench", "synth", "--pipeline", "tiny", "--runs", "2", "-q"]
ROWS = ("rtf p50", "rtf p95", "semantic", "acoustic", "vocoder", "first sound p50", "first sound p95", "load", "peak memory")


def test_the_table_is_aligned_and_tells_the_conditions(home, capsys):
    assert run([*BENCH, "--text", "Hello there.", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for row in ROWS:
        (line,) = [line for line in lines if line.strip().startswith(row + " ")]
        assert line.endswith(("s", "B")) or line.split()[-1].replace(".", "").isdigit()
    table = lines[: len(ROWS) + 5]
    assert len({len(line) for line in table}) == 1
    assert "1 thread, float32, torch" in lines[-1] and "voice buzz" in lines[-1]


def test_json_is_one_object_with_every_figure(home, capsys, tmp_path):
    (tmp_path / "lines.txt").write_text("Hello there.\nYes.\n")
    assert run([*BENCH, "--sentences", str(tmp_path / "lines.txt"), "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.count("\n") == 1 and found["texts"] == 2 and found["runs"] == 2
    assert {"p50", "p95"} == set(found["speed"]["rtf"]) == set(found["first_audio_seconds"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "Hi.", "--sentences", "a.txt"], "choose one"),
        (["--compare", "bark"], "allowed: vits"),
        (["--runs", "0"], "runs"),
        (["--voice", "buzz", "--ref", "a.wav"], "choose one"),
    ],
    ids=["text", "compare", "runs", "voice"],
)
def test_what_cannot_be_measured_is_one_clear_line(home, capsys, options, message):
    assert run([*BENCH, *options]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
