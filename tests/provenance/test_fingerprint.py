"""What changes a fingerprint and what does not: edits of a small package, and of frcore itself."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import frcore
from frcore.heads import HEADS
from frcore.provenance import stages
from frcore.provenance.fingerprint import APART, Code, code_fingerprint
from frcore.provenance.remembered import Remembered
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec
from tests.training.conftest import IMAGE, run_spec

PACKAGE = Path(frcore.__file__).parent

MINE = {
    "__init__.py": "",
    "run.py": '''
        """A stage."""

        from __future__ import annotations

        import logging
        from typing import TYPE_CHECKING

        import json as text
        from mine import plan
        from mine.catalogue import HEADS, load
        from mine.tools import checked, refuse

        if TYPE_CHECKING:
            from mine.other import Other

        log = logging.getLogger(__name__)
        STEPS = 3


        def train(head: str, other: Other | None = None) -> float:
            """Train."""
            if STEPS < 1:
                why = f"only {STEPS} given"
                raise ValueError(f"too few steps: {why}")
            log.info("a run of %d steps", STEPS)
            refuse("no steps", [1] if STEPS > 9 else [])
            assert STEPS, "none left"
            return checked(load(HEADS[head])().loss(plan.rate(STEPS)), text.dumps({"key": 1}))
        ''',
    "plan.py": '''
        """Rates."""

        from mine.numbers import HALF


        def rate(steps, first=1.0):
            """Of a step."""
            return first * HALF / steps  # the rate


        def unused():
            return "never called"
        ''',
    "numbers.py": "HALF = 0.5\nTHIRD = 1 / 3\n",
    "tools.py": '''
        """Tools."""

        import functools


        class Wrong(ValueError):
            """What is wrong."""


        @functools.lru_cache
        def checked(value, text):
            if value < 0:
                raise Wrong("negative " + str(value) + ": give more")
            return value + len(text)


        def refuse(what, problems):
            """Refuse."""
            if problems:
                raise Wrong(f"{len(problems)} {what}: repair them")
        ''',
    "catalogue.py": '''
        """Heads by name."""

        import importlib

        HEADS = {
            "plain": "mine.heads:Plain",
            "wide": "mine.wide:Wide",
        }


        def load(place):
            module, _, name = place.partition(":")
            return getattr(importlib.import_module(module), name)
        ''',
    "base.py": '''
        class Head:
            source = None

            def loss(self, rate):
                return self.scaled(rate)

            def scaled(self, rate):
                return 2 * rate
        ''',
    "heads.py": '''
        from mine.base import Head


        class Plain(Head):
            """A head."""

            source = "Somebody, 2020"
            formula = "2x"
            margin: float = 0.1
        ''',
    "wide.py": '''
        from mine.base import Head


        class Wide(Head):
            def loss(self, rate):
                return 3 * rate
        ''',
    "other.py": '''
        class Other:
            pass
        ''',
}  # fmt: skip
STAGE = ["mine.run:train", "mine.heads:Plain"]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a stage, two heads, and what they use."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in MINE.items():
        (folder / name).write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def of_stage() -> str:
    return Code().fingerprint(STAGE)


NO_CHANGE = [
    ("run.py", "too few steps: ", "fewer steps than needed: "),
    ("run.py", "only {STEPS} given", "{STEPS} is not enough"),
    ("run.py", "a run of %d steps", "%d steps follow"),
    ("run.py", '"no steps"', '"steps are missing"'),
    ("run.py", "none left", "nothing left"),
    ("run.py", '"""Train."""', '"""Train the head."""'),
    ("run.py", '"""A stage."""\n', "# A stage.\n"),
    ("run.py", "head: str,", "head: bytes,"),
    ("plan.py", "  # the rate", "\n    # the end"),
    ("plan.py", "first * HALF / steps", "(first * HALF\n            / steps)"),
    ("plan.py", "never called", "still never called"),
    ("numbers.py", "1 / 3", "1 / 4"),
    ("tools.py", "repair them", "look at them"),
    ("tools.py", ": give more", ": give less"),
    ("tools.py", '"negative "', '"below zero: "'),
    ("tools.py", "What is wrong.", "All that is wrong."),
    ("catalogue.py", '    "wide": "mine.wide:Wide",\n', ""),
    ("catalogue.py", '"wide": "mine.wide:Wide"', '"b": "mine.other:Other"'),
    ("wide.py", "3 * rate", "4 * rate"),
    ("heads.py", "Somebody, 2020", "Somebody else, 2021"),
    ("heads.py", "2x", "x + x"),
    ("other.py", "pass", "value = 1"),
]  # fmt: skip

CHANGE = [
    ("run.py", "STEPS = 3", "STEPS = 4"),
    ("run.py", "import json as text", "import pickle as text"),
    ("run.py", '{"key": 1}', '{"kez": 1}'),
    ("run.py", "if STEPS < 1", "if STEPS < 2"),
    ("run.py", "{why}", "{why.strip()}"),
    ("plan.py", "first=1.0", "first=1.5"),
    ("plan.py", "HALF / steps", "HALF / steps ** 2"),
    ("plan.py", "import HALF", "import THIRD as HALF"),
    ("numbers.py", "0.5", "0.25"),
    ("tools.py", 'raise Wrong("negative " + str(value)', 'raise Wrong("negative " + str(text)'),
    ("catalogue.py", "mine.wide:Wide", "numpy:array"),
    ("tools.py", "@functools.lru_cache\n", ""),
    ("tools.py", "lru_cache", "cache"),
    ("tools.py", "class Wrong(ValueError)", "class Wrong(KeyError)"),
    ("tools.py", "value < 0", "value < 1"),
    ("base.py", "2 * rate", "2.5 * rate"),
    ("heads.py", "0.1", "0.2"),
    ("heads.py", "margin: float", "margin: int"),
    ("catalogue.py", "getattr(", "hasattr("),
    ("numbers.py", "HALF = 0.5", "HALF = 0.5\nHALF += 1"),
    ("numbers.py", "HALF = 0.5", "try:\n    import torch\nexcept ImportError:\n    HALF = 0.5"),
]


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize(("file", "old", "new"), NO_CHANGE)
def test_what_changes_no_result_does_not_count(mine: Path, file: str, old: str, new: str):
    before = of_stage()
    edit(mine / file, old, new)
    assert of_stage() == before


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize(("file", "old", "new"), CHANGE)
def test_what_may_change_a_result_counts(mine: Path, file: str, old: str, new: str):
    before = of_stage()
    edit(mine / file, old, new)
    assert of_stage() != before


def test_a_renamed_module_does_not_count(mine: Path):
    before = of_stage()
    (mine / "plan.py").rename(mine / "planning.py")
    edit(mine / "run.py", "from mine import plan", "from mine import planning")
    edit(mine / "run.py", "plan.rate", "planning.rate")
    (mine / "base.py").rename(mine / "foundation.py")
    for name in ("heads.py", "wide.py"):
        edit(mine / name, "mine.base", "mine.foundation")
    assert of_stage() == before


def test_a_renamed_component_does_not_count(mine: Path):
    before = of_stage()
    (mine / "heads.py").rename(mine / "plain.py")
    edit(mine / "catalogue.py", "mine.heads:Plain", "mine.plain:Plain")
    assert Code().fingerprint(["mine.run:train", "mine.plain:Plain"]) == before


def test_a_moved_function_does_not_count(mine: Path):
    before = of_stage()
    start = (mine / "plan.py").read_text().index("def rate")
    stop = (mine / "plan.py").read_text().index("def unused")
    function = (mine / "plan.py").read_text()[start:stop]
    edit(mine / "plan.py", function, "")
    (mine / "steps").mkdir()
    (mine / "steps/__init__.py").write_text("from .rates import rate\n")
    (mine / "steps/rates.py").write_text(f"from ..numbers import HALF\n\n{function}")
    edit(mine / "run.py", "from mine import plan", "from mine.steps import rate as of_a_step")
    edit(mine / "run.py", "plan.rate(STEPS)", "of_a_step(STEPS)")
    assert of_stage() == before


def test_two_functions_of_one_name_are_told_apart(mine: Path):
    # f(1) - f(2) of two modules: exchanged, the same definitions are reached.
    for name, factor in (("one", 1), ("two", 2)):
        (mine / f"{name}.py").write_text(f"def f(x):\n    return {factor} * x\n")
    both = "from mine.one import f as a\nfrom mine.two import f as b\ndef g():\n    return a(1) - b(1)\n"  # noqa: E501
    (mine / "both.py").write_text(both)
    before = Code().fingerprint(["mine.both:g"])
    (mine / "both.py").write_text(
        both.replace("one", "x").replace("two", "one").replace("x", "two")
    )
    assert Code().fingerprint(["mine.both:g"]) != before


def test_what_a_module_does_when_it_is_imported_counts(mine: Path):
    before = of_stage()
    edit(mine / "numbers.py", "HALF = 0.5", "import torch\n\ntorch.set_num_threads(7)\nHALF = 0.5")
    threads = of_stage()
    assert threads != before
    edit(mine / "numbers.py", "(7)", "(8)")
    assert of_stage() not in (before, threads)
    edit(mine / "__init__.py", "", "import os\nos.environ['A'] = '1'\n")
    assert of_stage() not in (before, threads)


def test_a_script_that_is_not_run_does_not_count(mine: Path):
    before = of_stage()
    text = "\nif __name__ == '__main__':\n    print(rate(1))\n"
    (mine / "plan.py").write_text((mine / "plan.py").read_text() + text)
    assert of_stage() == before


LOOKED_UP = {
    "an import inside": "def go():\n    from mine.numbers import THIRD\n    return THIRD\n",
    "an attribute": "import mine.numbers\n\ndef go():\n    return mine.numbers.THIRD\n",
    "all names": "from mine.numbers import *\n\ndef go():\n    return THIRD\n",
    "a name that is not written":
        "from mine import numbers\n\ndef go(name):\n    return getattr(numbers, name)\n",
    "relative": "from . import numbers as n\n\ndef go():\n    return n.THIRD\n",
    "one of two": "try:\n    from mine.fast import THIRD\nexcept ImportError:\n"
                  "    from mine.numbers import THIRD\n\ndef go():\n    return THIRD\n",
    "in a class": "class go:\n    from mine.numbers import THIRD as third\n    value = third\n",
    "a comprehension's is another":
        "from mine.numbers import THIRD\n\ndef go(x):\n"
        "    return [THIRD for THIRD in x] + [THIRD]\n",
    "noted by a decorator":
        "KNOWN = {}\ndef note(f):\n    KNOWN[f.__name__] = f\n    return f\n\n@note\ndef one():\n"
        "    from mine.numbers import THIRD\n    return THIRD\n\ndef go(name):\n"
        "    return KNOWN[name]()\n",
    "by its name": "import importlib\n\ndef go():\n"
                   "    return importlib.import_module('mine.numbers').THIRD\n",
    "not for type checkers": "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n"
                             "    from mine.numbers import THIRD\n\ndef go():\n    return THIRD\n",
    "by its place": "def go():\n    return load('mine.numbers:THIRD')\n",
    "set elsewhere": "def set_it():\n    global FOUND\n    from mine.numbers import THIRD\n"
                     "    FOUND = THIRD\n\ndef go():\n    return FOUND\n",
    "computed": "from mine.numbers import THIRD\n\ndef go():\n    return globals()['SUM']\n\n"
                "SUM = THIRD + 1\n",
}  # fmt: skip


@pytest.mark.parametrize("text", LOOKED_UP.values(), ids=LOOKED_UP)
def test_every_way_to_a_name_is_followed(mine: Path, text: str):
    (mine / "asked.py").write_text(text)
    before = Code().fingerprint(["mine.asked:go"])
    edit(mine / "numbers.py", "1 / 3", "1 / 5")
    assert Code().fingerprint(["mine.asked:go"]) != before


SHADOWED = [
    "def go(THIRD):\n    return THIRD\n",
    "def go():\n    THIRD = 2\n    return THIRD\n",
    "def go(x):\n    return [THIRD for THIRD in x]\n",
    "go = lambda THIRD: THIRD\n",
]


@pytest.mark.parametrize("text", SHADOWED)
def test_a_local_name_is_not_the_modules(mine: Path, text: str):
    (mine / "asked.py").write_text("from mine.numbers import THIRD\n\n" + text)
    before = Code().fingerprint(["mine.asked:go"])
    edit(mine / "numbers.py", "1 / 3", "1 / 5")
    assert Code().fingerprint(["mine.asked:go"]) == before


# --- code of the user's own ---------------------------------------------------------------------

OWN = """
from frcore.heads.cosface import CosFace
from {helper} import margin


class Mine(CosFace):
    def target(self, cosine_N, batch):
        return cosine_N - margin()
"""


def write_own(folder: Path, name: str, helper: str, file: str) -> Path:
    """A head and the module that it takes its margin from."""
    head = folder.joinpath(*name.split(".")).with_suffix(".py")
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_text(OWN.format(helper=helper))
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("def margin():\n    return 0.1\n")
    return folder / file


BESIDE = [
    ("fp_heads", "fp_utils", "fp_utils.py"),
    ("fp_heads", "fp_tools.margins", "fp_tools/margins.py"),  # without __init__.py
    ("fp_pack.heads", "fp_pack.deep.margins", "fp_pack/deep/margins.py"),
    ("fp_pack.heads", ".margins", "fp_pack/margins.py"),
]


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(("name", "helper", "file"), BESIDE)
def test_the_helpers_of_a_users_head_count(tmp_path, monkeypatch, name, helper, file):
    path = write_own(tmp_path, name, helper, file)
    monkeypatch.syspath_prepend(tmp_path)
    places = stages.component_places(head=run_spec(f"{name}:Mine").head)
    before = Code().fingerprint(places)
    edit(path, "return 0.1", "return 0.1  # a comment")
    assert Code().fingerprint(places) == before
    edit(path, "0.1", "0.2")
    assert Code().fingerprint(places) != before
    assert name.partition(".")[0] not in sys.modules, "nothing is imported to know this"


def test_an_installed_package_is_followed_from_its_own_head_alone(tmp_path, monkeypatch):
    installed = tmp_path / "lib/site-packages"
    helper = write_own(installed, "fp_bought.heads", "fp_bought.margins", "fp_bought/margins.py")
    library = write_own(installed, "fp_lib.any", "fp_lib.m", "fp_lib/m.py")
    (tmp_path / "fp_mine.py").write_text(OWN.format(helper="fp_lib.m"))
    monkeypatch.syspath_prepend(installed)
    monkeypatch.syspath_prepend(tmp_path)
    bought, mine = ["fp_bought.heads:Mine"], ["fp_mine:Mine"]
    before = Code().fingerprint(bought), Code().fingerprint(mine)
    edit(helper, "0.1", "0.2")
    edit(library, "0.1", "0.2")
    assert Code().fingerprint(bought) != before[0]
    assert Code().fingerprint(mine) == before[1], "its version covers it"


def test_a_compiled_module_counts_by_its_content(tmp_path, monkeypatch):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / "fp_fast").mkdir()
    (tmp_path / "fp_fast/__init__.py").write_text("from fp_fast._c import margin\n")
    compiled = tmp_path / f"fp_fast/_c{suffix}"
    compiled.write_bytes(b"one")
    monkeypatch.syspath_prepend(tmp_path)
    before = Code().fingerprint(["fp_fast:margin"])
    compiled.write_bytes(b"two")
    assert Code().fingerprint(["fp_fast:margin"]) != before


# --- frcore itself ------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of frcore."""
    return Path(
        shutil.copytree(PACKAGE, tmp_path / "frcore", ignore=shutil.ignore_patterns("__pycache__"))
    )


def of_copy(package: Path, *lists: list[str]) -> list[str]:
    """The fingerprints that the copied package gives itself."""
    code = (
        "import sys; from frcore.provenance.fingerprint import code_fingerprint; "
        "[print(code_fingerprint(places.split())) for places in sys.argv[1:]]"
    )
    command = [sys.executable, "-c", code, *(" ".join(places) for places in lists)]
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=True,
                          env={"PATH": ""})  # fmt: skip
    return done.stdout.split()


def of_data(**data: object) -> list[str]:
    image = IMAGE.model_dump()
    return stages.preparing(TrainDataSpec.model_validate({"image": image, "data": data}))


def of_benchmark(**data: object) -> list[str]:
    given = {"name": "b", "image": IMAGE.model_dump(), "data": data}
    return stages.preparing(BenchmarkSpec.model_validate(given))


def of_head(head: str, *, in_place: str = "", **training: object) -> list[str]:
    spec = run_spec(head, **training)
    return stages.training(spec, in_place or "folder", in_place=bool(in_place))


STAGES = {
    "prepare tar": of_data(kind="tar", root="x"),
    "prepare faces": of_data(kind="synthetic", identities=4, images=3),
    "prepare pairs": of_benchmark(kind="synthetic_pairs", identities=20, images=2, pairs=40),
    "cosface": of_head("cosface"),
    "arcface": of_head("arcface"),
    "adacos": of_head("adacos"),
    "cosface dense": of_head("cosface", backend="dense"),
    "cosface triton": of_head("cosface", backend="triton"),
    "cosface on cuda": of_head("cosface", device="cuda"),
    "cosface from tar": of_head("cosface", in_place="tar"),
    "cosface from files": of_head("cosface", in_place="folder"),
    "evaluate": stages.evaluating(run_spec("cosface"), []),
}
TRAININGS = {name for name in STAGES if "face" in name or "ada" in name} - {"prepare faces"}

EDITS = [
    # The message of an unused tar reader, which used to train the synthetic study again.
    ("data/shards/tar.py", "ends before the image", "is cut off before the image", set()),
    ("errors.py", "unknown {kind}", "not a known {kind}:", set()),
    ("data/shards/tar.py", "_OPEN_SHARDS = ", "_OPEN_SHARDS = 1 + ",
     {"prepare tar", "cosface from tar"}),
    # Whatever is prepared is written by one function, which reads images as training does.
    ("data/prepared/in_place.py", "_PARTS_PER_THREAD = 4", "_PARTS_PER_THREAD = 5",
     {name for name in STAGES if "prepare" in name or "from" in name}),
    ("heads/cosface.py", "cosine_N - self.margin", "cosine_N + self.margin",
     {name for name in TRAININGS if "cosface" in name}),
    ("heads/cosface.py", '"""cos θ_y − m."""', '"""Another sentence."""  # a comment', set()),
    ("heads/arcface.py", "Deng et al.", "Somebody", set()),
    ("heads/adacos_fixed.py", "math.sqrt(2)", "math.sqrt(3)", {"adacos"}),
    ("heads/__init__.py", '"softmax": "frcore.heads.softmax:Softmax",', "", set()),
    ("loss/dense.py", "dim=1", "dim=-1", TRAININGS - {"cosface triton"}),
    ("loss/passes.py", "TILE = ", "TILE = 2 * ", TRAININGS - {"cosface dense"}),
    ("loss/triton/tiles.py", "KIB = 1024", "KIB = 1000", {"cosface triton", "cosface on cuda"}),
    ("machine/reproducible.py", "torch.set_num_threads(threads)",
     "torch.set_num_threads(1 + threads)", TRAININGS | {"evaluate"}),
    ("training/loggers.py", "import_module", "import_modules", set()),
    ("components/description.py", "def ", "def _", set()),
    ("evaluation/metrics.py", "1 - ", "1 + ", {"evaluate"}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("file", "old", "new", "expected"), EDITS)
def test_an_edit_repeats_the_stages_it_belongs_to(package, file, old, new, expected):
    before = dict(zip(STAGES, map(code_fingerprint, STAGES.values()), strict=True))
    edit(package / file, old, new)
    after = dict(zip(STAGES, of_copy(package, *STAGES.values()), strict=True))
    assert {name for name in STAGES if after[name] != before[name]} == set(expected)


@pytest.mark.slow
def test_a_copy_elsewhere_has_the_same_fingerprints(package):
    assert of_copy(package, *STAGES.values()) == list(map(code_fingerprint, STAGES.values()))


CODE = Code()
EVERYTHING = [
    *(place for places in STAGES.values() for place in places),
    *stages.REPORTING, *stages.COMPARING, *HEADS.values(),
]  # fmt: skip


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("name", STAGES)
def test_stages_start_from_what_is_there(name):
    for place in STAGES[name]:
        assert tuple(place.split(":")) in CODE.reached([place])


def test_another_head_in_the_catalogue_repeats_nothing():
    reached = CODE.reached(STAGES["cosface"])
    modules = {module for module, name in reached if module.startswith("frcore.heads.") and name}
    assert modules == {"frcore.heads.base", "frcore.heads.cosface"}


@pytest.mark.slow
def test_listings_and_pages_repeat_nothing():
    reached = CODE.reached(EVERYTHING)
    assert ("frcore.heads.uniface", "UniFace") in reached
    own = ("commands.listing", "reporting.docs.component_docs", "reporting.figures.head_curves",
           "reporting.figures.heads", "cli", "commands.stages")  # fmt: skip
    for name in own:
        assert importlib.util.find_spec(f"frcore.{name}"), name
        assert not {key for key in reached if key[0] == f"frcore.{name}" and key[1]}


@pytest.mark.slow
@pytest.mark.parametrize("place", APART)
def test_what_is_set_apart_exists_and_is_reached_by_nothing(place):
    module, _, name = place.partition(":")
    assert CODE.modules.get(module) is not None
    assert not name or CODE.modules.attribute(module, name)
    reached = CODE.reached(EVERYTHING)
    assert not {key for key in reached if key[0] == module and key[1] in (name, name or key[1])}


def test_the_runs_of_a_study_follow_the_same_definitions_once(mine, monkeypatch):
    followed = []
    reached = Code.reached
    monkeypatch.setattr(Code, "reached", lambda *given: followed.append(1) or reached(*given))
    code = Code()
    places = ["mine.run:train", "mine.plan:rate"]
    assert code.fingerprint(places) == code.fingerprint(reversed(places))
    assert len(followed) == 1


# --- kept for other processes ---------------------------------------------------------------------


def kept(folder: Path) -> Code:
    """A process that keeps its fingerprints in `folder`."""
    code = Code()
    code.remembered = Remembered(folder)
    return code


def test_a_kept_fingerprint_is_taken_while_nothing_has_changed(mine, tmp_path, monkeypatch):
    first = kept(tmp_path).fingerprint(["mine.run:train"])
    assert Code().fingerprint(["mine.run:train"]) == first
    monkeypatch.setattr(Code, "_made", lambda *_: pytest.fail("it was computed again"))
    assert kept(tmp_path).fingerprint(["mine.run:train"]) == first


@pytest.mark.parametrize("name", ["plan.py", "catalogue.py", "numbers.py"])
def test_a_changed_module_is_read_again(mine, tmp_path, name):
    first = kept(tmp_path).fingerprint(["mine.run:train"])
    path = mine / name
    path.write_text(path.read_text().replace("2", "3") + "\nprint('new')\n")
    again = kept(tmp_path).fingerprint(["mine.run:train"])
    assert again == Code().fingerprint(["mine.run:train"]) != first


def test_a_module_that_is_new_or_gone_is_noticed(mine, tmp_path):
    (mine / "run2.py").write_text("from mine.extra import rate\n\n\ndef train():\n    rate()\n")
    without = kept(tmp_path).fingerprint(["mine.run2:train"])
    (mine / "extra.py").write_text("def rate():\n    return 1\n")
    found = kept(tmp_path).fingerprint(["mine.run2:train"])
    assert found == Code().fingerprint(["mine.run2:train"]) != without
    (mine / "extra.py").unlink()
    assert kept(tmp_path).fingerprint(["mine.run2:train"]) == without


def test_a_damaged_memory_is_none(mine, tmp_path):
    first = kept(tmp_path).fingerprint(["mine.run:train"])
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    assert kept(tmp_path).fingerprint(["mine.run:train"]) == first
