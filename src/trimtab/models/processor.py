"""The processor of this machine, as the system names it."""

import platform
from functools import cache

AMD = "AuthenticAMD"


@cache
def processor_name() -> str:
    """The name of the processor."""
    return _described("model name") or platform.processor() or platform.machine()


@cache
def is_amd() -> bool:
    """Whether the processor is one of AMD's."""
    return _described("vendor_id") == AMD or AMD in platform.processor()


def _described(field: str) -> str:
    """What Linux says of the first core; an empty text elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(field)), "")
    except OSError:
        return ""
