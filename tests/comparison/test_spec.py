"""What the settings of a comparison mean in a study."""

from __future__ import annotations

import pytest

from frcore.comparison.spec import comparison_of, split_settings
from frcore.errors import UserError
from frcore.preflight.load import with_checked_components
from frcore.study import expansion
from tests.comparison.making import spec_of
from tests.reporting.tree import make_study

ARCFACES = [{"name": "arcface", "label": f"arc{m}", "margin": m / 10} for m in (1, 3)]


def test_a_head_of_the_study_keeps_its_parameters_and_its_runs():
    study = make_study(heads=["softmax", {"name": "cosface", "margin": 0.1}, "arcface"])
    spec = spec_of(study, candidate="cosface", baseline="arcface")
    runs = expansion.runs(spec.study)
    assert len(runs) == 2 * 2 * 2
    assert all(expansion.runs(study)[name].hash == run.hash for name, run in runs.items())
    assert not any("softmax" in name for name in runs)
    assert spec.id == "cosface-vs-arcface"


def test_a_head_may_be_of_the_catalogue_or_the_users_own():
    study = make_study()
    spec = spec_of(study, candidate="magface", baseline="arcface")
    assert [head.label for head in spec.study.heads] == ["arcface", "magface"]
    own = spec_of(study, candidate={"name": "my.heads:Mine", "margin": 0.2}, baseline="arcface")
    assert own.id == "Mine-vs-arcface"
    assert own.study.heads[1].parameters == {"margin": 0.2}


def test_a_name_that_stands_once_in_the_study_is_that_head():
    study = make_study(heads=[ARCFACES[0], "softmax"])
    assert spec_of(study, candidate="softmax", baseline="arcface").baseline == "arc1"


def test_parameters_are_checked_and_the_error_names_the_side():
    with pytest.raises(UserError, match=r"(?m)^ *candidate: .*margn.*did you mean 'margin'"):
        comparison_of(
            make_study(),
            {"candidate": {"name": "cosface", "margn": 1}, "baseline": "arcface"},
            check=with_checked_components,
        )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "needs a baseline: a head of the study"),
        ({"baseline": "arcface"}, "needs a candidate"),
        ({"candidate": "cosfase", "baseline": "arcface"}, "did you mean 'cosface'"),
        ({"candidate": "arcface", "baseline": "arcface"}, "both called 'arcface'"),
        ({"candidate": {"margin": 1}, "baseline": "arcface"}, "is not a head"),
        (
            {"candidate": {"name": "softmax", "x": 1}, "baseline": "arcface"},
            "with different parameters",
        ),
        ({"candidate": "softmax", "baseline": "arcface", "strict": True}, "add a tolerance"),
        ({"candidate": "softmax", "baseline": "arcface", "tolerance": -1}, "tolerance = -1"),
        ({"candidate": "softmax", "baseline": "arcface", "against": "x"}, "leave one out"),
    ],
)
def test_a_mistake_is_told(settings, expected):
    with pytest.raises(UserError, match=expected):
        spec_of(make_study(), **settings)


def test_a_name_that_stands_twice_is_not_guessed():
    with pytest.raises(UserError, match="arc1, arc3; give one of these labels"):
        spec_of(make_study(heads=ARCFACES), candidate="softmax", baseline="arcface")


def test_settings_are_told_from_the_studys_keys():
    given = {"candidate": "{name: cosface, margin: 0.2}", "tolerance": "1", "seeds": "[0]",
             "against": "results/2024: old"}  # fmt: skip
    own, others = split_settings(given)
    assert own == {"candidate": {"name": "cosface", "margin": 0.2}, "tolerance": 1,
                   "against": "results/2024: old"}  # fmt: skip
    assert others == {"seeds": "[0]"}
