"""YAML that means one thing: what is read, what is refused, and that hostile files cost little."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frcore.commands.arguments import workflow
from frcore.errors import UserError
from frcore.preflight.load import load_study
from frcore.study.file import DEEPEST, LARGEST, MOST_VALUES, parse_value, read_yaml
from frcore.workflow import Workflow
from tests.tiny_study import TINY, write_study


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_study(path)
    return str(caught.value)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("1.5e3", 1500.0), ("0.1", 0.1), (".5", 0.5), ("5.", 5.0),
        ("-3", -3), ("+5", 5), ("0", 0), ("10", 10), ("true", True), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("'010'", "010"), ('"yes"', "yes"), ("y", "y"),
        ("nan", "nan"), ("1.2.3", "1.2.3"), ("s0", "s0"), ("a: b", {"a": "b"}),
        ("[1, 2.0, x]", [1, 2.0, "x"]), ("!!str 010", "010"), ("|\n  yes", "yes"),
        ("&a 1", 1), ("[&a [1], *a]", [[1], [1]]), ("{<<: {a: 1, b: 2}, a: 3}", {"a": 3, "b": 2}),
        ("{<<: [{a: 1}, {a: 2, b: 2}]}", {"a": 1, "b": 2}),
    ],
)  # fmt: skip
def test_what_every_reader_takes_for_the_same_is_read(text, value):
    found = parse_value(text, "")
    assert found == value
    assert type(found) is type(value)


AMBIGUOUS = {
    "yes": "true or false", "No": "true or false", "on": "true or false", "OFF": "true or false",
    "010": r"\(8 in YAML 1.1\)", "-012": r"\(-10 in YAML 1.1\)", "089": "different numbers",
    "0x10": r"\(16 ", "0b11": r"\(3 ", "0o17": "different numbers", "1_000": r"\(1000 ",
    "1:30": r"\(90 ", "190:20:30": r"\(685230 ", "1:30.5": r"\(90.5 ", "0.1_5": r"\(0.15 ",
    "2024-01-01": "dates", "2024-13-45": "dates", "2001-12-14 21:59:43": "dates",
    "1" * 5000: "5000 characters", "1." + "0" * 5000: "5002 characters", "1_" * 3000: "numbers",
}  # fmt: skip


@pytest.mark.parametrize("text", AMBIGUOUS, ids=lambda text: text[:20])
def test_what_readers_take_for_different_values_is_refused_with_its_line(tmp_path, text):
    path = written(tmp_path, f"name: a\ntraining:\n  epochs: {text}\n")
    message = refusal(path)
    assert message.startswith(f"{path}: line 3: training.epochs: ")
    assert re.search(AMBIGUOUS[text], message)
    assert "write " in message or "shorten it" in message


def test_all_of_them_are_told_at_once(tmp_path):
    message = refusal(written(tmp_path, "seeds: [yes, 010]\ntraining: {epochs: 1:30}\nno: 1\n"))
    assert "4 mistakes:" in message
    for part in ("line 1: seeds[0]: yes given", "line 1: seeds[1]: 010 given",
                 "line 2: training.epochs: 1:30 given", "line 3: no given"):  # fmt: skip
        assert part in message


NO_NUMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "true epochs": ({"training": {**TINY["training"], "epochs": True}},
                    "training.epochs: true given; it should be a valid integer"),
    "true rate": ({"training": {**TINY["training"], "learning_rate": True}},
                  "training.learning_rate: true given; it should be a valid number"),
    "truth values as seeds": ({"seeds": [True, False]}, "seeds[1]: false given"),
    "a text as epochs": ({"training": {**TINY["training"], "epochs": "10"}},
                         "'10' given; it should be a valid integer: write it without quotes"),
    "a fraction of epochs": ({"training": {**TINY["training"], "epochs": 1.5}},
                             "training.epochs: 1.5 given"),
    "a number as a truth value": ({"training": {**TINY["training"], "flip": 1}},
                                  "training.flip: 1 given; it should be a valid boolean"),
    "a text as a truth value": ({"training": {**TINY["training"], "flip": "true"}},
                                "a valid boolean: write it without quotes"),
    "infinity": ({"training": {**TINY["training"], "learning_rate": float("inf")}},
                 "training.learning_rate: inf given; it should be a finite number"),
    "no number": ({"training": {**TINY["training"], "weight_decay": float("nan")}},
                  "training.weight_decay: nan given"),
    "a number as a text": ({"title": 2024}, "title: 2024 given; it should be a valid string: "
                                            "write it in quotes, '2024'"),
    "true as a view": ({"benchmarks": {"b": {"kind": "lfw_pairs", "root": "x", "view": True}}},
                       "benchmarks.b.view"),
    "true as a parameter": ({"backbones": [{"name": "tiny", "dim": True}]}, "dim = True"),
    "a text as a parameter": ({"heads": [{"name": "arcface", "scale": "16"}]}, "scale = '16'"),
    "true as an inner parameter": (
        {"samplers": [{"name": "broadface", "size": 16,
                       "over": {"name": "partial_fc", "rate": True}}]}, "rate = True"),
    "null for a number": ({"training": {**TINY["training"], "epochs": None}},
                          "training.epochs: null given"),
}  # fmt: skip


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("case", NO_NUMBERS)
def test_truth_values_and_texts_are_no_numbers(tmp_path, case):
    changes, expected = NO_NUMBERS[case]
    assert expected in refusal(write_study(tmp_path, **changes))


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("- 50\n", "- 1e2\n"))
    assert load_study(path).measurement.identities == (100,)


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("seeds=[yes]", "--config seeds: [0]: yes given"),
        ("seeds=[true]", "seeds[0]: true given"),
        ("seeds=['0']", "write it without quotes"),
        ("training={epochs: 010}", "--config training: epochs: 010 given (8 in YAML 1.1)"),
        ("heads=[{name: arcface, margin: on}]", "--config heads: [0].margin: on given"),
        ("heads=[{name: arcface, margin: true}]", "margin = True"),
        ("training={epochs: 1", "--config training is not YAML: line 1"),
        ("seeds", "allowed is key=value"),
    ],
)
def test_values_of_the_command_line_are_read_by_the_same_rule(tmp_path, entry, expected):
    path = write_study(tmp_path)
    for read in (lambda: workflow(path, [entry]), lambda: Workflow.load([path], [entry])):
        with pytest.raises(UserError) as caught:
            read()
        assert expected in str(caught.value)


def test_a_key_given_twice_on_the_command_line_is_refused(tmp_path):
    with pytest.raises(UserError, match="'seeds' was given twice"):
        Workflow.load([write_study(tmp_path)], ["seeds=[1]", "seeds=[2]"])


def test_inputs_and_titles_are_text_whatever_they_look_like(tmp_path):
    (tmp_path / "010").mkdir()
    path = write_study(tmp_path, inputs={"faces": None},
                       train={"kind": "folder", "root": "${faces}"})  # fmt: skip
    folder = tmp_path / "010"
    study = load_study(path, {"faces": str(folder), "title": "1:30", "name": "010"})
    assert (study.train.root, study.title, study.name) == (str(folder), "1:30", "010")


# --- hostile and damaged files -------------------------------------------------------------------


def bomb(base: str, item: str) -> str:
    lines = [f"a0: &a0 {base}"]
    for level in range(1, 12):
        lines.append(f"a{level}: &a{level} " + item.format(*[f"*a{level - 1}"] * 9))
    return "\n".join(lines)


HOSTILE = {
    "aliases of aliases": (bomb("[1,1,1]", "[{},{},{},{},{},{},{},{},{}]"), f"{MOST_VALUES:,}"),
    "merges of merges": (
        bomb("{k: 1}", "{{<<: [{},{},{},{},{},{},{},{},{}]}}"),
        f"{MOST_VALUES:,}",
    ),
    "a list in itself": ("x: &x [*x]", "line 1: 'x[0]' contains itself"),
    "a mapping in itself": ("x: &x {a: {b: *x}}", "'x.a.b' contains itself"),
    "a mapping merged into itself": ("x: &x {a: 1, <<: *x}", "contains itself"),
    "a key in itself": ("x: &x\n  ? *x\n  : 1", "contains itself"),
    "deep lists": ("x: " + "[" * 5000 + "]" * 5000, f"more than {DEEPEST} deep"),
    "deep mappings": ("x: " + "{a: " * 5000, f"more than {DEEPEST} deep"),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(500)), f"more than {DEEPEST} deep"),
    "deep aliases": ("\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in
                     range(1, 200))]), f"more than {DEEPEST} deep"),
    "a huge file": ("#" * (LARGEST + 1), f"more than {LARGEST:,} bytes"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins; keep one"),
    "a tab": ("a:\n\tb: 1\n", "line 2, column 1: found character '\\t' that cannot start any token"
                              "; indent with spaces"),
    "an unknown alias": ("a: *b", "undefined alias"),
    "an open bracket": ("a: [1, 2\nb: 3", "is not YAML: line 2"),
    "a control character": ("name: a\ntitle: \x07\n", "line 2: the character U+0007"),
    "a number as a key": ("1: 2", "line 1: the key 1 is not text; write it in quotes"),
    "a list as a key": ("? [1]\n: 2", "the key [1] is not text"),
    "null as a key": ("~: 1", "the key None is not text"),
    "a duplicate key": ("a: 1\nb: {c: 1,\n c: 2}", "line 3: b: duplicate key 'c'; remove one"),
    "merging a number": ("a: {<<: 1}", "'<<' merges mappings"),
    "a tag of Python": ("a: !!python/object/apply:os.system ['true']", "no tags"),
    "a tag that makes a number": ("a: !!int '010'", "the tag !!int given; studies have no tags"),
    "a set": ("a: !!set {b}", "no tags"),
    "bytes": ("a: !!binary aGVsbG8=", "no tags"),
    "Latin-1": ("name: a\ntitle: Gr\xf6\xdfe\n".encode("latin-1"),
                "line 2: the byte 0xf6 is not UTF-8 (in Latin-1 it is 'ö'); save the study as"),
    "UTF-16": ("name: a".encode("utf-16"), "not UTF-8 but UTF-16 or binary; save the study as"),
    "UTF-16 without a mark": ("name: a".encode("utf-16-be"), "save the study as UTF-8"),
    "UTF-32": ("name: a".encode("utf-32"), "save the study as UTF-8"),
    "nothing": ("", "a study is a mapping of keys to values, but this is None"),
    "comments alone": ("# nothing\n", "a study is a mapping"),
    "a list": ("- a", "a study is a mapping"),
}  # fmt: skip


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_damaged_files_are_refused_soon_and_in_words(tmp_path, case):
    text, expected = HOSTILE[case]
    path = written(tmp_path, text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message


@pytest.mark.slow
def test_of_many_mistakes_the_first_are_shown_and_a_long_key_is_cut(tmp_path):
    message = refusal(written(tmp_path, "seeds: [" + "yes," * 3000 + "]"))
    assert "3,000 mistakes:" in message
    assert "seeds[19]: yes" in message
    assert message.endswith("\n  and 2,980 more")
    message = refusal(write_study(tmp_path, heads=[{}] * 3000))
    assert "3,000 mistakes:" in message  # a label is made from the name: one mistake each
    assert "heads[0].name: is missing" in message
    message = refusal(write_study(tmp_path, **{"k" * 100_000: 1}))
    assert message.endswith("kkk…")
    assert len(message) < 2000


@pytest.mark.slow
def test_values_are_counted_with_aliases_written_out(tmp_path, monkeypatch):
    counted = 0
    value = yaml.ScalarNode.__init__

    def count(self: Any, *given: Any, **named: Any) -> None:
        nonlocal counted
        counted += 1
        value(self, *given, **named)

    monkeypatch.setattr(yaml.ScalarNode, "__init__", count)
    text, _ = HOSTILE["aliases of aliases"]
    refusal(written(tmp_path, text))
    assert counted < 100, "aliases are no copies while the file is read"


def test_anchors_and_merges_of_an_honest_study_work(tmp_path):
    path = write_study(tmp_path)
    plain = load_study(path)
    text = path.read_text().replace("epochs: 1\n", "epochs: &one 1\n")
    path.write_text(text.replace("attempts: 1\n", "attempts: *one\n"))
    assert "*one" in path.read_text()
    assert load_study(path) == plain
    heads = "heads:\n- &arc {name: arcface, scale: 16, margin: 0.1}\n"
    path.write_text(yaml.safe_dump({k: v for k, v in TINY.items() if k != "heads"}) + heads
                    + "- {<<: *arc, margin: 0.2, label: wide}\n")  # fmt: skip
    first, second = load_study(path).heads
    assert first.parameters == {"scale": 16.0, "margin": 0.1}
    assert (second.label, second.parameters) == ("wide", {"scale": 16.0, "margin": 0.2})


def test_a_mark_of_utf_8_is_no_part_of_the_study(tmp_path):
    path = write_study(tmp_path)
    plain = load_study(path)
    path.write_bytes(path.read_bytes().decode().encode("utf-8-sig"))
    assert load_study(path) == plain


# --- any text at all -----------------------------------------------------------------------------

TOKENS = [
    "a", "b", "name", "seeds", "training", "epochs", ": ", ":", "- ", "? ", "[", "]", "{", "}", ",",
    ", ", "\n", "\n  ", "\n    ", "&x ", "*x", "&y ", "*y", "<<: ", "!!str ", "!!int ", "! ", "'",
    '"', "#", " # ", "|\n  ",
    ">-\n ", "---\n", "...\n", "%YAML 1.1\n", "\t", "1", "010", "1e3", "yes",
    "null", "1:30", "0x1", "~", "${x}", "\x00", "\ufeff", "ö", "\U0001f600", "\u2028", "\\",
]  # fmt: skip


def answer(read: Callable[[Path], Any], path: Path) -> tuple[Any, str]:
    """What a reader gives, or else says."""
    try:
        return read(path), ""
    except UserError as error:
        return None, str(error)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join), st.text()))
def test_any_text_is_a_mapping_or_refused(tmp_path, text):
    path = written(tmp_path, text.encode("utf-8", "surrogatepass"))
    found, message = answer(read_yaml, path)
    if found is None:
        assert str(path) in message
        return
    assert all(isinstance(key, str) for key in found)
    # What is read is what YAML 1.1 reads too, numbers with an exponent apart.
    same = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    assert _comparable(found) == _comparable(same)


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value):
        return float(value)
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(key=st.sampled_from(sorted(TINY)), value=JSON, inner=st.booleans())
def test_any_value_makes_a_study_or_a_refusal(tmp_path, key, value, inner):
    if inner and isinstance(TINY[key], dict) and isinstance(value, dict):
        value = {**TINY[key], **value}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**TINY, key: value}, allow_unicode=True), encoding="utf-8",
                    errors="surrogatepass")  # fmt: skip
    study, message = answer(load_study, path)
    assert study is not None or str(path) in message
