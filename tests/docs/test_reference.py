"""The documents agree with the code: generated parts are fresh, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from docs.generate import PARTS, ROOT, fill, pages

LINK = re.compile(r"\]\((?!https?://)(?P<file>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as a forge makes them: lower case, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_page_is_as_the_code_makes_it(page: Path) -> None:
    text = page.read_text("utf-8")
    assert fill(text) == text, "stale; run: python -m docs.generate"


def test_every_generated_part_stands_on_a_page() -> None:
    text = "".join(page.read_text("utf-8") for page in pages())
    assert set(re.findall(r"<!-- generated: ([a-z-]+) -->", text)) == set(PARTS)


def test_a_stale_part_is_written_anew_and_nothing_else() -> None:
    page = "before\n<!-- generated: reasons -->\nstale\n<!-- end -->\nafter\n"
    fresh = fill(page)
    assert fresh == f"before\n<!-- generated: reasons -->\n\n{PARTS['reasons']()}\n\n<!-- end -->\nafter\n"
    assert fill(fresh) == fresh


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        fill("<!-- generated: nonsense -->\n<!-- end -->")


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.finditer(CODE.sub("", page.read_text("utf-8"))):
        target = (page.parent / link["file"]).resolve() if link["file"] else page
        found = target.exists() and (not link["heading"] or link["heading"] in anchors(target))
        lost += [] if found else [link[0]]
    assert not lost
