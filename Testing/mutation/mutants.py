"""The mutants of a source file: one coefficient, sign, comparison, Boolean, condition or index changed in each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}  # fmt: skip
_OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "/"), ast.Mod: ("%", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of a source file.

    Attributes:
        path: the file.
        line: where, counted from 1.
        start, stop: bytes of the file that are replaced.
        new: what stands there instead.
        change: the change in a few words.
        code: the line as it is.
    """

    path: Path
    line: int
    start: int
    stop: int
    new: str
    change: str
    code: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.stop :]


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a file, those that are no Python left out."""
    source = path.read_bytes()
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found = []
    tree = ast.parse(source)
    left_out = _left_out(tree)
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        for first, last, old, new in _changes(node):
            start = starts[first[0] - 1] + first[1]
            stop = starts[last[0] - 1] + last[1]
            text = source[start:stop].decode()
            if old is not None and old not in text:
                continue
            replaced = new.replace("{}", text) if old is None else text.replace(old, new, 1)
            change = f"{old or text} -> {new.replace('{}', text)}".replace("\n", " ")
            code = lines[first[0] - 1].decode().strip()
            found.append(Mutant(path, first[0], start, stop, replaced, change, code))
    return [mutant for mutant in found if _is_python(mutant.applied(source))]


Place = tuple[int, int]


def _changes(node: ast.AST) -> Iterator[tuple[Place, Place, str | None, str]]:
    """Place (first and last line and column), what is replaced (None: all of it, "{}" in the new text), and by what."""
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        yield *_span(node), None, _other(node.value)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _end(node.left), _start(node.comparators[0]), *_COMPARISONS[type(node.ops[0])]
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_text(node.left):
        yield _end(node.left), _start(node.right), *_OPERATORS[type(node.op)]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield _start(node), _start(node.operand), None, " "
    elif isinstance(node, ast.BoolOp):
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        yield _end(node.values[0]), _start(node.values[1]), *words
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not _is_either_or(node.test):
        yield *_span(node.test), None, "not ({})"


def _other(value: complex) -> str:
    """Another number or Boolean of this kind, near by."""
    if isinstance(value, bool):
        return repr(not value)
    return repr(value + 1) if isinstance(value, int) else repr(value * 1.1 if value else 0.1)


def _left_out(tree: ast.AST) -> set[int]:
    """Nodes where a change is none of behaviour: messages, annotations, what only a type checker reads."""
    found: set[int] = set()
    for node in ast.walk(tree):
        skipped: list[ast.AST | None] = []
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            skipped = [node]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            skipped = [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            skipped = [*node.decorator_list]
        elif isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: what is zipped is equally long
            skipped = [node]
        elif isinstance(node, ast.arg | ast.AnnAssign):
            skipped = [node.annotation]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped = [node]
        found.update(id(inner) for part in skipped if part is not None for inner in ast.walk(part))
    return found


def _is_either_or(test: ast.expr) -> bool:
    """Whether a condition is a comparison whose own mutant is its opposite."""
    opposites = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], opposites)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _start(node: ast.expr) -> Place:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> Place:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def _span(node: ast.expr | ast.stmt) -> tuple[Place, Place]:
    return _start(node), _end(node)


def _is_python(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True
