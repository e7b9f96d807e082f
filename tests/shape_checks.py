"""Importing this checks shapes and types at run time, in every module of trimtab that names shapes. conftest does it.

It comes before the imports of trimtab. TRIMTAB_SHAPES=0 leaves it out. mypy checks the other modules.
"""

import os
from pathlib import Path

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src"


def modules_with_shapes() -> list[str]:
    """The modules that import jaxtyping."""
    files = [path for path in sorted(SOURCE.rglob("*.py")) if "from jaxtyping import" in path.read_text("utf-8")]
    return [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in files]


if os.environ.get("TRIMTAB_SHAPES") != "0":
    install_import_hook(modules_with_shapes(), "typechecking.check")
