import base64
import re
from html.parser import HTMLParser

import pytest
import yaml
from markupsafe import escape

from frcore.reporting import outputs
from frcore.reporting.page.samples import samples
from frcore.reporting.page.sections import PARTS
from frcore.study.config import Study
from tests.reporting.made import HOSTILE, Made
from tests.reporting.tree import make_study

pytestmark = pytest.mark.slow  # a report of two studies


class Reader(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [
            value or "" for _, found in self.tags for key, value in found.items() if key == name
        ]


@pytest.fixture(params=["complete", "broken"])
def made(request) -> Made:
    return request.getfixturevalue(request.param)


def test_the_page_loads_nothing(made: Made):
    reader = Reader(made.page)
    own = set(outputs.OUTPUTS.values())
    for address in reader.attributes("href") + reader.attributes("xlink:href"):
        assert address.startswith(("#", "data:")) or address in own, address
    assert all(source.startswith("data:") for source in reader.attributes("src"))
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in reader.tags}
    assert "@import" not in made.page
    # Outside of namespaces no address of the network occurs.
    addresses = set(re.findall(r"https?://[^\s\"'<]+", made.page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_ids_are_unique_and_references_resolve(made: Made):
    reader = Reader(made.page)
    ids = reader.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {a[1:] for a in reader.attributes("href") + reader.attributes("xlink:href")
              if a.startswith("#")}  # fmt: skip
    wanted |= set(re.findall(r"url\(#([^)]+)\)", made.page))
    assert wanted <= set(ids)


def test_those_who_do_not_see_the_figures_are_told_what_they_are(made: Made):
    reader = Reader(made.page)
    svgs = [found for tag, found in reader.tags if tag == "svg"]
    shown = [found["id"] for tag, found in reader.tags if tag == "figure" and "data-name" in found]
    assert len(svgs) == len(shown) > 6
    assert all(found["role"] == "img" and found["aria-label"] for found in svgs)
    assert all(found.get("alt") for tag, found in reader.tags if tag == "img")
    assert all(found.get("scope") for tag, found in reader.tags if tag == "th")
    assert ("html", {"lang": "en"}) in reader.tags


def test_hostile_text_stays_text(broken: Made):
    reader = Reader(broken.page)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert HOSTILE in reader.text
    assert not [key for _, found in reader.tags for key in found if key.startswith("on")]


def test_only_our_script_may_run(made: Made):
    import hashlib

    [script] = re.findall(r"<script>(.*?)</script>", made.page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', made.page)
    assert policy
    assert f"script-src 'sha256-{digest}'" in policy.group(1).replace("&#39;", "'")
    assert "default-src 'none'" in policy.group(1).replace("&#39;", "'")


def test_the_study_can_be_repeated_from_the_page(made: Made):
    reader = Reader(made.page)
    [address] = {a for a in reader.attributes("href") if a.startswith("data:application/yaml")}
    text = base64.b64decode(address.partition("base64,")[2]).decode()
    assert Study.model_validate(yaml.safe_load(text)) == made.study


def test_downloads_inside_the_page_are_the_files(made: Made):
    reader = Reader(made.page)
    inside = [
        base64.b64decode(address.partition("base64,")[2]).decode()
        for address in reader.attributes("href")
        if address.startswith("data:text/csv")
    ]
    there = set(reader.attributes("id"))
    beside = [
        (made.reported / f"tables/{name}.csv").read_text()
        for name in outputs.TABLES
        if f"table-{name}" in there
    ]
    assert sorted(inside) == sorted(beside)
    assert len(inside) > 4


def test_every_part_is_on_the_page_or_said_to_be_absent(made: Made):
    reader = Reader(made.page)
    there = {id for id in reader.attributes("id") if id.startswith(("figure-", "table-"))}
    titles = {f"{part.kind}-{part.name}": part.title for part in PARTS}
    told = made.page.partition("Not on this page")[2].partition("Protocol, environment")[0]
    assert set(titles) - there
    for id, title in titles.items():
        assert (id in there) != (f"<dt>{escape(title)}</dt>" in told), id


def test_faces_are_embedded_only_where_they_are_synthetic(complete: Made, broken: Made):
    assert "data:image/png;base64," in complete.page
    # The broken study's manifest says that its pictures are not synthetic.
    assert "data:image/png" not in broken.page
    assert samples(broken.study, broken.root).data == ""


def test_vectors_are_no_faces(tmp_path):
    vectors = {"kind": "synthetic_identities", "identities": 20, "images": 2}
    pairs = {"kind": "synthetic_identity_pairs", "identities": 20, "images": 2, "pairs": 20}
    study = make_study(train=vectors, benchmarks={"pairs": pairs})
    assert not samples(study, tmp_path).shown


def test_what_is_missing_is_on_the_page(broken: Made):
    text = " ".join(Reader(broken.page).text.split())
    for part in ("tiny-arcface-full-s0", "lower the rate", "stale", "out of memory"):
        assert part in text
