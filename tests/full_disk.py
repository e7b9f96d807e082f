"""A full disk, for tests: no file can grow past a size."""

import resource
from contextlib import contextmanager


@contextmanager
def files_of_at_most(size):
    """Let writes past `size` bytes of a file fail, as those on a full disk do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
