"""What people expect of a command line: -h, less or more output, a log, a settings file, patterns, completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from FetusMapV2Lib.cli.global_options import command_name, global_options_first
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume


@pytest.fixture
def three_volumes(tmp_path: Path, monkeypatch, sees_balls) -> Path:
    """A folder of volumes, which is the current one."""
    from cli.synthetic_balls import ball_volume

    volume, _ = ball_volume()
    for name in ("a", "b", "other"):
        write_volume(tmp_path / f"{name}.nrrd", volume)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- global options


@pytest.mark.parametrize(
    "words, first",
    [
        (["estimate", "a", "-q", "-o", "b"], ["-q", "estimate", "a", "-o", "b"]),
        (["estimate", "--log", "x", "a", "--log=y"], ["--log", "x", "--log=y", "estimate", "a"]),
        (["estimate", "--", "-q"], ["estimate", "--", "-q"]),
        (["--config", "x", "plan", "--log"], ["--config", "x", "--log", "plan"]),
        (["estimate", "--quiet=yes"], ["estimate", "--quiet=yes"]),
    ],
)
def test_global_options_count_wherever_they_stand(words, first) -> None:
    assert global_options_first(words) == first


@pytest.mark.parametrize(
    "words, command",
    [
        (["-q", "--log", "estimate.log", "estimate", "a"], "estimate"),
        (["--log=x", "plan"], "plan"),
        (["estimate", "a", "-h"], None),
        (["estimate", "--", "-h"], "estimate"),
        (["--version", "estimate"], None),
        ([], None),
    ],
)
def test_the_command_is_found_behind_global_options(words, command) -> None:
    assert command_name(words) == command


def test_short_help_is_help(fetusmap) -> None:
    assert fetusmap("estimate", "-h").out == fetusmap("estimate", "--help").out != ""


def test_help_ends_with_examples_that_parse(fetusmap) -> None:
    from FetusMapV2Lib.cli.app import _COMMANDS, app

    main = typer.main.get_command(app)
    for command, examples in _COMMANDS.items():
        shown = " ".join(fetusmap(command.__name__, "--help").out.split())
        for example in examples:
            program, name, *arguments = shlex.split(example.rpartition(" | ")[2])
            assert (program, name) == ("fetusmap", command.__name__) and " ".join(example.split()[:3]) in shown
            words = global_options_first([name, *arguments])
            main.commands[name].make_context(name, words[words.index(name) + 1 :])


# ---- how much is printed


def test_quiet_leaves_warnings_and_errors(fetusmap, three_volumes) -> None:
    usual = fetusmap("estimate", "a.nrrd", "-o", "usual")
    quiet = fetusmap("estimate", "a.nrrd", "missing.nrrd", "-o", "quiet", "--quiet")
    assert "CRL" in usual.err and "CRL" not in quiet.err
    assert quiet.code == 2 and len(quiet.errors()) == 1
    warnings = [line for line in usual.err.splitlines() if "CRL" not in line]
    assert warnings == [line for line in quiet.err.splitlines() if line not in quiet.errors()]


def test_verbose_names_stages_and_a_log_keeps_everything(fetusmap, three_volumes) -> None:
    usual = fetusmap("estimate", "a.nrrd", "missing.nrrd", "-o", "usual", "--log", "log.txt")
    verbose = fetusmap("-v", "estimate", "a.nrrd", "-o", "verbose", "--log", "log.txt")
    assert "1/1 a.nrrd: " in verbose.err and "1/2 a.nrrd: " not in usual.err
    log = Path("log.txt").read_text(encoding="utf-8")
    assert "1/2 a.nrrd: " in log and "1/1 a.nrrd: " in log and log.count("CRL") == 2
    assert "ERROR   missing.nrrd" in log
    after = fetusmap("presets")
    assert after.code == 0 and Path("log.txt").read_text(encoding="utf-8") == log


def test_verbose_shows_where_an_unexpected_error_came_from(monkeypatch, capsys) -> None:
    from FetusMapV2Lib.cli import console, running

    for stages, tracebacks in ((True, 1), (False, 0)):
        monkeypatch.setattr(console.verbosity, "stages", stages)
        running.report(KeyError("unforeseen"))
        assert capsys.readouterr().err.count("KeyError: 'unforeseen'\n") == tracebacks


def test_more_and_less_exclude_each_other(fetusmap) -> None:
    answer = fetusmap("presets", "-q", "-v")
    assert answer.code == 2 and "--verbose --quiet" in answer.errors()[0]


def test_a_log_that_cannot_be_written_is_one_line(fetusmap, tmp_path) -> None:
    answer = fetusmap("presets", "--log", tmp_path / "no" / "log.txt")
    assert answer.code == 2 and answer.err.count("\n") == 1 and "the log cannot be written" in answer.err


# ---- settings


def test_settings_of_the_folder_are_used_and_said(fetusmap, three_volumes) -> None:
    Path("fetusmap.toml").write_text('[estimate]\noutput = "out"\nspacing = 0.5\n[plan]\npreset = "unet"\n')
    answer = fetusmap("estimate", "a.nrrd")
    assert answer.code == 0 and Path("out/a.mrk.json").exists()
    assert (
        f"Settings of {three_volumes / 'fetusmap.toml'}, unless given here: output = out, spacing = 0.5" in answer.err
    )
    written = Path("out/a.measurements.json").read_text(encoding="utf-8")
    fetusmap("estimate", "a.nrrd", "-o", "unscaled", "--spacing", "1.0")
    assert written != Path("unscaled/a.measurements.json").read_text(encoding="utf-8")
    assert "Settings" not in fetusmap("presets").err


def test_settings_of_the_user_count_where_the_folder_has_none(fetusmap, three_volumes, monkeypatch) -> None:
    (three_volumes / "user").mkdir()
    monkeypatch.setenv("FETUSMAPV2_DATA", str(three_volumes / "user"))
    Path("user/fetusmap.toml").write_text('[estimate]\noutput = "user-out"\n')
    assert fetusmap("estimate", "a.nrrd").code == 0 and Path("user-out").is_dir()
    Path("mine.toml").write_text('[estimate]\noutput = "my-out"\n')
    assert fetusmap("estimate", "a.nrrd", "--config", "mine.toml").code == 0 and Path("my-out").is_dir()


@pytest.mark.parametrize(
    "text, problem",
    [
        ('[estimate]\ndevise = "cpu"\n', "the command 'estimate' has no option 'devise'"),
        ("[estimat]\n", "there is no command 'estimat'"),
        ('device = "cpu"\n', "there is no command 'device'"),
        ("estimate = 3\n", "the setting 'estimate' belongs to no command"),
        ("[estimate\n", "this is no settings file"),
        ("\xff", "this is no settings file"),
        ('[estimate]\nframe-interval = "long"\n', "--frame-interval"),
    ],
)
def test_wrong_settings_are_one_line(fetusmap, three_volumes, text, problem) -> None:
    Path("fetusmap.toml").write_bytes(text.encode("latin-1"))
    answer = fetusmap("estimate", "a.nrrd", "--output", "out")
    assert answer.code == 2 and problem in answer.errors()[0] and len(answer.errors()) == 1
    assert not Path("out").exists()


def test_settings_that_are_not_there_are_one_line(fetusmap, tmp_path) -> None:
    answer = fetusmap("presets", "--config", tmp_path / "none.toml")
    assert answer.code == 2 and "the settings cannot be read" in answer.errors()[0]


# ---- files


def test_patterns_are_expanded_where_the_shell_did_not(fetusmap, three_volumes) -> None:
    write_volume("[x].nrrd", Volume(np.zeros((20, 20, 20), np.uint8), np.eye(4)))
    answer = fetusmap("estimate", "?.nrrd", "oth*.nrrd", "none*.nrrd", "[x].nrrd", "-o", "out")
    assert answer.code == 2
    assert {path.name for path in Path("out").glob("*.mrk.json")} == {"a.mrk.json", "b.mrk.json", "other.mrk.json"}
    refused = " ".join(answer.errors())
    assert len(answer.errors()) == 2 and "none*.nrrd: no file matches" in refused and "[x].nrrd" in refused


def test_a_folder_of_volumes_explains_itself(fetusmap, three_volumes) -> None:
    answer = fetusmap("estimate", three_volumes, "-o", three_volumes.parent / "out")
    assert answer.code == 2
    assert "volumes of other formats" in answer.errors()[0] and f"{three_volumes}/*.nrrd" in answer.errors()[0]


# ---- the shell


@pytest.mark.skipif(os.name != "posix", reason="the completion of a POSIX shell")
def test_commands_and_options_are_completed() -> None:
    def completions(words: str) -> list[str]:
        variables = {"_FETUSMAP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        code = "import sys; sys.argv = ['fetusmap']; from FetusMapV2Lib.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables}
        )
        return done.stdout.split()

    assert "estimate" in completions("fetusmap est")
    assert "--skip-existing" in completions("fetusmap estimate --sk")
