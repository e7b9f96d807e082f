"""Generation and search over many prompts: files that interrupted runs resume, streams, and replays."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.cluster.ray_actors import RayActors
    from trimtab.jobs.comparison import Replayed
    from trimtab.jobs.job import Job, RewindJob
    from trimtab.jobs.prompts import NumberedPrompt, as_prompt, number_prompts, read_prompts
    from trimtab.jobs.ranked_rows import describe_ranked, rank_prompts, write_ranked
    from trimtab.jobs.ray_run import run_on_ray
    from trimtab.jobs.replay import replay_rows
    from trimtab.jobs.rows import describe, describe_sample, describe_search, search_prompts, write_prompts
    from trimtab.jobs.run import run_file
    from trimtab.jobs.targets import FileTarget, StreamTarget, drawn_seed

__all__ = [
    "FileTarget",
    "Job",
    "NumberedPrompt",
    "RayActors",
    "Replayed",
    "RewindJob",
    "StreamTarget",
    "as_prompt",
    "describe",
    "describe_ranked",
    "describe_sample",
    "describe_search",
    "drawn_seed",
    "number_prompts",
    "rank_prompts",
    "read_prompts",
    "replay_rows",
    "run_file",
    "run_on_ray",
    "search_prompts",
    "write_prompts",
    "write_ranked",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "FileTarget": "trimtab.jobs.targets",
        "Job": "trimtab.jobs.job",
        "NumberedPrompt": "trimtab.jobs.prompts",
        "RayActors": "trimtab.cluster.ray_actors",
        "Replayed": "trimtab.jobs.comparison",
        "RewindJob": "trimtab.jobs.job",
        "StreamTarget": "trimtab.jobs.targets",
        "as_prompt": "trimtab.jobs.prompts",
        "describe": "trimtab.jobs.rows",
        "describe_ranked": "trimtab.jobs.ranked_rows",
        "describe_sample": "trimtab.jobs.rows",
        "describe_search": "trimtab.jobs.rows",
        "drawn_seed": "trimtab.jobs.targets",
        "number_prompts": "trimtab.jobs.prompts",
        "rank_prompts": "trimtab.jobs.ranked_rows",
        "read_prompts": "trimtab.jobs.prompts",
        "replay_rows": "trimtab.jobs.replay",
        "run_file": "trimtab.jobs.run",
        "run_on_ray": "trimtab.jobs.ray_run",
        "search_prompts": "trimtab.jobs.rows",
        "write_prompts": "trimtab.jobs.rows",
        "write_ranked": "trimtab.jobs.ranked_rows",
    },
)
