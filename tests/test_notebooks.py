"""What nbval cannot see: each notebook is as a reader of the site, of Colab and of GitHub should find it.

A rule is a function from a notebook to the list of what is wrong with it. Every rule has an example that breaks it,
so that none of them can pass by accident.
"""

import ast
import base64
import copy
import re
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import vl_convert
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

from helpers import claims, figures

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "chapters"
CHAPTERS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
NOTEBOOKS = [*CHAPTERS, FOLDER / "claims.ipynb", FOLDER / "remedies.ipynb"]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
ADDRESS = f"{REPOSITORY['url']}@{REPOSITORY['branch']}"
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
STAMP = {"executed", "python", "torch", "numpy", "seconds", "threads"}
FORMS = {
    "text/plain",
    "text/markdown",
    "text/html",
    "text/latex",
    "image/png",
    figures.EXPLORABLE,
    claims.MIME,
}
TAGS = {"hide-cell", "hide-input", "remove-input", "nbval-ignore-output"}
HIDING = {"hide-cell", "hide-input", "remove-input"}
MEGABYTES = 3
LINES = 15
#: Beside the tag `hide-cell`: what folds a cell away in JupyterLab and in Colab.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
#: How many cells of each chapter show a raw table or a timing, which nbval cannot compare: as few as possible.
IGNORED: dict[str, int] = {"06_initialization": 1}  # a table of times

#: The first code cell of each chapter. Any folder called helpers would satisfy a bare `import helpers`.
BOOTSTRAP = f"""\
try:
    from helpers import training
except ImportError:  # in Colab, say: install the book's package from its repository
    %pip install -q git+{ADDRESS}
    from helpers import training"""


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def forms(notebook: NotebookNode) -> list[dict[str, object]]:
    """Each displayed output as a mapping from MIME type to content."""
    return [output.data for output in outputs(notebook) if "data" in output]


def prose(notebook: NotebookNode) -> list[str]:
    """The Markdown that a reader sees, typed or computed."""
    typed = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return typed + [form["text/markdown"] for form in forms(notebook) if "text/markdown" in form]


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def without_magics(source: str) -> str:
    """The source as plain Python: what IPython alone understands is passed over."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def citations(text: str) -> set[str]:
    """The DOIs and arXiv identifiers that a text links to or names as an address."""
    dois = re.findall(r"doi\.org/(10\.\d{4,9}/[^\s)>\]\"]+)", text)
    papers = re.findall(r"arxiv\.org/(?:abs|pdf|html)/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", text)
    return {doi.rstrip(".,;").lower() for doi in dois} | {f"arXiv:{paper}" for paper in papers}


# The rules of every notebook.


def executed_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook) if cell.source.strip()]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"the cells are numbered {counts}"]


def has_stored_outputs(notebook):
    return [] if outputs(notebook) else ["no output is stored: run `make execute`"]


def ran_without_errors_and_warnings(notebook):
    wrong = [
        output
        for output in outputs(notebook)
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    return [output.get("evalue", output.get("text")) for output in wrong]


def shows_only_known_forms(notebook):
    return [f"an output is {kind}" for form in forms(notebook) for kind in form if kind not in FORMS]


def every_figure_has_words(notebook):
    drawn = {"image/png", figures.EXPLORABLE}
    words = [form.get("text/plain", "") for form in forms(notebook) if drawn & form.keys()]
    return [
        f"a figure's words are {text!r}"
        for text in words
        if len(text.split()) < 5 or text.startswith("<") or not text.rstrip().endswith((".", "!", "?"))
    ]


def every_explorable_works_in_both_versions(notebook):
    """JupyterLab draws it with Vega-Lite 5, the site and Colab with 6: an axis, a mark and a control in both."""
    problems = []
    for spec in (form[figures.EXPLORABLE] for form in forms(notebook) if figures.EXPLORABLE in form):
        for version in ("5.21", "6.4"):
            try:
                picture = vl_convert.vegalite_to_svg(spec | {"width": 600}, vl_version=version)
            except ValueError as error:
                problems.append(f"Vega-Lite {version}: {error}")
            else:
                missing = {"role-axis", "role-mark"} - set(re.findall(r"role-[a-z]+", picture))
                problems += [f"Vega-Lite {version} draws no {part}" for part in missing]
        problems += [] if any("bind" in parameter for parameter in spec.get("params", [])) else ["no control"]
    return problems


def has_the_one_kernelspec(notebook):
    kernelspec = dict(notebook.metadata.get("kernelspec", {}))
    return [] if kernelspec == KERNELSPEC else [f"the kernelspec is {kernelspec}"]


def says_when_it_was_executed(notebook):
    stamp = notebook.metadata.get("rectified", {})
    return [] if set(stamp) == STAMP else [f"the stamp of `make execute` is {dict(stamp)}"]


def holds_no_timing(notebook):
    return [f"cell {cell.id} holds its timing" for cell in notebook.cells if "execution" in cell.metadata]


def is_plain_markdown(notebook):
    directive = r"^\s*(?:`{3,}|~{3,}|:{3,})\s*\{.*|^\([\w-]+\)=\s*$"
    problems = [
        found for text in prose(notebook) for found in re.findall(directive, text, flags=re.MULTILINE)
    ]
    for text in prose(notebook):
        without_code = re.sub(r"(`+)[^`].*?\1", "<code>", text)
        problems += re.findall(r"\{[a-zA-Z][\w:+.-]*\}<code>", without_code)
    return [f"MyST markup: {problem}" for problem in problems]


def is_small(notebook):
    size = len(nbformat.writes(notebook).encode()) / 1e6
    return [] if size <= MEGABYTES else [f"{size:.1f} MB: at most {MEGABYTES}"]


def imports_only_what_is_declared(notebook):
    provided = packages_distributions()
    declared = {Requirement(dependency).name.lower() for dependency in DEPENDENCIES}
    problems = []
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(without_magics(cell.source))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for package in (
                {name.split(".")[0] for name in names} - {"helpers"} - set(sys.stdlib_module_names)
            ):
                if not declared & {distribution.lower() for distribution in provided.get(package, [])}:
                    problems.append(f"imports {package}, which pyproject.toml does not declare")
    return problems


def cites_only_listed_references(notebook):
    listed = citations((FOLDER / "references.md").read_text(encoding="utf-8"))
    return [
        f"{cited} is not in references.md" for text in prose(notebook) for cited in citations(text) - listed
    ]


def uses_only_known_tags(notebook):
    unknown = [tag for cell in notebook.cells for tag in tags(cell) - TAGS]
    return [f"tag {tag}" for tag in unknown] + [
        "a comment steers nbval: use a tag" for cell in code_cells(notebook) if "NBVAL_" in cell.source
    ]


def has_short_cells(notebook):
    visible = [cell for cell in code_cells(notebook) if not tags(cell) & HIDING]
    lengths = [(cell, sum(bool(line.strip()) for line in cell.source.splitlines())) for cell in visible]
    return [
        f"{length} lines from {cell.source.splitlines()[0]!r}" for cell, length in lengths if length > LINES
    ]


RULES = [
    executed_in_order,
    has_stored_outputs,
    ran_without_errors_and_warnings,
    shows_only_known_forms,
    every_figure_has_words,
    every_explorable_works_in_both_versions,
    has_the_one_kernelspec,
    says_when_it_was_executed,
    holds_no_timing,
    is_plain_markdown,
    is_small,
    imports_only_what_is_declared,
    cites_only_listed_references,
    uses_only_known_tags,
    has_short_cells,
]


# The rules of chapters.


def opens_with_the_bootstrap(notebook):
    first = code_cells(notebook)[0]
    if first.source == BOOTSTRAP and tags(first) == {"hide-cell"}:
        return []
    return [
        f"the first code cell should be the bootstrap, tagged hide-cell:\n{BOOTSTRAP}\nbut is\n{first.source}"
    ]


def has_an_explorable(notebook):
    return [] if any(figures.EXPLORABLE in form for form in forms(notebook)) else ["nothing to turn"]


def has_exercises_that_grade_themselves(notebook):
    """Two or more, each with a text that cannot be edited, folded solutions, and visible and hidden tests."""
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    roles = {"text": [], "solution": [], "tests": []}
    problems = []
    for cell in marked:
        facts, key = cell.metadata.nbgrader, cell.metadata.nbgrader.grade_id
        role = "tests" if facts.grade else "solution" if facts.solution else "text"
        form = r"exercise-\d+" + ("" if role == "text" else rf"-{role}(-[a-z-]+)?")
        problems += [] if re.fullmatch(form, key) else [f"{key}: a name of {role} looks like {form}"]
        roles[role].append(re.match(r"(exercise-\d+)?", key)[0])
        if role == "text":
            continue
        region = "SOLUTION" if role == "solution" else "HIDDEN TESTS"
        before, *hidden = re.split(rf"^ *### (?:BEGIN|END) {region}$", cell.source, flags=re.MULTILINE)
        if len(hidden) % 2 or not hidden or not hidden[0].strip():
            problems.append(f"{key}: nothing stands between ### BEGIN {region} and ### END {region}")
        if role == "tests" and ("assert" not in before or not facts.get("points")):
            problems.append(f"{key}: tests need points, and visible ones before the hidden ones")
        if not cell.source.startswith("# @title "):
            problems.append(f"{key}: a folded cell needs a first line `# @title …` in Colab")
        if not FOLDED.items() <= cell.metadata.items() or "hide-cell" not in tags(cell):
            problems.append(f"{key}: folded away needs the tag hide-cell and {FOLDED}")
    exercises = set(roles["tests"])
    problems += [f"exercises that grade themselves: {sorted(exercises)}"] if len(exercises) < 2 else []
    problems += [f"{role}: {sorted(set(found))}" for role, found in roles.items() if set(found) != exercises]
    problems += [f"{key}: more than one text" for key, n in Counter(roles["text"]).items() if n > 1]
    return problems


CHAPTER_RULES = [opens_with_the_bootstrap, has_an_explorable, has_exercises_that_grade_themselves]


def read(path: Path) -> NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, rule):
    assert rule(read(path)) == []


@pytest.mark.parametrize("rule", CHAPTER_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter(path, rule):
    assert rule(read(path)) == []


def test_there_is_a_chapter():
    assert CHAPTERS


def test_cells_that_are_not_compared_are_listed():
    counts = {
        path.stem: sum("nbval-ignore-output" in tags(cell) for cell in read(path).cells) for path in NOTEBOOKS
    }
    assert {name: count for name, count in counts.items() if count} == IGNORED


def test_pictures_on_other_pages_are_the_figures_of_their_chapter():
    pictures = {
        FOLDER / cell.metadata["picture"]: [
            form["image/png"] for form in forms(new_notebook(cells=[cell])) if "image/png" in form
        ]
        for path in CHAPTERS
        for cell in code_cells(read(path))
        if "picture" in cell.metadata
    }
    for path, (png,) in pictures.items():
        assert path.read_bytes() == base64.b64decode(png), f"{path.name} is not from the last `make execute`"


def test_every_claim_of_a_written_chapter_is_settled():
    ledger = claims.ledger(FOLDER)
    written = ledger[ledger["chapter"].isin([path.stem for path in CHAPTERS])]
    assert written.loc[written["verdict"] == "open", "id"].tolist() == []


def test_every_check_of_the_evidence_agrees():
    records = [form[claims.MIME] for path in CHAPTERS for form in forms(read(path)) if claims.MIME in form]
    assert [
        record["claim"] for record in records if not all(check["agrees"] for check in record["checks"])
    ] == []


def test_every_row_of_the_remedies_has_its_cells_and_leads_to_an_experiment():
    (table,) = (
        form["text/markdown"]
        for form in forms(read(FOLDER / "remedies.ipynb"))
        if "| --- |" in str(form.get("text/markdown"))
    )
    head, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    assert len(rows) >= 8
    assert [len(row) for row in (head, *rows)] == [5] * (len(rows) + 1)
    chapters = {path.name for path in CHAPTERS}
    for symptom, *cells in rows:
        assert chapters & set(re.findall(r"\]\(([^)#]+)", " ".join(cells))), symptom


def test_no_stored_text_disagrees_with_the_book():
    texts = {path.stem: [str(form.get("text/plain", "")) for form in forms(read(path))] for path in NOTEBOOKS}
    assert {name: [text for text in found if "✗" in text] for name, found in texts.items()} == {
        name: [] for name in texts
    }


# Each rule can fail.

FIGURE = {"image/png": "iVBORw0KGgo=", "text/plain": "The gradient falls with depth, to 1e-6."}
SPEC = {
    "data": {"values": [{"x": 1, "y": 2}]},
    "params": [{"name": "depth", "value": 1, "bind": {"input": "range", "name": "Depth"}}],
    "mark": "point",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}
CHART = {figures.EXPLORABLE: SPEC, "text/plain": "The gradient by layer, for a depth that can be set."}


def exercise(number: int) -> list[NotebookNode]:
    """An exercise that grades itself."""

    def marked(key, **fields):
        facts = {"grade": False, "grade_id": f"exercise-{number}{key}", "locked": True, "solution": False}
        return {"nbgrader": facts | {"task": False, "schema_version": 3} | fields}

    folded = FOLDED | {"tags": ["hide-cell"]}
    solution = f"# @title A\ndef f{number}():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"
    tests = f"# @title T\nassert f{number}()\n### BEGIN HIDDEN TESTS\nassert f{number}() == 1\n### END HIDDEN TESTS"
    return [
        new_markdown_cell(f"**{number}.** Write `f{number}`.", metadata=marked("")),
        new_code_cell(
            solution, execution_count=2 * number + 1, metadata=folded | marked("-solution", solution=True)
        ),
        new_code_cell(
            tests, execution_count=2 * number + 2, metadata=folded | marked("-tests", grade=True, points=1)
        ),
    ]


def good() -> NotebookNode:
    """A small notebook that keeps every rule."""
    return new_notebook(
        cells=[
            new_markdown_cell(
                "# A chapter\n\n$$ x_{1} \\tag{1.1} $$\n\n`{x}` and ([He et al. 2015](https://arxiv.org/abs/1502.01852))."
            ),
            new_code_cell(BOOTSTRAP, execution_count=1, metadata={"tags": ["hide-cell"]}),
            new_code_cell(
                "import math\n\nimport torch\nfrom sklearn import datasets",
                execution_count=2,
                outputs=[new_output("display_data", FIGURE), new_output("display_data", CHART)],
            ),
            *exercise(1),
            *exercise(2),
        ],
        metadata={"kernelspec": dict(KERNELSPEC), "rectified": dict.fromkeys(STAMP, 1)},
    )


def with_output(*arguments, **fields):
    def change(notebook):
        notebook.cells[2].outputs.append(new_output(*arguments, **fields))

    return change


def with_chart(**fields):
    return with_output("display_data", CHART | {figures.EXPLORABLE: SPEC | fields})


def without_charts(notebook):
    notebook.cells[2].outputs.pop()


def with_source(index, source):
    def change(notebook):
        notebook.cells[index].source = source

    return change


def with_change(index, old, new):
    def change(notebook):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return change


def with_cells(number):
    def change(notebook):
        del notebook.cells[number:]

    return change


def without_cell(index):
    def change(notebook):
        del notebook.cells[index]

    return change


def without_metadata(index, key):
    def change(notebook):
        del notebook.cells[index].metadata[key]

    return change


def with_name(index, name):
    def change(notebook):
        notebook.cells[index].metadata.nbgrader["grade_id"] = name

    return change


def with_cell_metadata(**metadata):
    def change(notebook):
        notebook.cells[2].metadata.update(metadata)

    return change


def never_run(notebook):
    notebook.cells[2].execution_count = None


def run_twice(notebook):
    notebook.cells[2].execution_count = 3


def emptied(notebook):
    notebook.cells[2].outputs = []


def other_kernel(notebook):
    notebook.metadata.kernelspec.display_name = ".venv"


def unstamped(notebook):
    del notebook.metadata["rectified"]


BREACHES = [
    (executed_in_order, never_run),
    (executed_in_order, run_twice),
    (has_stored_outputs, emptied),
    (
        ran_without_errors_and_warnings,
        with_output("error", ename="E", evalue="division by zero", traceback=[]),
    ),
    (ran_without_errors_and_warnings, with_output("stream", name="stderr", text="a warning")),
    (
        shows_only_known_forms,
        with_output("display_data", {"image/svg+xml": "<svg/>", "text/plain": "A drawing of it."}),
    ),
    (
        every_figure_has_words,
        with_output("display_data", {**FIGURE, "text/plain": "<Figure size 640x480 with 1 Axes>"}),
    ),
    (every_figure_has_words, with_output("display_data", {"image/png": "iVBORw0KGgo="})),
    (every_figure_has_words, with_output("display_data", {**FIGURE, "text/plain": "gradients"})),
    (every_figure_has_words, with_output("display_data", CHART | {"text/plain": "<VegaLite 5 object>"})),
    (every_explorable_works_in_both_versions, with_chart(mark="no such mark")),
    (every_explorable_works_in_both_versions, with_chart(data={"values": []}, layer=[], mark=None)),
    (every_explorable_works_in_both_versions, with_chart(params=[])),
    (has_the_one_kernelspec, other_kernel),
    (says_when_it_was_executed, unstamped),
    (holds_no_timing, with_cell_metadata(execution={"iopub.execute_input": "2026-01-01T00:00:00Z"})),
    (is_plain_markdown, with_source(0, "See {doc}`references`.")),
    (is_plain_markdown, with_source(0, "```{note}\nthis\n```")),
    (is_plain_markdown, with_source(0, ":::{admonition} Note\nthis\n:::")),
    (is_plain_markdown, with_source(0, "(a-label)=\n# Title")),
    (is_plain_markdown, with_output("display_data", {"text/markdown": "{math}`x`", "text/plain": "x"})),
    (is_small, with_output("display_data", {**FIGURE, "image/png": "A" * 3_100_000})),
    (imports_only_what_is_declared, with_source(2, "import tensorflow")),
    (imports_only_what_is_declared, with_source(2, "%matplotlib inline\nfrom tests import conftest")),
    (cites_only_listed_references, with_source(0, "([2999](https://arxiv.org/abs/2999.99999))")),
    (cites_only_listed_references, with_source(0, "https://doi.org/10.1000/unlisted.")),
    (uses_only_known_tags, with_cell_metadata(tags=["raises-exception"])),
    (uses_only_known_tags, with_source(2, "# NBVAL_SKIP\nx = 1")),
    (has_short_cells, with_source(2, "x = 1\n" * 16)),
    (has_an_explorable, without_charts),
    (has_exercises_that_grade_themselves, with_cells(6)),
    (has_exercises_that_grade_themselves, without_cell(3)),
    (has_exercises_that_grade_themselves, without_cell(4)),
    (has_exercises_that_grade_themselves, with_source(4, "# @title A\ndef f1():\n    return 1")),
    (has_exercises_that_grade_themselves, with_source(5, "# @title T\nassert f1() == 1")),
    (has_exercises_that_grade_themselves, with_change(5, "assert f1()\n#", "#")),
    (has_exercises_that_grade_themselves, with_change(4, "# @title A", "# A")),
    (has_exercises_that_grade_themselves, without_metadata(4, "jupyter")),
    (has_exercises_that_grade_themselves, without_metadata(4, "cellView")),
    (has_exercises_that_grade_themselves, without_metadata(5, "tags")),
    (has_exercises_that_grade_themselves, with_name(5, "exercise-2-tests")),
    (has_exercises_that_grade_themselves, with_name(5, "tests-of-exercise-1")),
    (opens_with_the_bootstrap, with_source(1, "import helpers")),
    (
        opens_with_the_bootstrap,
        with_source(1, BOOTSTRAP.replace(ADDRESS, "https://github.com/somebody/else@main")),
    ),
    (opens_with_the_bootstrap, with_source(1, BOOTSTRAP.replace(ADDRESS, REPOSITORY["url"]))),
]


@pytest.mark.parametrize("rule", [*RULES, *CHAPTER_RULES], ids=lambda rule: rule.__name__)
def test_a_good_notebook_keeps_every_rule(rule):
    assert rule(good()) == []


@pytest.mark.parametrize(("rule", "breach"), BREACHES)
def test_a_breach_is_seen(rule, breach):
    notebook = copy.deepcopy(good())
    breach(notebook)
    assert rule(notebook) != []


def test_every_rule_has_a_breach():
    assert Counter(rule for rule, _ in BREACHES).keys() == {*RULES, *CHAPTER_RULES}
