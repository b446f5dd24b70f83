"""Small histories for property tests: a tree, and what two sides may do to it that strains a merge."""

from hypothesis import strategies as st

from tests.merge.repos import EXECUTABLE, FILE, SYMLINK

Tree = dict[str, tuple[int, bytes]]

PATHS = ["x", "y", "a/x", "a/y", "a/c/x", "a/c/z", "b/x", "b/z", "b/d/y"]
DIRECTORIES = ["a", "b", "c", "a/c", "b/d", "a/e", "x", "y"]

# Documents of several lines, some alike and one empty, so that renames with and without edits are detected.
_LINES = [f"line {number} of the document\n".encode() for number in range(8)]
DOCUMENTS = [
    b"".join(_LINES),
    b"".join(_LINES[::-1]),
    b"".join(_LINES[:5]) + b"}\n}\n",
    b"one\ntwo\nthree\n",
    b"",
]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    paths = draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=7, unique=True))
    result: Tree = {}
    for path in paths:
        number = draw(st.integers(0, len(DOCUMENTS)))
        # Most files are unlike any other: equal ones make rename detection a matter of taste.
        data = (
            DOCUMENTS[number]
            if number < len(DOCUMENTS)
            else b"".join(b"%s %s" % (path.encode(), at) for at in _LINES)
        )
        put(result, path, (FILE, data))
    return result


def put(tree: Tree, path: str, content: tuple[int, bytes]) -> None:
    """Write a file as a checkout would: what is in its way gives way."""
    for other in list(tree):
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            del tree[other]
    tree[path] = content


@st.composite
def sides(draw: st.DrawFn, base: Tree) -> Tree:
    """Change a tree by up to four steps."""
    tree = dict(base)
    for _ in range(draw(st.integers(1, 4))):
        _step(draw, tree)
    return tree


def _step(draw: st.DrawFn, tree: Tree) -> None:
    deed = draw(st.sampled_from(["edit", "edit", "add", "delete", "move", "move-directory", "chmod", "link"]))
    new_path = draw(st.sampled_from(PATHS + [f"{at}/new" for at in DIRECTORIES]))
    if deed == "add":
        put(tree, new_path, (FILE, draw(st.sampled_from([*DOCUMENTS, b"added\n", b"added\nmore\n"]))))
    elif not tree:
        return
    elif deed == "move-directory":
        _move_directory(draw, tree)
    else:
        path = draw(st.sampled_from(sorted(tree)))
        mode, data = tree.pop(path)
        if deed == "edit":
            put(tree, path, (mode, draw(edits(data))))
        elif deed == "move":
            put(tree, new_path, (mode, data))
        elif deed == "chmod":
            put(tree, path, (EXECUTABLE if mode == FILE else FILE, data))
        elif deed == "link":
            put(tree, path, (SYMLINK, draw(st.sampled_from([b"x", b"y"]))))


def _move_directory(draw: st.DrawFn, tree: Tree) -> None:
    source, target = draw(st.sampled_from(DIRECTORIES)), draw(st.sampled_from(DIRECTORIES))
    moved = {path: tree.pop(path) for path in list(tree) if path.startswith(f"{source}/")}
    for path, content in moved.items():
        put(tree, target + path.removeprefix(source), content)


@st.composite
def edits(draw: st.DrawFn, data: bytes) -> bytes:
    """Insert, replace or delete one line, or open the last."""
    lines = data.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines)))
    deed = draw(st.sampled_from(["insert", "replace", "delete", "open"]))
    if deed == "open":
        return data.removesuffix(b"\n")
    new = (
        [draw(st.sampled_from([b"mine\n", b"yours\n", b"line 3 of the document\n"]))]
        if deed != "delete"
        else []
    )
    lines[at : at if deed == "insert" else at + 1] = new
    return b"".join(lines)
