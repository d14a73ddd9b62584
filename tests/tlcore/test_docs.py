"""Documentation: what it must contain. Its blocks run in `tox -e docs`."""

import importlib.util
import re
from pathlib import Path

import pytest

import tlcore
from tlcore.data import split_names
from tlcore.runs.recipes import RECIPES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TUTORIALS = sorted(DOCS.glob("tutorials/*.md"))
pytestmark = pytest.mark.skipif(
    not DOCS.exists(), reason="the documentation is not next to the tests"
)

FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {"python", "console", "output", "text", ""}


def prose(page):
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page):
    """Return the anchors of a page that a link may name: headings and labels."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    marks = re.findall(r"^\((\S+)\)=$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles} | {
        *marks
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_a_section_and_is_run_by_a_command_in_it(recipe):
    heading = re.compile(rf"^#+ .*`{recipe}`", re.MULTILINE)
    pages = [page for page in PAGES if heading.search(prose(page))]
    assert [page.parent.name for page in pages] == ["tutorials"]
    assert f"\n$ tlcore run {recipe} " in pages[0].read_text("utf-8")


def test_the_api_page_has_every_public_name_and_no_other():
    page = (DOCS / "api.md").read_text("utf-8")
    named = re.findall(r"^\.\. auto\w+:: (?!tlcore\.)(\S+)$", page, re.MULTILINE)
    assert sorted(named) == tlcore.__all__


def test_the_page_on_data_has_every_spelling_of_a_split():
    page = (DOCS / "data.md").read_text("utf-8")
    for table in (split_names.SPELLINGS, split_names.SPELLINGS_BESIDE_TRAIN):
        for split, words in table.items():
            (row,) = re.findall(rf"^\| {split} \|.*$", page, re.MULTILINE)
            assert set(words) <= set(re.findall(r"`(\w+)`", row))


def test_the_index_leads_to_every_tutorial():
    index = (DOCS / "index.md").read_text("utf-8")
    for page in TUTORIALS:
        assert f"\ntutorials/{page.stem}\n" in index
        assert f"(tutorials/{page.name})" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]*)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if anchor.startswith("tlcore."):
            assert anchor.removeprefix("tlcore.") in tlcore.__all__
        elif not path.startswith("https://"):
            target = page.parent / path if path else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_block_of_a_tutorial_is_of_a_kind_that_is_known(page):
    fences = [info for info, _ in FENCE.findall(page.read_text("utf-8"))]
    assert {info.removeprefix("{code-block} ") for info in fences} <= KINDS
    assert {"python", "console"} <= {info.split()[-1] for info in fences}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the blocks of a text as those of a tutorial."""
    pytest.importorskip("sybil", reason="sybil comes with the extra docs")
    spec = importlib.util.spec_from_file_location("blocks", DOCS / "conftest.py")
    blocks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(blocks)
    monkeypatch.chdir(tmp_path)

    def run(text):
        document = blocks.Tutorial(text, str(tmp_path / "a.md"))
        for parser in blocks.PARSERS:
            for region in parser(document):
                document.add(region)
        for example in document.examples():
            example.evaluate()

    return run


def block(kind, *lines, **options):
    settings = [f":{name}: {value}" for name, value in options.items()]
    fence = f"{{code-block}} {kind}" if settings else kind
    return "\n".join([f"```{fence}", *settings, *lines, "```", ""])


TYPICAL = {"caption": '"Typical: figures differ"'}
NOT_RUN = {"class": "not-run"}
PRINTS = block("python", "print('accuracy', 0.96)")

GOOD = {
    "exact": PRINTS + block("output", "accuracy 0.96"),
    "dots": PRINTS + block("output", "acc..."),
    "typical": PRINTS + block("output", "accuracy  0.9", **TYPICAL),
    "one namespace": block("python", "a = 1") + block("python", "assert a == 1"),
    "command": block("console", "$ tlcore --version", "tlcore, version ..."),
    "command alone": block("console", "$ tlcore --version"),
    "not run": block("python", "import tlcore as tl", "tl.fit(1 / 0)", **NOT_RUN),
    "command not run": block("console", "$ tlcore run model_0 --data x", **NOT_RUN),
    "group not run": block("console", "$ tlcore cache clear", **NOT_RUN),
}

BAD = {
    "another figure": (PRINTS + block("output", "accuracy 0.95"), "Got:\n    .* 0.96"),
    "another word": (PRINTS + block("output", "loss 0.96", **TYPICAL), "Expected:"),
    "a word more": (PRINTS + block("output", "accuracy 1 %", **TYPICAL), "Expected:"),
    "no block before": (block("output", "accuracy 0.96"), "nothing ran before"),
    "printed once": (PRINTS + 2 * block("output", "acc..."), "nothing ran before"),
    "an exception": (block("python", "1 / 0"), "division by zero"),
    "other output": (block("console", "$ tlcore --version", "tlcore 0"), "Expected:"),
    "wrong input": (
        block("console", "$ tlcore run model_0 --data nowhere"),
        "exit code 2.*'nowhere'",
    ),
    "another program": (block("console", "$ ls"), "only tlcore .* not ls"),
    "no Python": (block("python", "a b", **NOT_RUN), "invalid syntax"),
    "no such name": (block("python", "tl.fitt", **NOT_RUN), "fitt"),
    "no such command": (block("console", "$ tlcore rum", **NOT_RUN), "'rum'"),
    "no such option": (block("console", "$ tlcore recipes --jso", **NOT_RUN), "--jso"),
    "no such recipe": (
        block("console", "$ tlcore run model_9 --data x", **NOT_RUN),
        "no recipe model_9",
    ),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_tutorial_that_tells_the_truth_passes(run, text):
    run(text)


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_tutorial_that_does_not_fails(run, text, message):
    with pytest.raises(Exception, match=message):
        run(text)
