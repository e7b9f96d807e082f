"""Importing this checks shapes and types at run time, in every module of trimtab that names shapes. conftest does it.

It comes before the imports of trimtab. TRIMTAB_SHAPES=0 leaves it out. mypy checks the other modules.
"""

import os
from pathlib import Path

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src"
IN_EVERY_LAYER = {  # called for every layer of every step: their checks took an eighth of the time of tests that decode
    "trimtab.models.columns",
    "trimtab.models.growing_cache",
    "trimtab.models.packed_weights",
    "trimtab.models.quick_linear",
    "trimtab.models.quick_norm",
    "trimtab.models.room",
}


def modules_with_shapes() -> list[str]:
    """The modules that import jaxtyping."""
    files = [path for path in sorted(SOURCE.rglob("*.py")) if "from jaxtyping import" in path.read_text("utf-8")]
    names = {".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in files}
    return sorted(names - IN_EVERY_LAYER)


if os.environ.get("TRIMTAB_SHAPES") != "0":
    install_import_hook(modules_with_shapes(), "typechecking.check")
