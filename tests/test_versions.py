import subprocess
import sys

import torch
import transformers

import trimtab
from trimtab.versions import versions


def test_the_versions_are_those_that_the_packages_say():
    found = versions()
    assert found == {
        "trimtab": trimtab.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    found["torch"] = "changed"
    assert versions()["torch"] == torch.__version__


def test_no_package_is_imported_for_its_version():
    program = "import sys; from trimtab.versions import versions; versions(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
