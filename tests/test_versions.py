import subprocess
import sys
from unittest.mock import ANY

import torch
import transformers

import trimtab
from trimtab.versions import versions


def test_the_versions_are_those_that_the_packages_say():
    found = versions()
    assert found == {"trimtab": trimtab.__version__, "torch": ANY, "transformers": transformers.__version__}
    assert release(found["torch"]) == release(torch.__version__)  # packages for GPUs do not name their build
    found["torch"] = "changed"
    assert versions()["torch"] != "changed"


def release(version):
    return version.partition("+")[0]


def test_no_package_is_imported_for_its_version():
    program = "import sys; from trimtab.versions import versions; versions(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
