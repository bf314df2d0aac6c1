"""`lusirag train` from the command line: stages, dry run, curves, export."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.command_line import Run
from tests.training_world import recipe, write_world

PNG = b"\x89PNG"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path)


def written(world: Path, stage: str, **changes: object) -> Path:
    file = world / f"{stage}.yaml"
    file.write_text(yaml.safe_dump(recipe(world, stage, **changes)), "utf-8")  # type: ignore[arg-type]
    return file


def test_both_stages_curves_and_export(run: Run, world: Path) -> None:
    dev = {"evaluation": {"sets": {"dev": str(world / "pairs.jsonl")}, "every": 2}}
    align = run("train", "align", "--config", written(world, "alignment", run={"output": str(world / "align")}))
    assert align.code == 0
    assert "step 12/12  loss " in align.err
    assert "tokens/s" in align.err
    contrast = run(
        "train", "contrast", "-c", written(world, "contrastive", **dev),
        "--set", f"model={{start: {world / 'align'}}}", "--set", "optimization.max_steps=4", "--json",
    )  # fmt: skip
    assert contrast.code == 0
    (report,) = contrast.records
    assert (report["steps"], report["resumed_at"]) == (4, 0)
    assert report["figures"].keys() == {"step", "dev", "mean"}
    assert "step 4/4  nDCG@10 dev " in contrast.err
    assert logging.getLogger("lusirag.embedding").level == logging.NOTSET  # cut texts are no news in a run alone

    assert run("train", "plot", world / "run", world / "align", "--out", world / "curves.png").code == 0
    assert (world / "curves.png").read_bytes().startswith(PNG)
    assert run("train", "export", world / "run", "--out", world / "model").code == 0
    embedded = run("embed", "abc", "--model", world / "model", "--runtime", "torch", "--json")
    assert embedded.code == 0
    card = (world / "model" / "README.md").read_text("utf-8")
    assert f"| dev | {report['figures']['dev']:.4f} |" in card or "| dev | " in card
    again = run("train", "export", world / "run", "--out", world / "model")
    assert again.code == 2
    assert "not an empty folder" in again.err


@pytest.mark.parametrize(("stage", "command", "roles"), [
    ("contrastive", "contrast", {"query", "positive", "negative"}),
    ("alignment", "align", {"source", "target", "target as seen"}),
])  # fmt: skip
def test_a_dry_run_tells_and_trains_nothing(run: Run, world: Path, stage: str, command: str, roles: set[str]) -> None:
    found = run("train", command, "--config", written(world, stage), "--dry-run", "--json")
    assert found.code == 0
    (facts,) = found.records
    parts = facts["trained_parts"]
    assert facts["trained_parameters"] == sum(parts.values()) < facts["parameters"]
    assert ("language_model (LoRA)" in parts) == (stage == "contrastive")
    assert facts["steps"] == (6 if stage == "contrastive" else 12)
    assert facts["rows"] == {"pairs": 48}
    assert all(count > 0 for count in facts["memory_bytes"].values())
    assert {each["role"] for each in facts["sample"]} == roles
    found_instruction = any("Find" in each["text"].replace(" ", "") for each in facts["sample"])
    assert found_instruction == (stage == "contrastive")
    assert not (world / "run").exists()
    for_people = run("train", command, "--config", written(world, stage), "--dry-run")
    assert f"{facts['trained_parameters']:,}" in for_people.out


def test_faults_of_a_recipe_come_as_one_line(run: Run, world: Path) -> None:
    found = run("train", "contrast", "--config", written(world, "contrastive"), "--set", "loss.name=triplet")
    assert found.code == 2
    assert "loss.name is 'triplet'" in found.err.splitlines()[-1]


def test_no_run_no_curves(run: Run, tmp_path: Path) -> None:
    assert "no training.csv" in run("train", "plot", tmp_path, "--out", tmp_path / "curves.png").err
    assert "allowed: .png" in run("train", "plot", tmp_path, "--out", tmp_path / "curves.gif").err
    assert "is no folder of a run" in run("train", "export", tmp_path, "--out", tmp_path / "model").err


@pytest.mark.parametrize("entry_points", ["lambda **_: ()", "metadata.entry_points"], ids=["checkout", "installed"])
def test_the_module_trains_whether_lusirag_is_installed_or_not(entry_points: str) -> None:
    program = f"""
import runpy, sys
from importlib import metadata
metadata.entry_points = {entry_points}
sys.argv = ["lusirag_training", "contrast", "--help"]
runpy.run_module("lusirag_training", run_name="__main__")
"""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "training"), str(ROOT / "integrations")])}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | paths, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "--dry-run" in ran.stdout
