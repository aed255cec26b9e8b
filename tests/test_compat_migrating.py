"""What docs/migrating.md says of SoftRas, done: the programs run, and draw one picture."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parent.parent / "docs" / "migrating.md"


def test_compat_and_our_own_api_draw_the_same(arch):
    page = PAGE.read_text(encoding="utf-8")
    section = re.search(r"^## From SoftRas$.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    codes = re.findall(r"^```python\n(.*?)^```$", section[0], re.MULTILINE | re.DOTALL)
    scope = {}
    for code in codes:
        exec(compile(code, "migrating.md", "exec"), scope)
    assert float(scope["rgba"].max()) > 0.5
    torch.testing.assert_close(scope["same"], scope["rgba"], atol=1e-4, rtol=0.0)
