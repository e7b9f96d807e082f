"""Compare the vLLM engine with the torch engine, token by token, in float32, and print every mismatch.

    VLLM_CPU_KVCACHE_SPACE=1 python bench/vllm_equality.py --out results/vllm_equality.json

Both engines write the same prompts: unsteered, by a reward of each kind, in a batch of 32 different steers, and with
stop strings; greedy and seeded. Then vLLM gets so few blocks of KV cache that it must preempt, reads prompts in chunks,
and finds beginnings in its prefix cache. A text is compared up to its first mismatch: behind it, it is another text.
"""

import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines.provenance import provenance
from trimtab.engines.vllm.engine import VllmEngine
from trimtab.language_model import LanguageModel

STARTS = ["The new neighbours are", "My boss said that", "I never liked", "After the storm", "The film was", "Our dog"]
STARTS += ["In the morning,", "Nobody knew why"]
ENDS = ["", " very", " always, and I mean it when I say that,", " a bit of"]
PROMPTS = [start + end for start in STARTS for end in ENDS]
LONG = [f"{prompt} {' '.join(PROMPTS[:8])} {prompt}" for prompt in PROMPTS]
KINDS = {"own state": "sentiment-own", "ladder": "sentiment", "own layers": "sentiment-lora"}
STOPS = [".", " and", "\n"]
PRESSURE = {"block_size": 32, "num_gpu_blocks_override": 48, "max_num_batched_tokens": 64, "max_num_seqs": 32}


class Case(NamedTuple):
    """Some texts that both engines write."""

    name: str
    prompts: Sequence[str]
    steers: Sequence[trimtab.Steer | None]
    options: Mapping[str, Any]


def cases(lm: LanguageModel, tokens: int) -> list[Case]:
    """Return what is compared."""
    rewards = {kind: trimtab.reward(name, lm) for kind, name in KINDS.items()}
    kinds: dict[str, trimtab.Steer | None] = {"unsteered": None}
    kinds |= {kind: reward.toward(20.0) for kind, reward in rewards.items()}
    toxicity = [trimtab.reward(name, lm) for name in ("toxicity-own", "toxicity", "toxicity-lora")]
    mixed = []
    for number in range(len(PROMPTS)):
        first = list(rewards.values())[number % 3].toward(5.0 + number)
        second = toxicity[(number // 3) % 3].away(30.0)
        mixed.append([None, first, second, first + second][number % 4])
    modes: list[dict[str, Any]] = [{"temperature": 0}, {"seed": 0}]
    found = [
        Case(f"{kind}, {'greedy' if 'temperature' in mode else 'seeded'}", PROMPTS, [steer] * len(PROMPTS), mode)
        for kind, steer in kinds.items()
        for mode in modes
    ]
    found += [
        Case("32 different steers, seeded", PROMPTS, mixed, {"seed": 1, "top_p": 0.9, "temperature": 0.8}),
        Case("32 different steers, stop strings", PROMPTS, mixed, {"seed": 2, "stop": STOPS}),
    ]
    return [case._replace(options={"max_new_tokens": tokens, **case.options}) for case in found]


def compare(case: Case, ours: LanguageModel, reference: LanguageModel) -> dict[str, Any]:
    """Write the texts of a case by both engines; returns the counts and the mismatches."""
    start = time.perf_counter()
    found = ours.generate(list(case.prompts), list(case.steers), **case.options)
    middle = time.perf_counter()
    expected = reference.generate(list(case.prompts), list(case.steers), **case.options)
    end = time.perf_counter()
    mismatches, compared = [], 0
    for prompt, a, b in zip(case.prompts, found, expected, strict=True):
        same = next(
            (at for at, pair in enumerate(zip(a.token_ids, b.token_ids, strict=False)) if len(set(pair)) > 1), None
        )
        if same is None and (len(a.token_ids) != len(b.token_ids) or a.finish_reason != b.finish_reason):
            same = min(len(a.token_ids), len(b.token_ids))
        compared += len(b.token_ids) if same is None else same + 1
        if same is not None:
            mismatches.append({"prompt": prompt, "place": same, "vllm": a.text, "torch": b.text})
    seconds = {"vllm": round(middle - start, 2), "torch": round(end - middle, 2)}
    return {"case": case.name, "texts": len(found), "tokens": compared, "mismatches": mismatches, "seconds": seconds}


def count_preemptions(engine: VllmEngine) -> list[str]:
    """Return a list that gets the name of each request that vLLM preempts."""
    scheduler = engine.llm_engine.engine_core.engine_core.scheduler
    preempt, names = scheduler._preempt_request, []

    def counting(request: Any, *args: Any, **kwargs: Any) -> Any:
        names.append(request.request_id)
        return preempt(request, *args, **kwargs)

    scheduler._preempt_request = counting
    return names


def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    tokens: Annotated[int, typer.Option(help="New tokens of each text.")] = 32,
    only: Annotated[str, typer.Option(help="Compare only the cases whose name has this.")] = "",
    relaxed: Annotated[bool, typer.Option(help="Also compare with room for all texts.")] = True,
) -> None:
    """Compare the engines, and write the record."""
    check_output(out, "--out", [], replace=True)
    reference = trimtab.load(model, dtype="float32")
    results = []
    for options in ({}, PRESSURE) if relaxed else (PRESSURE,):
        given = {"enforce_eager": True, "max_model_len": 512, **options}
        engine = VllmEngine(reference.base, given)
        preempted = count_preemptions(engine)
        chosen = [case for case in cases(reference, tokens) if only in case.name]
        if options:
            chosen = [case._replace(name=case.name + ", under pressure", prompts=LONG) for case in chosen[1::2]]
        for case in chosen:
            results.append(compare(case, LanguageModel(engine), reference))
            found = results[-1]
            typer.echo(f"{found['case']:50} {found['tokens']:6} tokens, {len(found['mismatches'])} mismatches")
            for each in found["mismatches"]:
                typer.echo(f"    token {each['place']} behind {each['prompt']!r}: {each['vllm']!r}, {each['torch']!r}")
        typer.echo(f"preemptions: {len(preempted)}")
        results.append({"options": given, "preemptions": len(preempted)})
        about = provenance(engine)
        del engine
        gc.collect()
    total = sum(each.get("tokens", 0) for each in results)
    wrong = sum(len(each.get("mismatches", ())) for each in results)
    typer.echo(f"{total} tokens compared, {wrong} mismatches")
    write_whole(out, dump_json({"tokens": total, "mismatches": wrong, "cases": results, **about}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
