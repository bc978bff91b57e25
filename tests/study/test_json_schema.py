from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from snakemake.utils import validate

from frcore.study.file import read_yaml
from frcore.study.json_schema import study_schema
from tests.preflight.test_load import MISTAKES
from tests.tiny_study import TINY

SCHEMA_FILE = "workflow/schemas/study.schema.json"

BEYOND_A_SCHEMA = {
    # Relations between keys, and whether something exists, are for `load_study`.
    "contradiction", "same label", "reserved benchmark name", "unknown module", "unknown class",
    "unknown input", "a measurement of models", "deviation in terms of 0 to 1",
    "mean in terms of 0 to 1", "a label of two", "a head's label", "embeddings of no benchmark",
    "names of no embeddings", "published figure of no benchmark",
    "split centres, whole matrix", "split centres, whole matrix, measured",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return study_schema()


def without(study: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**study, **changes}.items() if value is not None}


def test_the_committed_schema_is_in_step(repository, schema):
    committed = json.loads((repository / SCHEMA_FILE).read_text(encoding="utf-8"))
    assert committed == json.loads(json.dumps(schema)), f"frcore schema --out {SCHEMA_FILE}"


@pytest.mark.slow
def test_the_schema_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["quick", "backends", "lfw", "gpu"])
def test_shipped_studies_are_valid_and_name_the_schema(repository, schema, name):
    path = repository / f"config/{name}.yaml"
    text = path.read_text(encoding="utf-8")
    reference = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / reference).resolve() == (repository / SCHEMA_FILE).resolve()
    study = read_yaml(path)
    assert study["name"] == name
    jsonschema.validate(study, schema)


def test_snakemake_accepts_the_schema(repository):
    validate(copy.deepcopy(TINY), schema=str(repository / SCHEMA_FILE))


@pytest.mark.slow
@pytest.mark.parametrize("mistake", sorted(set(MISTAKES) - BEYOND_A_SCHEMA))
def test_the_schema_refuses_what_loading_refuses(schema, mistake):
    study = without(TINY, MISTAKES[mistake][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study, schema)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "changes",
    [
        {"heads": ["arcface", "my.module:Head", {"name": "my.module:Head", "label": "b", "k": 1}]},
        {"samplers": [{"name": "broadface", "size": 8, "over": {"name": "partial_fc", "rate": 1}}]},
        {"backbones": [{"name": "tiny", "weights": "${w}", "freeze": "all", "sha256": "0" * 64}]},
        {"models": [{"label": "m", "kind": "checkpoint", "file": "f", "backbone": "iresnet50"}]},
        {"measurement": None},
        {"inputs": {"faces": None}, "train": {"kind": "folder", "root": "${faces}"}},
    ],
)
def test_the_schema_accepts_other_forms(schema, changes):
    jsonschema.validate(without(TINY, changes), schema)
