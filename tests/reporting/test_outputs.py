import subprocess
import sys
from pathlib import Path

import pytest

from frcore.reporting import outputs
from frcore.reporting.page.sections import PARTS, write_captions
from tests.reporting.made import Made


def test_the_list_of_outputs_needs_nothing_heavy():
    code = (
        "import sys, frcore.reporting.outputs\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_report_writes_exactly_the_listed_outputs(complete: Made):
    folders = ("rows", "tables", "figures")
    written = {
        path.relative_to(complete.reported).as_posix()
        for folder in folders
        for path in (complete.reported / folder).iterdir()
    }
    assert written | {outputs.PAGE} == set(outputs.OUTPUTS.values())
    assert all(path.stat().st_size > 0 for path in outputs.paths(complete.reported).values())


@pytest.mark.slow
def test_a_study_without_results_writes_the_same_files(broken: Made):
    assert all(path.is_file() for path in outputs.paths(broken.reported).values())


def test_captions_of_the_workflow_are_those_of_the_page(repository: Path, tmp_path: Path):
    write_captions(tmp_path)
    for written in tmp_path.iterdir():
        committed = repository / "workflow" / "report" / written.name
        assert committed.read_text() == written.read_text(), "run `make generated`"
    of_kind = {kind: {part.name for part in PARTS if part.kind == kind}
               for kind in ("figure", "table")}  # fmt: skip
    assert of_kind == {"figure": set(outputs.FIGURES), "table": set(outputs.TABLES)}
