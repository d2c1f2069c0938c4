"""What the README shows can be pasted."""

import ast
import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_has_code():
    assert len(BLOCKS) > 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0][:60])
def test_every_block_of_the_readme_is_python(block):
    if ">>>" in block:  # a session: what is typed
        typed = [line[4:] for line in block.splitlines() if line.startswith((">>> ", "... "))]
        block = "\n".join(typed)
    tree = ast.parse(block)
    ellipses = [node for node in ast.walk(tree) if getattr(node, "value", None) is ...]
    assert not ellipses, "an ellipsis in the place of an argument runs into an error"
