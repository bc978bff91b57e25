"""The JSON Schema of a study: from the pydantic models, with the catalogues' names filled in.

Editors read it through the first line of each file in `config/`; Snakemake's `validate` accepts it.
"""

from __future__ import annotations

import json
from typing import Any

from frcore.backbones import BACKBONES
from frcore.components.catalogue import Catalogue
from frcore.heads import HEADS
from frcore.samplers import SAMPLERS
from frcore.study.config import TRAINING_PARTS, Study
from frcore.study.section import LABEL_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"
CUSTOM = {"type": "string", "pattern": ":", "description": "A class of your own: module:Class."}
TEXT = {"type": "string"}
LABEL = {"type": "string", "pattern": LABEL_PATTERN, "description": "In files and tables."}


def study_schema() -> dict[str, Any]:
    """The schema of a study's YAML, before `${...}` is filled in."""
    schema = Study.model_json_schema()
    definitions = schema["$defs"]
    definitions.pop("Component")
    section = definitions.pop("Backbone")["properties"]
    definitions |= {key: section[key] for key in ("weights", "sha256", "freeze")}
    definitions["freeze"]["anyOf"] = [TEXT, {"type": "array", "items": TEXT}]
    for key in ("type", "items"):
        definitions["freeze"].pop(key)
    start = {key: {"$ref": f"#/$defs/{key}"} for key in ("weights", "sha256", "freeze")}
    for field, catalogue in (("backbones", BACKBONES), ("heads", HEADS), ("samplers", SAMPLERS)):
        definitions[catalogue.kind] = _component(catalogue, start if field == "backbones" else {})
        schema["properties"][field]["items"] = {"$ref": f"#/$defs/{catalogue.kind}"}
        schema["properties"][field]["minItems"] = 1
    measurement = definitions["Measurement"]["properties"]
    for given in (measurement, definitions["CheckpointModel"]["properties"]):
        given["backbone"]["anyOf"] = [{"$ref": "#/$defs/backbone"}, {"type": "null"}]
    metric = {"type": "string", "description": "A benchmark's metric, such as pairs.accuracy."}
    definitions["Quantity"] = {"anyOf": [metric, definitions["Quantity"]]}
    for field in ("benchmarks", "inputs", "claims"):
        schema["properties"][field]["additionalProperties"] = False
    # A study trains, or evaluates models trained elsewhere, or both.
    schema["anyOf"] = [{"required": list(TRAINING_PARTS)}, {"required": ["models"]}]
    schema["dependentRequired"] = {
        part: [other for other in TRAINING_PARTS if other != part] for part in TRAINING_PARTS
    }
    return {"$schema": DIALECT, **_defaults_in_words(schema)}


def _defaults_in_words(node: Any) -> Any:
    """`node` with each default in its description.

    Snakemake's `validate` fills defaults in from every alternative of a union, also the wrong ones.
    """
    if isinstance(node, list):
        return [_defaults_in_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    words = {
        # These map names to schemas, and a name may be "default".
        key: {name: _defaults_in_words(item) for name, item in value.items()}
        if key in ("$defs", "properties", "patternProperties")
        else _defaults_in_words(value)
        for key, value in node.items()
    }
    default = words.pop("default", None)
    if default is not None and default != [] and not isinstance(default, dict):
        sentence = f"Default: {json.dumps(default)}."
        about = words.get("description")
        words["description"] = f"{about} {sentence}" if about else sentence
    return words


def _component(catalogue: Catalogue[Any], more: dict[str, Any]) -> dict[str, Any]:
    """A name or a mapping; the parameters of each known name are closed, a class's own are not.

    Args:
        catalogue: of the components.
        more: settings that all of them have beside their own.
    """
    known = {name: _known(catalogue, name, more) for name in catalogue}
    alone = [name for name, mapping in known.items() if mapping["required"] == ["name"]]
    names = {"name": CUSTOM, "label": LABEL, **more}
    own = {"type": "object", "properties": names, "required": ["name"]}
    return {
        "description": f"A {catalogue.kind}: its name, or a mapping with its name and parameters.",
        "anyOf": [{"enum": alone}, CUSTOM, *known.values(), own],
    }


def _known(catalogue: Catalogue[Any], name: str, more: dict[str, Any]) -> dict[str, Any]:
    (described,) = catalogue.describe(name)
    parameters = catalogue.properties(name)
    if "over" in parameters:
        parameters["over"] = {"$ref": f"#/$defs/{catalogue.kind}"}
    required = [key for key, value in described["parameters"].items() if value["required"]]
    return {
        "type": "object",
        "description": described["summary"],
        "properties": {"name": {"const": name}, "label": LABEL, **more, **parameters},
        "required": ["name", *required],
        "additionalProperties": False,
    }
