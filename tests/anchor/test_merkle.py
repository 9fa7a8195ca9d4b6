"""Our trees are the trees of @openzeppelin/merkle-tree, byte by byte."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonhold.anchor.merkle import Leaf, LeafKind, tree, verify
from commonhold.errors import BadInput, NotFound
from commonhold.units import Hash32, hex_text

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "contracts" / "node_modules"


def leaf(n: int) -> Leaf:
    digest, lease = hashlib.sha256(b"digest %d" % n).digest(), hashlib.sha256(b"lease %d" % (n % 5)).digest()
    return Leaf(LeafKind(1 + n % 2), Hash32(lease), Hash32(digest), n * 1_000_003 % 2**63)


def ask_npm(requests: list[object]) -> list[dict[str, object]]:
    node = shutil.which("node")
    if node is None or not (PACKAGES / "@openzeppelin" / "merkle-tree").is_dir():
        pytest.skip("node or the npm package is not installed")
    script = Path(__file__).with_name("standard_tree.mjs")
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([node, script, ROOT / "contracts"], input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_root_dump_and_proofs_equal_the_npm_package() -> None:
    sizes = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 100]
    ours = [tree([leaf(n) for n in range(size)]) for size in sizes]

    theirs = ask_npm([{"values": [item.to_json() for item in one.leaves]} for one in ours])

    for one, other in zip(ours, theirs, strict=True):
        assert other["root"] == hex_text(one.root)
        assert other["dump"] == one.dump()
        assert other["proofs"] == [[hex_text(h) for h in one.proof(item.digest)[1]] for item in one.leaves]


def test_npm_package_loads_and_validates_our_dump() -> None:
    ours = tree([leaf(n) for n in range(21)])

    assert ask_npm([{"load": ours.dump()}]) == [{"root": hex_text(ours.root)}]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40, unique=True), st.data())
def test_every_leaf_is_proven_and_no_other(numbers: list[int], data: st.DataObject) -> None:
    ours = tree([leaf(n) for n in numbers])

    for item in ours.leaves:
        found, proof = ours.proof(item.digest)
        assert found == item
        assert verify(ours.root, item, proof)
    stranger = leaf(data.draw(st.integers(2**41, 2**42)))
    assert not verify(ours.root, stranger, proof)
    changed = Leaf(found.kind, found.lease, found.digest, found.gpu_ms + 1)
    assert not verify(ours.root, changed, proof)
    with pytest.raises(NotFound):
        ours.proof(stranger.digest)


def test_root_does_not_depend_on_the_order() -> None:
    leaves = [leaf(n) for n in range(13)]

    assert tree(leaves).root == tree(leaves[::-1]).root


def test_proof_of_wrong_sibling_or_length_fails() -> None:
    ours = tree([leaf(n) for n in range(8)])
    item, proof = ours.proof(leaf(3).digest)

    assert not verify(ours.root, item, proof[:-1])
    assert not verify(ours.root, item, (*proof, proof[0]))
    assert not verify(ours.root, item, (Hash32(bytes(32)), *proof[1:]))


def test_tree_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput):
        tree([])
