"""The peak memory of this process, from the system. It imports nothing large."""

from pathlib import Path

STATUS = Path("/proc/self/status")
KIB = 1024


def peak_of_process() -> int | None:
    """The largest resident memory of this process in bytes; None where the system does not tell.

    Linux keeps the peak of the parent in a child's `ru_maxrss`, so there its own record is read.
    """
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii").splitlines()
        return next((KIB * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
