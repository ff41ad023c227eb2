"""Run the tests of an assignment inside a submission's kernel: `tools/grade_one.py` imports this there, first of all.

A test should fail or pass by what a student's functions return, and by nothing else that the submission has done: by
an `all` or `abs` of its own (`from numpy import *` brings both), by another `math.isclose`, or by a setting of IPython
that drops the asserts. So tests are compiled here, and see Python and what they import as both were before.
"""

import ast
import builtins
import linecache
import sys
from types import ModuleType

from IPython.core.getipython import get_ipython

shell = get_ipython()
#: Modules as they were before the submission ran, and what restores the functions, classes and modules in each.
before: dict[str, ModuleType] = {}
restore: list[tuple] = []


def imports(source: str) -> list[ast.stmt]:
    """Give the statements of tests that import something."""
    return [line for line in ast.parse(source).body if isinstance(line, ast.Import | ast.ImportFrom)]


def prepare(sources: list[str]) -> None:
    """Import what tests import, and keep how it is."""
    exec(compile(ast.Module([line for text in sources for line in imports(text)], []), "<tests>", "exec"), {})
    names = {"builtins", "sys"}
    for line in (line for text in sources for line in imports(text)):
        if isinstance(line, ast.Import):
            names |= {name.name for name in line.names}
        else:
            names |= {line.module, *(f"{line.module}.{name.name}" for name in line.names)}
    before.update({name: sys.modules[name] for name in names if name in sys.modules})
    for module in before.values():
        kept = {name: x for name, x in vars(module).items() if callable(x) or isinstance(x, ModuleType)}
        restore.append((vars(module).update, kept))
    restore.append((sys.modules.update, before))


def run(source: bytes, proof: str) -> None:
    """Run tests on what a submission has defined, and send the proof if they reach their end."""
    __tracebackhide__ = "__ipython_bottom__"  # what lies above is not shown
    for update, kept in restore:
        update(kept)
    text = source.decode()
    linecache.cache["<tests>"] = len(text), None, text.splitlines(keepends=True), "<tests>"
    defined = shell.user_ns
    exec(
        compile(ast.Module(imports(text), []), "<tests>", "exec"), defined
    )  # a solution may count on them, too
    names = {name: x for name, x in defined.items() if name not in vars(builtins)}
    names["__builtins__"] = builtins
    exec(compile(text, "<tests>", "exec", optimize=0), names)
    defined.update(names)
    shell.display_pub.publish({"text/plain": proof})
