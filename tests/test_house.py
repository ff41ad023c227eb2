"""The house: the floors of helpers, what their modules promise, and the places that have to say the same."""

import ast
import importlib
import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from addresses import inconsistencies
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.stem for path in (ROOT / "helpers").glob("*.py") if path.stem != "__init__")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def floors() -> list[str]:
    """The modules in the order of CONTRIBUTING's table, from the top."""
    section = text_of("CONTRIBUTING.md").split("## The floors of `helpers`")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def imported_modules(source: str) -> set[str]:
    """The modules of helpers that a source imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("helpers.")}
        elif isinstance(node, ast.ImportFrom):
            path = (["helpers"] if node.level else []) + (node.module.split(".") if node.module else [])
            if path[:1] == ["helpers"]:
                found |= {path[1]} if len(path) > 1 else {name.name for name in node.names}
    return found


def above(module: str, order: list[str]) -> set[str]:
    return set(order[: order.index(module)])


def pins() -> dict[str, str]:
    lines = [line for line in text_of("requirements.txt").splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("from helpers import data", {"data"}),
        ("from helpers.data import load", {"data"}),
        ("import helpers.data as d", {"data"}),
        ("from . import data, theory", {"data", "theory"}),
        ("from .data import load", {"data"}),
        ("def f():\n    from helpers import training", {"training"}),
        ("import torch\nfrom torch import nn", set()),
    ],
)
def test_every_way_to_import_a_floor_is_seen(source, modules):
    assert imported_modules(source) == modules


def test_every_module_has_its_floor():
    assert sorted(floors()) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_floors_above_it(module):
    source = text_of(f"helpers/{module}.py")
    assert imported_modules(source) <= above(module, floors())


def test_a_floor_below_is_out_of_reach():
    assert not imported_modules("from helpers import training") <= above("data", ["data", "training"])


def test_the_package_itself_imports_nothing():
    assert not [
        node
        for node in ast.walk(ast.parse(text_of("helpers/__init__.py")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for_and_what_it_offers(module):
    loaded = importlib.import_module(f"helpers.{module}")
    assert len(loaded.__doc__.split()) >= 10
    for name in loaded.__all__:
        public = getattr(loaded, name)
        if callable(public):
            assert public.__doc__, f"{module}.{name} has no docstring"
            assert not name.startswith("_")


def test_every_public_name_is_listed():
    for module in MODULES:
        tree = ast.parse(text_of(f"helpers/{module}.py"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        unlisted = {name for name in defined if not name.startswith("_")} - set(
            importlib.import_module(f"helpers.{module}").__all__
        )
        assert not unlisted, f"helpers.{module} defines {unlisted}, which its __all__ does not list"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_tests(module):
    assert (ROOT / "tests" / f"test_{module}.py").exists()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_only_targets_and_files_that_exist(document):
    text = text_of(document)
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (ROOT / target).exists(), f"{document} links to {target}"


def test_help_lists_every_target():
    phony = re.search(r"^\.PHONY: (help .*)$", text_of("Makefile"), flags=re.MULTILINE).group(1).split()
    described = re.findall(r"^([a-z]+):.*## \S", text_of("Makefile"), flags=re.MULTILINE)
    assert sorted(phony) == sorted(described)


def test_readme_gives_the_two_commands():
    assert {"book", "test"} <= set(re.findall(r"make ([a-z]+)", text_of("README.md")))


def test_every_file_gives_the_address_of_the_book():
    assert inconsistencies(ROOT) == []


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load(text_of("CITATION.cff"))["version"] == PROJECT["version"]


def test_every_package_is_pinned_exactly():
    for name, version in pins().items():
        assert re.fullmatch(r"[\w.-]+", name)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}: no ranges, no local versions"


def test_the_pins_lie_inside_the_loose_ranges():
    pinned = {normalised(name): version for name, version in pins().items()}
    loose = [line.split("#")[0].strip() for line in text_of("requirements.in").splitlines()]
    loose = [line for line in loose if line and not line.startswith("-")]
    optional = itertools.chain.from_iterable(PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, [*PROJECT["dependencies"], *optional, *loose]):
        assert requirement.specifier.contains(pinned[normalised(requirement.name)]), str(requirement)


def test_ranges_that_colab_installs_have_no_upper_end():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert {part.operator for part in requirement.specifier} == {">="}


def test_every_page_stands_in_the_table_of_contents():
    listed = set(re.findall(r"chapters/([\w/]+)", text_of("_toc.yml")))
    folders = [ROOT / "chapters", ROOT / "chapters" / "reference"]
    sources = [path for folder in folders for path in folder.iterdir() if path.suffix in {".md", ".ipynb"}]
    assert listed == {path.relative_to(folders[0]).with_suffix("").as_posix() for path in sources}


CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def problems_of_binder(requirements: str, runtime: str, python: str) -> list[str]:
    """What Binder would install otherwise than the book was executed with: CPU torch, the pins, helpers from here."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    options = [tuple(re.split(r"[ =]+", line, maxsplit=1)) for line in lines if line]
    problems = [f"{' '.join(option)} should not be there" for option in options if len(option) != 2]
    indices = [option for option in options if "index" in option[0]]
    if indices != [("--extra-index-url", CPU_WHEELS)]:
        problems.append(f"torch comes from {indices}, and not from {CPU_WHEELS} beside PyPI")
    if sorted(option for option in options if option not in indices) != [
        ("-e", "."),
        ("-r", "../requirements.txt"),
    ]:
        problems.append("what is installed is not the pins, and helpers from this repository")
    if runtime != f"python-{python}\n":
        problems.append(f"the runtime is {runtime!r}, and not Python {python}")
    return problems


def pinned_python() -> str:
    """The version of Python that the pins are made for."""
    return re.search(r"exactly, on Python (\d\.\d+)\.", text_of("requirements.txt"))[1]


def test_binder_runs_what_the_book_was_executed_with():
    given = [text_of(f"binder/{name}") for name in ("requirements.txt", "runtime.txt")]
    assert problems_of_binder(*given, pinned_python()) == []


@pytest.mark.parametrize("name", ["deploy", "test"])
def test_the_workflow_that_checks_the_book_has_the_python_and_the_torch_of_binder(name):
    workflow = yaml.safe_load(text_of(f".github/workflows/{name}.yml"))
    steps = next(
        job["steps"]
        for job in workflow["jobs"].values()
        if any(step.get("run") == ".ci/run" for step in job["steps"])
    )
    assert [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")] == [
        pinned_python()
    ]
    assert workflow["env"]["PIP_EXTRA_INDEX_URL"] == CPU_WHEELS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"--extra-index-url {CPU_WHEELS}\n", ""),
        ("/whl/cpu", "/whl/cu126"),
        ("--extra-index-url", "--index-url"),
        ("-r ../requirements.txt\n", ""),
        ("-r ../requirements.txt", "-r ../requirements.in"),
        ("-e .", "rectified"),
        ("-e .", "-e .\ntorch"),
        ("python-3.11", "python-3.12"),
        ("python-3.11\n", ""),
    ],
)
def test_a_binder_that_would_install_something_else_is_seen(old, new):
    requirements = f"# A comment.\n--extra-index-url {CPU_WHEELS}\n-r ../requirements.txt\n-e .\n"
    runtime = "python-3.11\n"
    assert problems_of_binder(requirements, runtime, "3.11") == []
    assert old in requirements + runtime
    assert problems_of_binder(requirements.replace(old, new), runtime.replace(old, new), "3.11") != []


def problems_of_workflow(text: str) -> list[str]:
    """What a workflow lacks: actions pinned by commit with the version beside, permissions, time limits."""
    problems = []
    for line in text.splitlines():
        if "uses:" in line and not re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line):
            problems.append(f"not pinned by commit: {line.strip()}")
    workflow = yaml.safe_load(text)
    if workflow.get("permissions") != {"contents": "read"}:
        problems.append("the workflow's own permissions are not `contents: read`")
    problems += [
        f"{name} has no time limit" for name, job in workflow["jobs"].items() if "timeout-minutes" not in job
    ]
    return problems


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_limited_and_permitted_little(path):
    assert problems_of_workflow(path.read_text(encoding="utf-8")) == []


def test_the_workflows_are_there():
    assert [path.stem for path in WORKFLOWS] == ["deploy", "test", "weekly"]


def test_a_careless_workflow_is_seen():
    careless = "on: push\njobs:\n  a:\n    steps:\n      - uses: actions/checkout@v6\n"
    assert len(problems_of_workflow(careless)) == 3


def test_only_the_deployment_may_write():
    for path in WORKFLOWS:
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        writing = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
        assert writing == (
            {"deploy": {"pages": "write", "id-token": "write"}} if path.stem == "deploy" else {}
        )
