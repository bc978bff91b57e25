"""LaTeX tables: what they say, and that LaTeX itself takes them."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from frcore.reporting import outputs
from frcore.reporting.tables.latex import escape, to_latex
from frcore.reporting.tables.table import Cell, Heading, Table
from tests.reporting.made import HOSTILE, Made
from tests.reporting.tables.test_table import TABLE

LETTERS = "Łódź Größe çà ñ ï ĵ ő ą đ Ω ∞ שלום 中文 🙂 e\u0301 a\u0332 \u202egnp \x1b[31m \udce9"
LIGATURES = "--cores ''a'' ``b`` ?`no !`no ,,low a-b"
STARTS = ("[2cm]", "*", "[", "^^4dathematics", "%", "&", "~", "#1", "-1")
PAPER = r"""\documentclass{article}
\usepackage{booktabs,array,graphicx}
%s
\begin{document}
%s
\end{document}
"""


def wide(rows: int, benchmarks: int) -> Table:
    headings = [Heading("head", numeric=False), Heading("sampler", numeric=False)]
    headings += [
        Heading(f"{name} [%]", f"benchmark{place}")
        for place in range(benchmarks)
        for name in ("accuracy", "TAR at FAR 0.001")
    ]
    detail = "[92.00, 94.00] ± 0.51 people, 0.32 seeds"
    cells = [Cell("93.10", detail, "best"), Cell("—", "no value")] * benchmarks
    body = [[Cell("arcface"), Cell(f"interclass_filter_{row}"), *cells] for row in range(rows)]
    return Table("wide", "A wide table", headings, body, ["n: 6,000 pairs."], pd.DataFrame())


def compiled(folder: Path, *tables: str, preamble: str = "") -> str:
    """What pdfLaTeX says of a paper with these tables; any error fails."""
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex here; install a TeX with booktabs to run this")
    paper = folder / "paper.tex"
    paper.write_text(PAPER % (preamble, "\n".join(tables)), encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", paper]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    text = done.stdout.decode("latin-1")
    assert done.returncode == 0, text[-2000:]
    return text


def printed(folder: Path) -> str:
    """The text of the paper, where there is a program that reads it."""
    if shutil.which("pdftotext") is None:
        pytest.skip("there is no pdftotext here")
    done = subprocess.run(
        ["pdftotext", "-layout", folder / "paper.pdf", "-"], capture_output=True, check=True
    )
    return " ".join(done.stdout.decode().split())


def test_marks_and_escapes():
    text = to_latex(TABLE)
    assert r"\textbf{93.10} {\scriptsize [92.00, 94.00]}" in text
    assert r"\underline{92.90}" in text
    assert r"a\_b\textbar{}c" in text
    assert r"\multicolumn{2}{c}{lfw}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"\caption{A \textless{}title\textgreater{} \& 50 \%}" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [3, 3]


def test_hostile_text_has_no_command_of_the_user():
    text = escape(HOSTILE)
    assert r"\input" not in text
    assert r"\textbackslash{}input\{" in text
    for special in "$&%#_^":
        assert not re.search(rf"(?<!\\){re.escape(special)}", text)
    assert escape("a\nb\\\\c") == r"a b\textbackslash{}\textbackslash{}c"


def test_braces_are_balanced_and_the_file_is_ascii():
    for table in (TABLE, wide(3, 4), wide(60, 1)):
        text = to_latex(table)
        plain = re.sub(r"\\(\\|[{}])", "", text)
        assert plain.count("{") == plain.count("}")
        assert text.count(r"\begin{") == text.count(r"\end{")
        assert text.isascii()
    assert escape(LETTERS).isascii()


def test_a_wide_table_goes_on_below_with_its_first_columns_again():
    text = to_latex(wide(3, 6))
    panels = text.count(r"\begin{tabular}{")
    assert panels > 1
    assert text.count("arcface & interclass") == 3 * panels
    assert text.count(r"\textbf{93.10}") == 3 * 6
    assert text.count(r"{\scriptsize [92.00, 94.00]}") == 3 * 6


def test_a_long_table_breaks_over_pages():
    text = to_latex(wide(60, 1))
    assert text.count(r"\begin{table}") == 1 + text.count(" (continued)") > 1
    assert text.count(r"\begin{table}") == text.count(r"\begin{tabular}{")
    assert text.count("arcface & interclass") == 60
    assert to_latex(wide(5, 1)).count(r"\begin{table}") == 1


@pytest.mark.slow
def test_where_the_numbers_come_from_is_the_first_thing(complete: Made):
    for name in outputs.TABLES:
        lines = (complete.reported / f"tables/{name}.tex").read_text().splitlines()
        assert lines[0].startswith(r"% \usepackage{booktabs,array")
        source = next(line for line in lines if line.startswith("% Study toy"))
        assert "commit 0123456789ab" in source
        assert "2 of 2 seeds" in source


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["", r"\usepackage[T1]{fontenc}"])
def test_latex_prints_hostile_text_as_it_stands(tmp_path, encoding):
    rows = [[Cell(start + "x", start), Cell(text), Cell("1", text), Cell(start)]
            for start in STARTS for text in (LIGATURES, HOSTILE, LETTERS)]  # fmt: skip
    headings = [Heading("[ms]", numeric=False), Heading(HOSTILE, LETTERS, numeric=False)]
    headings += [Heading(LIGATURES), Heading("time [ms] *")]
    table = Table("a", HOSTILE, headings, rows, [LETTERS, HOSTILE], pd.DataFrame(), [HOSTILE])
    compiled(tmp_path, to_latex(table), *map(escape, (HOSTILE, LIGATURES)), preamble=encoding)
    text = printed(tmp_path)
    assert r"\input{/etc/passwd}" in text
    assert "[U+05E9]" in text
    assert "--cores" in text
    assert "<script>alert(1)</script>" in text


@pytest.mark.slow
def test_tables_fit_the_line(tmp_path, complete: Made, broken: Made):
    # A hostile reason has a word as long as its column; what is missing of `broken` has one.
    files = [made.reported / f"tables/{name}.tex" for made in (complete, broken)
             for name in outputs.TABLES if made is complete or name != "missing"]  # fmt: skip
    tables = [path.read_text() for path in files] + [to_latex(wide(3, 6)), to_latex(wide(60, 2))]
    text = compiled(tmp_path, *(f"{table}\n\\clearpage" for table in tables))
    wide_by = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", text)]
    assert [points for points in wide_by if points > 5] == []
