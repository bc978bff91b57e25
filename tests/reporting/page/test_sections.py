from collections import Counter

from frcore.reporting import outputs
from frcore.reporting.page.sections import SECTIONS, shown


def test_every_figure_and_table_stands_once():
    parts = Counter((part.kind, part.name) for section in SECTIONS for part in section.parts)
    wanted = [("figure", name) for name in outputs.FIGURES]
    wanted += [("table", name) for name in outputs.TABLES]
    assert parts == Counter(wanted)


def test_a_section_without_its_parts_is_gone():
    ids = [section.id for section in SECTIONS]
    assert [section.id for section in shown(set())] == ids
    left = shown({("figure", "roc"), ("figure", "det"), ("figure", "memory")})
    assert [section.id for section in left] == [id for id in ids if id != "roc"]
    [cost] = [section for section in left if section.id == "cost"]
    names = ["throughput", "roofline", "scaling", "cost", "scaling"]
    assert [part.name for part in cost.parts] == names
