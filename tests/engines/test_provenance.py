from tiny import tiny_lm, tiny_reward
from trimtab.data.json_text import dump_json, parse_json
from trimtab.engines.provenance import provenance
from trimtab.engines.sampling_params import SamplingParams
from trimtab.versions import versions


def test_a_record_names_versions_model_rewards_and_sampling_and_is_json(lm):
    first, second = tiny_reward(lm.base, "q"), tiny_reward(lm.base, "v", seed=1)
    steer = first.toward(3.0, min_entropy=0.5) + second.away(2.0, "calm", clamp=(0.2, 0.8))
    record = provenance(lm.engine, steer, SamplingParams(seed=4, stop=["w1"]), judge="short")
    assert versions().items() <= record.items()
    assert lm.engine.describe().items() <= record.items()
    assert (record["sampling"]["seed"], record["judge"]) == (4, "short")
    assert record["steer"] == [
        {**first.describe(), "attribute": "kind", "direction": "toward", "beta": 3.0, "clamp": (0.0, 1.0)}
        | {"min_entropy": 0.5},
        {**second.describe(), "attribute": "calm", "direction": "away", "beta": 2.0, "clamp": (0.2, 0.8)}
        | {"min_entropy": 0.0},
    ]
    assert first.describe()["fingerprint"] != second.describe()["fingerprint"]
    assert parse_json(dump_json(record))["steer"][1]["clamp"] == [0.2, 0.8]


def test_an_unsteered_text_has_no_rewards_in_its_record(lm):
    assert provenance(lm.engine)["steer"] == []


def test_the_record_of_a_reward_tells_the_base_that_it_runs_on(lm):
    """Two bases of one tokenizer, of which one is fine-tuned, give other texts and other records."""
    tuned = tiny_lm("llama")
    for layer in tuned.model.model.layers:
        layer.mlp.up_proj.weight.data.mul_(1.7)
    records = []
    for base in (tiny_lm("llama"), tuned):
        reward = tiny_reward(base, "q", base_fingerprint=tuned.base_fingerprint)
        (record,) = provenance(lm.engine, reward.toward(3.0))["steer"]
        assert record["base"] == base.name
        records.append(record["base_weights_fingerprint"])
    assert records == [lm.base.base_weights_fingerprint, tuned.base_weights_fingerprint]
    assert records[0] != records[1]
