"""The workflow as Snakemake reads it: lint, dry runs, profiles, errors. No job runs."""

from __future__ import annotations

import os

import pytest

from tests.tiny_study import write_study
from tests.workflow.snake import REPOSITORY, snakemake

pytestmark = pytest.mark.workflow


def test_lint_finds_nothing():
    done = snakemake(REPOSITORY, "--lint")
    assert done.code == 0, done.text


def test_the_quick_study_is_planned_within_seconds(tmp_path):
    arguments = ("--dry-run", "--cores", "2", "--configfile", REPOSITORY / "config/quick.yaml")
    first = snakemake(tmp_path, *arguments)
    done = snakemake(tmp_path, *arguments)
    assert first.code == done.code == 0, done.text
    assert first.jobs == done.jobs
    # 6 heads × 3 samplers × 2 seeds, all benchmarks of a run in one job.
    counts = {"train_backbone": 36, "evaluate_run": 36, "measure_step": 18, "report_study": 1}
    for rule, count in counts.items():
        assert sum(job.split()[0] == rule for job in done.jobs) == count, rule
    # CPU and not wall time, so that other work on the machine counts less.
    assert done.cpu_seconds < 8
    assert done.cpu_seconds < first.cpu_seconds, "the checked study was not remembered"


@pytest.mark.grid
def test_a_study_of_a_thousand_jobs_is_planned_in_seconds(tmp_path):
    write_study(tmp_path, seeds=list(range(125)))
    arguments = ("--dry-run", "--quiet", "all", "--configfile", "study.yaml")
    snakemake(tmp_path, *arguments)  # what is checked once imports torch
    done = snakemake(tmp_path, *arguments)
    assert done.code == 0, done.text
    assert "total              1008" in done.text
    # CPU and not wall time, so that other work on the machine counts less.
    assert done.cpu_seconds < 20


@pytest.mark.long
def test_both_snakefiles_plan_the_same(tmp_path):
    write_study(tmp_path)
    arguments = ("--dry-run", "--configfile", "study.yaml")
    plans = [
        snakemake(tmp_path, *arguments, snakefile=snakefile)
        for snakefile in ("Snakefile", "workflow/Snakefile")
    ]
    assert plans[0].code == plans[1].code == 0
    assert plans[0].jobs == plans[1].jobs
    assert "report_study" in plans[0].jobs
    assert all("profiles/default" in plan.text for plan in plans), "used without being asked for"


def test_another_workflow_can_use_this_one_as_a_module(tmp_path):
    write_study(tmp_path)
    (tmp_path / "Snakefile").write_text(
        f'''configfile: "study.yaml"

module frcore:
    snakefile: "{REPOSITORY}/workflow/Snakefile"
    config: config

use rule * from frcore as frcore_*
'''
    )
    done = snakemake(
        tmp_path, "--dry-run", "--cores", "1", "--snakefile", tmp_path / "Snakefile", "frcore_all"
    )
    assert done.code == 0, done.text
    assert "frcore_train_backbone tiny-arcface-full-s0" in done.jobs


def test_a_mistake_in_the_study_is_told_without_a_traceback(tmp_path):
    write_study(tmp_path, heads=["arcfase"])
    done = snakemake(tmp_path, "--dry-run", "--configfile", "study.yaml")
    assert done.code != 0
    assert "heads[0]: unknown head 'arcfase'; did you mean 'arcface'?" in done.text
    assert "Traceback" not in done.text


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("seeds=[yes]", "--config seeds: [0]: yes given"),
        ("training={epochs: 010}", "--config training: epochs: 010 given (8 in YAML 1.1)"),
        ("training={epochs: true}", "training.epochs: true given; it should be a valid integer"),
    ],
)
def test_values_of_the_command_line_are_read_as_the_user_wrote_them(tmp_path, pair, expected):
    write_study(tmp_path)
    done = snakemake(tmp_path, "--dry-run", "--configfile", "study.yaml", "--config", pair)
    assert done.code != 0
    assert expected in done.text
    assert "Traceback" not in done.text


@pytest.mark.long
def test_a_mark_of_utf_8_does_no_harm(tmp_path):
    path = write_study(tmp_path)
    path.write_bytes(path.read_bytes().decode().encode("utf-8-sig"))
    done = snakemake(tmp_path, "--dry-run", "--configfile", "study.yaml", "--config", "seeds=[1e0]")
    assert done.code == 0, done.text
    assert "train_backbone tiny-arcface-full-s1" in done.jobs


def test_measurements_take_all_cores_and_gpus_are_asked_for(tmp_path):
    write_study(tmp_path)
    cores = os.cpu_count()
    arguments = ("--dry-run", "--cores", str(cores), "--configfile", "study.yaml")
    text = snakemake(tmp_path, *arguments).text
    measurement = text[text.index("rule measure_step") :].partition("\n\n")[0]
    # Snakemake prints no number where it is 1.
    assert cores == 1 or f"threads: {cores}\n" in measurement
    cuda = snakemake(
        tmp_path, *arguments, "--config", "training={device: cuda}", "measurement={device: cuda}"
    ).text
    for rule in ("train_backbone", "evaluate_run", "measure_step"):
        assert "gpu=1" in cuda[cuda.index(f"rule {rule}") :].partition("rule ")[2].split("rule ")[0]
        assert "gpu=0" in text[text.index(f"rule {rule}") :].partition("rule ")[2].split("rule ")[0]


def test_the_slurm_profile_plans_without_cores(tmp_path):
    write_study(tmp_path)
    profile = REPOSITORY / "workflow/profiles/slurm"
    arguments = ("--dry-run", "--workflow-profile", profile, "--configfile", "study.yaml")
    done = snakemake(tmp_path, *arguments)
    assert done.code == 0, done.text
    measurement = done.text[done.text.index("rule measure_step") :].partition("rule ")[2]
    assert "slurm_partition=main" in measurement.split("rule ")[0]


def test_a_comparison_of_the_quick_study_needs_two_heads_alone(tmp_path):
    (tmp_path / "my_heads.py").write_text(
        "from frcore.heads.arcface import ArcFace\n\n\nclass Mine(ArcFace):\n    pass\n"
    )
    given = (
        "compare",
        "--cores",
        "2",
        "--dry-run",
        "--configfile",
        REPOSITORY / "config/quick.yaml",
    )
    done = snakemake(tmp_path, *given, "--config", "candidate=my_heads:Mine", "baseline=arcface")
    assert done.code == 0, done.text
    # 2 heads × 3 samplers × 2 seeds.
    counts = {"train_backbone": 12, "evaluate_run": 12, "measure_step": 6, "report_study": 0,
              "compare_heads": 1, "judge_comparison": 1, "prepare_data": 3}  # fmt: skip
    for rule, count in counts.items():
        assert sum(job.split()[0] == rule for job in done.jobs) == count, rule


def test_kept_rows_are_compared_with_one_head_or_all(tmp_path):
    write_study(tmp_path)
    given = ("compare", "--dry-run", "--configfile", "study.yaml", "--config")
    kept = f"against={REPOSITORY / 'results/reference/cpu/quick'}"
    one = snakemake(tmp_path, *given, kept, "candidate=arcface")
    assert "train_backbone tiny-arcface-full-s0" in one.jobs
    assert not any("adacos" in job for job in one.jobs)
    every = snakemake(tmp_path, *given, kept)
    assert "train_backbone tiny-adacos-full-s0" in every.jobs
    assert "results/tiny/comparison/all-vs-reference.json" in every.text


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ([], "nothing to compare: add --config candidate=NAME"),
        (
            ["candidate=arcfase", "baseline=adacos"],
            "unknown head 'arcfase'; did you mean 'arcface'?",
        ),
        (["candidate=adacos"], "a comparison needs a baseline"),
        (["candidate=adacos", "baseline=arcface", "tolerance=x"], "tolerance = 'x'"),
    ],
)
def test_a_comparison_that_is_no_comparison_is_told(tmp_path, config, expected):
    write_study(tmp_path)
    given = ("compare", "--dry-run", "--configfile", "study.yaml")
    done = snakemake(tmp_path, *given, *(["--config", *config] if config else []))
    assert done.code != 0
    assert expected in done.text
