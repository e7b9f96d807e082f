"""Tests of the vLLM engine. They run where vLLM is installed: `make test-vllm`."""

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

OPTIONS = {
    "enforce_eager": True,
    "max_model_len": 512,
    "block_size": 32,
    "num_gpu_blocks_override": 40,
    "max_num_batched_tokens": 64,
    "max_num_seqs": 32,
}
FOREIGN = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::ResourceWarning")


def pytest_collection_modifyitems(items):
    """Skip the tests where vLLM is not installed; its own warnings are not ours to mend."""
    marks = [pytest.mark.slow, *map(pytest.mark.filterwarnings, FOREIGN)]
    if find_spec("vllm") is None:
        marks.append(pytest.mark.skip(reason="vLLM is not installed here; make test-vllm installs it"))
    for item in items:
        if "/tests/with_vllm/" in str(item.path):
            for mark in marks:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def vllm_lm(smollm2):
    """SmolLM2 in vLLM, with blocks for few texts, so that large batches are preempted, and prompts read in chunks."""
    from trimtab.engines.vllm.engine import VllmEngine
    from trimtab.language_model import LanguageModel

    return LanguageModel(VllmEngine(smollm2.base, OPTIONS))


@pytest.fixture
def preempted(vllm_lm, monkeypatch):
    """The names of the requests that vLLM preempts."""
    scheduler = vllm_lm.engine.llm_engine.engine_core.engine_core.scheduler
    preempt, names = scheduler._preempt_request, []

    def counting(request, *args, **kwargs):
        names.append(request.request_id)
        return preempt(request, *args, **kwargs)

    monkeypatch.setattr(scheduler, "_preempt_request", counting)
    return names
