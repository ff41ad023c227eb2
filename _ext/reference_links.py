"""Sphinx extension: the names of helpers lead to their entries in the reference.

In a chapter the first mention of each name in the prose, its import and its first use in the code become links; the
notebooks stay plain Markdown. On the reference's own pages every mention does, and "chapter 1" leads to that chapter.
"""

import ast
import re
from html import escape

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator

PACKAGE = "helpers"
PYTHON = {"ipython3", "ipython", "python"}
LINK = "helper-link"
# A dotted name as Pygments marks it up: in an f-string's braces too, but never in plain text or a comment.
WORD, DOT = r'<span class="n\w?">\w+</span>', '<span class="o">.</span>'
DOTTED = re.compile(f"(?<!{re.escape(DOT)}){WORD}(?:{re.escape(DOT)}{WORD})*")
STRAIGHT = str.maketrans("“”‘’", "\"\"''")
CHAPTERS = re.compile(r"\b[Cc]hapters? \d+(?:(?:, | and )\d+)*")


def documented(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Give for each full name that has an entry its page and its anchor."""
    return {
        name: (entry.docname, entry.node_id)
        for name, entry in env.domains["py"].objects.items()
        if name.split(".")[0] == PACKAGE and not entry.aliased
    }


def bindings(source: str) -> tuple[dict[str, str], set[int]]:
    """Give what the names that some code imports or defines stand for after it, and the lines of its imports.

    A name that it assigns or defines itself stands for nothing of the package, which is written as "". Of code that
    is not Python, nothing is known.
    """
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)  # IPython's own commands
    try:
        tree = ast.parse(plain)
    except SyntaxError:
        return {}, set()
    names, lines = {}, set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(path)) if path.split(".")[0] == PACKAGE:
                names |= {alias.asname or alias.name: f"{path}.{alias.name}" for alias in node.names}
            case ast.Import():
                whole = {
                    alias.name: alias.asname for alias in node.names if alias.name.split(".")[0] == PACKAGE
                }
                names |= {(name or PACKAGE): (path if name else PACKAGE) for path, name in whole.items()}
            case ast.Name(ctx=ast.Store()):
                names.setdefault(node.id, "")
            case ast.FunctionDef() | ast.ClassDef():
                names.setdefault(node.name, "")
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return names, lines


class ReferenceLinks(SphinxPostTransform):
    """Link the names that stand in the text."""

    default_priority = 5  # MyST-NB's SelectMimeType, at 4, settles first which form of an output is shown
    formats = ("html",)

    def run(self, **_: object) -> None:
        """Treat a page of the reference in one way and any other page in the other."""
        self.entries = documented(self.env)
        objects = self.env.domains["py"].objects
        self.classes = {
            name.rpartition(".")[2]: name for name in self.entries if objects[name].objtype == "class"
        }
        if self.env.docname in {page for page, _ in self.entries.values()}:
            self.link_every_name()
            self.link_types()
            self.link_chapters()
        else:
            self.link_first_names()

    def link_first_names(self) -> None:
        """Link the first mention of each name on a page, read as the code of the page would read it."""
        names: dict[str, str] = {}
        for block in self.document.findall(nodes.literal_block):
            if block.get("language") in PYTHON:
                names |= bindings(block.astext())[0]
        seen = set()
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext().removesuffix("()")
            first, dot, rest = name.partition(".")
            for target in (names.get(first, "") + dot + rest, f"{PACKAGE}.{name}", name):
                if target in self.entries and target not in seen:
                    seen |= {target} if self.link(literal, target) else set()
                    break

    def link_every_name(self) -> None:
        """Link each name, read in the place where its docstring stands: in a class, in a module, in the package."""
        modules = {page: name for name, (page, _) in self.entries.items() if name.count(".") < 2}
        classes = set(self.classes.values())
        for literal in list(self.document.findall(nodes.literal)):
            here = own_name(literal)
            scopes = [here, here.rpartition(".")[0], modules[self.env.docname], PACKAGE]
            name = literal.astext().removesuffix("()")
            targets = [f"{scope}.{name}" for scope in scopes if scope] + [name]
            # a field of a class has no entry of its own: it stands in that of the class
            targets += [
                owner for owner in (target.rpartition(".")[0] for target in targets[1:]) if owner in classes
            ]
            for target in targets:
                if target in self.entries and target != here:
                    self.link(literal, target)
                    break

    def link_types(self) -> None:
        """Link the classes that a type is made of; numpydoc writes it as plain text."""
        for node in list(self.document.findall(lambda node: isinstance(node, nodes.classifier | nodes.term))):
            if all(isinstance(child, nodes.Text) for child in node):
                words = re.split(r"(\w+)", node.astext().translate(STRAIGHT))
                node.clear()
                for word in words:
                    target = self.classes.get(word)
                    node += self.reference(target, nodes.Text(word)) if target else nodes.Text(word)

    def link(self, literal: nodes.literal, target: str) -> bool:
        """Wrap a link around a literal, and tell whether that was possible in this place."""
        parent = literal.parent
        while parent is not None:
            if isinstance(parent, nodes.reference | nodes.title | addnodes.desc_signature):
                return False
            parent = parent.parent
        literal.replace_self(self.reference(target, literal.deepcopy()))
        return True

    def reference(self, target: str, inner: nodes.Node) -> nodes.reference:
        """Make a link to an entry."""
        link = make_refnode(self.app.builder, self.env.docname, *self.entries[target], inner, target)
        link["classes"].append(LINK)
        return link

    def link_chapters(self) -> None:
        """Turn the number of each chapter that is written already into a link to it."""
        written = {
            int(match[1]): page
            for page in self.env.found_docs
            if (match := re.fullmatch(r"chapters/(\d\d)_\w+", page))
        }
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.reference | nodes.title):
                continue
            parts, end = [], 0
            for phrase in CHAPTERS.finditer(text):
                for mention in re.finditer(r"(?:[Cc]hapters? )?(\d+)", phrase[0]):
                    page = written.get(int(mention[1]))
                    if page is not None:
                        start = phrase.start() + mention.start()
                        label = nodes.inline("", mention[0])
                        link = make_refnode(self.app.builder, self.env.docname, page, None, label)
                        parts += [nodes.Text(text[end:start]), link]
                        end = start + len(mention[0])
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def own_name(node: nodes.Node) -> str:
    """Give the full name of the entry in which a node stands, or ""."""
    while node is not None:
        if isinstance(node, addnodes.desc):
            signature = node[0]
            return f"{signature['module']}.{signature['fullname']}"
        node = node.parent
    return ""


class CodeLinks:
    """Link the names that stand in the code of one page, from its first cell to its last."""

    def __init__(self, translator: HTML5Translator) -> None:
        builder, page = translator.builder, translator.builder.current_docname
        self.addresses = {
            name: builder.get_relative_uri(page, target) + f"#{anchor}"
            for name, (target, anchor) in documented(builder.env).items()
        }
        self.modules = {name for name in self.addresses if name.count(".") < 2}
        self.names: dict[str, str] = {}
        self.seen: set[tuple[str, bool]] = set()

    def link(self, source: str, html: str) -> str:
        """Put links into the markup of a cell; its text stays the same to the letter."""
        names, imports = bindings(source)
        self.names |= names

        def linked(match: re.Match) -> str:
            in_import = html.count("\n", 0, match.start()) + 1 in imports
            parts = match[0].split(DOT)
            words = [re.sub("<.*?>", "", part) for part in parts]
            for n in range(len(words), 0, -1):
                name = ".".join([self.names.get(words[0], ""), *words[1:n]])
                is_meant = name in self.addresses and (in_import or name not in self.modules)
                if is_meant and (name, in_import) not in self.seen:
                    self.seen.add((name, in_import))
                    marked = DOT.join(parts[:n])
                    return (
                        f'<a class="{LINK} reference internal" href="{escape(self.addresses[name])}" title="{name}">'
                        f"{marked}</a>{match[0][len(marked) :]}"
                    )
                if is_meant:
                    break
            return match[0]

        return DOTTED.sub(linked, html)


def visit_literal_block(self: HTML5Translator, node: nodes.literal_block) -> None:
    """Write a block of code as Sphinx does, and put the links into what it has written."""
    try:
        type(self).visit_literal_block(self, node)
    except nodes.SkipNode:
        if node.get("language") in PYTHON:
            if not hasattr(self, "code_links"):  # a translator writes one page
                self.code_links = CodeLinks(self)
            self.body[-1] = self.code_links.link(node.astext(), self.body[-1])
        raise


def depart_literal_block(self: HTML5Translator, node: nodes.literal_block) -> None:
    """Leave a block that was not highlighted."""
    type(self).depart_literal_block(self, node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform for the text and the writer of code."""
    app.add_post_transform(ReferenceLinks)
    app.add_node(nodes.literal_block, override=True, html=(visit_literal_block, depart_literal_block))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
