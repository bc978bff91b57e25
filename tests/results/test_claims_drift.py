"""Claims about how far embeddings drift."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from frcore.preflight.claims import claim_problems
from frcore.results.claims import claim_rows
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study.config import Study
from tests.reporting.made import Made

SAID = {"says": "It is so.", "source": "A paper, Table 1"}


def test_a_claim_about_drift(complete: Made, tmp_path: Path):
    """The gain is compensated − queued of the same runs: 0.2 and 0.4 over the two seeds."""
    root = tmp_path / "copy"
    shutil.copytree(complete.root, root)
    for path in root.glob("runs/*/diagnostics.json"):
        record = json.loads(path.read_text())
        seed = int(record["id"][-1])
        record["drift"] = [
            {"start": start, "step": 9, "age": age, "images": 8, "queued": 0.5 - 0.01 * age,
             "compensated": 0.7 + 0.2 * seed - 0.01 * age}
            for start in (0.1, 0.6) for age in (1, 4)
        ]  # fmt: skip
        path.write_text(json.dumps(record))
    content = complete.study.model_dump(mode="json")
    gain = {"number": {"drift": "gain", "age": 4, "start": 0.1}, "of": ["arcface-full"], "above": 0}
    queued = {
        "number": {"drift": "queued", "age": 4, "start": 0.6},
        "of": ["arcface"],
        "below": 0.47,
    }
    content["claims"] = {"gain": {**SAID, "test": gain}, "queued": {**SAID, "test": queued}}
    study = Study.model_validate(content)
    rows = collect(study, root)
    found = {row.claim: row for row in claim_rows(Summary(study, rows, Scores(root, rows)))}
    assert found["gain"].value == pytest.approx(0.3)
    assert found["queued"].value == pytest.approx(0.46)
    assert (found["gain"].seeds, found["gain"].verdict) == (2, "cannot be told")
    assert found["queued"].verdict == "reproduced"

    assert "add training.drift" in claim_problems(study)[0]
    content["training"]["drift"] = {"starts": [0.1, 0.6], "ages": [1, 4]}
    assert claim_problems(Study.model_validate(content)) == []
    content["claims"]["gain"]["test"]["number"]["age"] = 5
    [problem] = claim_problems(Study.model_validate(content))
    assert problem == "claims.gain.test.number: age 5 is not recorded; training.drift has 1, 4"
    content["claims"]["gain"]["test"]["number"].pop("age")
    with pytest.raises(ValidationError, match="`drift`, `age` and `start` belong together"):
        Study.model_validate(content)
