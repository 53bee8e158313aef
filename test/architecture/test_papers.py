"""PAPERS.md agrees with the code: symbols and their equations, recipes, plans and commands."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest

from vpr_core.cli import build_parser
from vpr_core.experiments.networks import read_recipe
from vpr_core.experiments.plans import read_plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "PAPERS.md").read_text()
SECTIONS = {title: text for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)}
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)
SYMBOLS = sorted({text for text in QUOTED if re.fullmatch(r"vpr_core(\.\w+)+", text)})
FILES = sorted({text for text in QUOTED if re.fullmatch(r"(config|tables|test)/\S+", text)})
COMMANDS = sorted({text for text in QUOTED if text.startswith("vpr-distill ") and text != "vpr-distill tables"})
EQUATIONS = {"DistilVPR": 22, "StructVPR": 7}
TABLES = {"DistilVPR": 6, "StructVPR": 6}
FIGURES = {"DistilVPR": 3, "StructVPR": 1}


def symbol(name: str) -> object:
    """A module, or what a module holds."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def numbers(text: str) -> set[int]:
    """Of "(3), (6)-(8)": 3, 6, 7, 8."""
    found = set()
    for first, last in re.findall(r"\((\d+)\)(?:-\((\d+)\))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def cited(docstring: str | None, paper: str) -> set[int]:
    """The equations of a paper that a docstring names."""
    lists = re.findall(rf"{paper} Eqs?\. (\(\d+\)(?:(?:-|, | and |, and )\(\d+\))*)", docstring or "")
    return {number for text in lists for number in numbers(text)}


def rows(paper: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading of a paper's section, without its head."""
    part = re.search(rf"^### {heading}\n(.*?)(?=^### |\Z)", SECTIONS[paper], re.M | re.S)
    assert part, f"{paper} has no {heading}"
    lines = [line for line in part[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def docstrings_of_core() -> dict[str, str]:
    """By dotted name, of every module, class and function of vpr_core."""
    found = {}
    for path in (ROOT / "vpr_core").rglob("*.py"):
        tree = ast.parse(path.read_text())
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                found[module if isinstance(node, ast.Module) else f"{module}.{node.name}"] = text
    return found


DOCSTRINGS = docstrings_of_core()


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_can_be_imported(name: str) -> None:
    assert inspect.getdoc(symbol(name))


@pytest.mark.parametrize("paper", SECTIONS)
def test_every_equation_stands_beside_a_symbol_that_names_it(paper: str) -> None:
    there = set()
    for equation, _, names, *_ in rows(paper, "Equations"):
        assert numbers(equation), equation
        there |= numbers(equation)
        named = [cited(inspect.getdoc(symbol(name)), paper) for name in re.findall(r"`(vpr_core[\w.]+)`", names)]
        assert numbers(equation) <= set().union(*named), f"{names} does not name {paper} Eq. {equation}"
    assert there == set(range(1, EQUATIONS.get(paper, max(there)) + 1))


@pytest.mark.parametrize("paper", SECTIONS)
def test_every_docstring_that_names_an_equation_is_on_the_page(paper: str) -> None:
    there = {number for equation, *_ in rows(paper, "Equations") for number in numbers(equation)}
    citing = {name: found for name, text in DOCSTRINGS.items() if (found := cited(text, paper))}
    assert citing, f"no docstring names an equation of {paper}"
    named = [symbol(name) for name in SYMBOLS if f"`{name}`" in SECTIONS[paper]]
    modules = {getattr(one, "__module__", None) or getattr(one, "__name__", None) for one in named}
    for name, found in citing.items():
        assert found <= there, f"{name} names equations that PAPERS.md lacks"
        assert modules & {name, name.rpartition(".")[0]}, f"PAPERS.md lacks {name}, of {paper} Eq. {sorted(found)}"


@pytest.mark.parametrize(("heading", "last"), [("Tables", TABLES), ("Figures", FIGURES)])
@pytest.mark.parametrize("paper", SECTIONS)
def test_every_table_and_figure_is_on_the_page(paper: str, heading: str, last: dict[str, int]) -> None:
    found = {int(row[0]) for row in rows(paper, heading) if row[0].isdigit()}
    assert found >= set(range(1, last.get(paper, 1) + 1))


@pytest.mark.parametrize("name", FILES)
def test_recipes_and_plans_can_be_read(name: str) -> None:
    path = ROOT / name
    assert path.exists()
    if path.parent.name in ("teacher", "distill"):
        assert (read_recipe(path).distillation is None) == (path.parent.name == "teacher")
    elif path.parent.name == "structvpr":
        assert (read_recipe(path).distillation is None) == (not path.stem.endswith("student"))
    elif path.parent.name == "tables" and path.suffix == ".yaml":
        assert read_plan(path).columns


def test_every_recipe_for_the_paper_s_data_is_on_the_page() -> None:
    of_paper = {path.relative_to(ROOT).as_posix() for path in (ROOT / "config").rglob("paper*.yaml")}
    assert of_paper and of_paper <= set(FILES)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_given(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where their recipes are
    assert build_parser().parse_args(shlex.split(command)[1:]).subcommand
