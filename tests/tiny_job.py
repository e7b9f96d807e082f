"""Jobs over a tiny language model: prompts in a file, the settings, and a run."""

import json

from tiny import tiny_reward
from trimtab import jobs
from trimtab.engines.provenance import provenance
from trimtab.engines.sampling_params import SamplingParams
from trimtab.jobs import FileTarget
from trimtab.rewind.rewind_settings import Budget, RewindSettings

LINES = [
    json.dumps({"prompt": "w1 w2"}),
    "{broken",
    json.dumps({"prompt": "w3 \u2028 w4"}, ensure_ascii=False),
    json.dumps({"prompt": ""}),
    json.dumps({"text": "no prompt"}),
    json.dumps({"prompt": "w5"}),
    json.dumps({"prompt": "w6 w7 w8"}),
    json.dumps({"prompt": " ".join(["w1"] * 70)}),
]
SAMPLING = SamplingParams(n=2, top_k=5, max_new_tokens=4, seed=3)
JOB = jobs.Job(model="tiny", steer=("x=+2",), sampling=SAMPLING)
CONVERSATION = [{"role": "user", "content": "w1 w2"}]
SYSTEM = {"role": "system", "content": "w9"}


def write_lines(path, rows):
    """Write objects as JSON lines; returns the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def json_rows(path):
    """Return the objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def run_job(lm, source, target, job=JOB, batch_size=2, reward=None, replace=False, **options):
    """Continue a file of prompts, steered by a tiny reward; returns the faults."""
    steer = (reward or tiny_reward(lm.base, "q")).toward(2.0)
    about = provenance(lm.engine, steer)

    def write(batch):
        return jobs.write_prompts(lm, batch, steer, job)

    return jobs.run_file(
        lm, source, FileTarget(target, source, replace), write, job, batch_size, about=about, **options
    )


def rewind_job(**changes):
    """Return the settings of a small search."""
    settings = RewindSettings(max_new_tokens=3, iterations=4, fresh_iterations=2, children=3, max_children=3, top_k=4)
    given = {
        "model": "tiny",
        "judge": "short",
        "steer": (),
        "method": None,
        "settings": settings,
        "budget": Budget(),
        "similarity": "off",
        "seed": 5,
        "chat": False,
        "system": None,
        "stop": (),
        "judge_chat": False,
        "judge_soft": False,
        "judge_alone": False,
        "dtype": "auto",
    }
    return jobs.RewindJob(**{**given, **changes})
