"""The peak memory of one row, measured in a fresh process: in a process that has run other rows it would be theirs.

python -m trimtab.benchmark.memory '{"spec": …, "row": …, "setting": …, "layers": …, "seed": …}'
"""

import subprocess
import sys
from typing import Any

from trimtab.benchmark.bench_settings import FEWEST_TOKENS, Setting
from trimtab.benchmark.peak_memory import peak_of_process
from trimtab.benchmark.plan import Case
from trimtab.benchmark.rows import find_rows
from trimtab.benchmark.subject import SubjectSpec
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidData


def measure_memory(case: Case, spec: SubjectSpec, layers: int, seed: int) -> int | None:
    """The bytes of memory that a row needs at its peak, model and libraries included; on a GPU, of its memory.

    Args:
        case: the row and its table. Its texts have the fewest tokens: the prompts decide.
        spec: what the fresh process loads.
        layers: layers of a trunk.
        seed: seed of prompts and rewards.

    Returns:
        None where it cannot be measured: the process failed, or the system does not tell.
    """
    asked = {
        "spec": spec._asdict(),
        "row": case.row.key,
        "setting": list(case.setting),
        "layers": layers,
        "seed": seed,
    }
    words = [sys.executable, "-m", "trimtab.benchmark.memory", dump_json(asked)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = ended.stdout.split()
    return int(lines[-1]) if ended.returncode == 0 and lines and lines[-1].isdigit() else None


def run_alone(asked: dict[str, Any]) -> int | None:
    """Load the model, write the texts of one row, and return the peak memory of this process in bytes."""
    import torch

    from trimtab.benchmark.fresh_rewards import FreshRewards
    from trimtab.benchmark.subject import load_subject
    from trimtab.benchmark.writers import job_of, writer_of

    torch.manual_seed(asked["seed"])
    rewards = FreshRewards(load_subject(SubjectSpec(**asked["spec"]), asked["layers"]))
    row = next(row for row in find_rows([asked["row"]]) if row.key == asked["row"])
    job = job_of(row, Setting(*asked["setting"]), rewards, asked["seed"])
    writer_of(row, job)(FEWEST_TOKENS)
    device = rewards.subject.lm.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_of_process()


def main(words: list[str]) -> None:
    """Print the peak memory of what is asked for, in bytes.

    Raises:
        InvalidData: it is no JSON object.
    """
    asked = parse_json(words[0]) if words else None
    if not isinstance(asked, dict):
        raise InvalidData(f"got {words}, expected one JSON object")
    print(run_alone(asked))


if __name__ == "__main__":
    main(sys.argv[1:])
