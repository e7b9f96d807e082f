"""trimtab's logits processor for vLLM: the steering rule, for each request its own steer.

vLLM has two model runners, V1 and V2, each with an interface for processors, and each refuses a class that has not its
own. This class has both.
"""

import logging
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.worker.gpu.sample import logits_processor as v2

from trimtab.engines.reward_names import name_rewards
from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.request_settings import asked_of, check_request_settings
from trimtab.engines.vllm.row_group import RowGroup, kind_of
from trimtab.engines.vllm.row_rewards import new_source
from trimtab.engines.vllm.rows import BatchRow, PlacedRow, place_rows
from trimtab.engines.vllm.served import Served
from trimtab.engines.vllm.slot_rows import SlotRows
from trimtab.engines.vllm.state_sources import StateSource
from trimtab.engines.vllm.step_record import StepRecord, running_step
from trimtab.steering.reward import Reward
from trimtab.steering.rule import scatter_candidates
from trimtab.steering.steer import distinct_rewards

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig

LOG = logging.getLogger(__name__)
CHOSEN = 1e9  # the logit of a token that is chosen here: vLLM's greedy sampler takes it


@final
class SteeringProcessor(LogitsProcessor, v2.LogitsProcessor):
    """Steers the requests whose `extra_args` have the key `trimtab`; others are left alone.

    Args:
        vllm_config: of the engine; its model must be one of `tapped_models`.
        runner: of V1 the device of the logits, and whether memory is pinned; of V2 the states of its requests.

    Raises:
        InvalidSetting: the model keeps no hidden states, or not those of a reward to be served; or another one drafts
            its tokens.
        RewardMismatch, CorruptReward, UnsupportedByEngine: of a reward to be served.
    """

    @classmethod
    def validate_params(cls, sampling_params: "SamplingParams") -> None:
        """Check a request before it joins: vLLM's server answers 400 to what is wrong.

        Raises:
            InvalidSetting: no such reward or setting, or a value out of range.
        """
        check_request_settings(sampling_params)

    def __init__(self, vllm_config: "VllmConfig", *runner: Any):
        self._served = Served.of(vllm_config)
        is_v1 = isinstance(runner[0], torch.device)
        self._device: torch.device = runner[0] if is_v1 else runner[0].device
        self._slots = None if is_v1 else SlotRows(runner[0])
        self._rows: dict[int, BatchRow] = {}
        self._sources: dict[int, tuple[Reward, StateSource]] = {}
        self._names: dict[int, str] = {}  # of the same rewards; a name stays as long as its reward
        self._groups: list[RowGroup] = []

    def is_argmax_invariant(self) -> bool:
        """False: steering changes the most likely token, so greedy requests need it too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests that join, leave and move (V1)."""
        process_dict_updates(self._rows, batch_update, self._row)

    def add_request(self, req_idx: int, sampling_params: "SamplingParams") -> bool:
        """Take in the request that joins in a slot; whether it is steered (V2)."""
        assert self._slots is not None
        asked: Asked | None = asked_of(sampling_params, self._served)
        self._slots.add(req_idx, asked)
        return asked is not None

    @torch.inference_mode()
    def apply(self, logits: Tensor, ctx: "v2.LogitsContext | None" = None) -> Tensor:
        """z' of each steered row on its candidates, −inf elsewhere; of a row that is drawn here, its token alone.

        Args:
            logits: a row for each request of the step.
            ctx: the requests' slots (V2).
        """
        if self._slots is not None and ctx is not None:
            self._rows = self._slots.in_step(ctx.idx_mapping_np.tolist())
        if not self._rows:
            self._sources, self._names, self._groups = {}, {}, []  # a group reads the states of its sources
            return logits
        step = running_step()
        placed = place_rows(self._rows, step)
        self._follow(step, placed)
        index = {each.row: each.index for each in placed if each.ready}
        for group in self._grouped(list(index)):
            places = torch.tensor([index[row] for row in group.rows], device=logits.device)
            self._write(logits, places, group)
        return logits

    def _row(self, params: "SamplingParams", prompt: list[int] | None, written: list[int]) -> BatchRow | None:
        asked: Asked | None = asked_of(params, self._served)
        return None if asked is None else BatchRow(asked, prompt or [], written)

    def _follow(self, step: StepRecord, placed: list[PlacedRow]) -> None:
        """Let the source of every reward take in the step."""
        steered: dict[int, list[PlacedRow]] = {}
        for each in placed:
            for reward in distinct_rewards([each.row.asked.steer]):
                steered.setdefault(id(reward), []).append(each)
                if id(reward) not in self._sources:
                    self._sources[id(reward)] = reward, new_source(reward, each.row.asked.base)
        self._sources = {key: self._sources[key] for key in steered}
        self._name()
        for key, (_, source) in self._sources.items():
            source.follow(step, steered[key])

    def _name(self) -> None:
        """Name the rewards that have come, and forget those that have gone."""
        kept = {key: name for key, name in self._names.items() if key in self._sources}
        if len(kept) < len(self._sources) or len(kept) < len(self._names):
            keys = [*kept, *(key for key in self._sources if key not in kept)]
            named = name_rewards([self._sources[key][0] for key in keys], list(kept.values()))
            self._names = {id(reward): name for name, reward in named.items()}

    def _source_of(self, reward: Reward) -> tuple[str, StateSource]:
        return self._names[id(reward)], self._sources[id(reward)][1]

    def _grouped(self, ready: list[BatchRow]) -> list[RowGroup]:
        """The rows by kind; the groups of the last step if they have the same rows."""
        kinds = dict.fromkeys(map(kind_of, ready))
        wanted = [[row for row in ready if kind_of(row) == kind] for kind in kinds]
        if [group.rows for group in self._groups] != wanted:
            self._groups = [RowGroup(rows, self._source_of, self._device) for rows in wanted]
        return self._groups

    def _write(self, logits: Tensor, places: Tensor, group: RowGroup) -> None:
        """Put what a group has chosen, or what it has left to choose from, into the logits."""
        step = group.choose(logits[places].float())
        faults = group.faults(step)
        if group.draws:
            logits[places, step.tokens] = CHOSEN
            group.deliver(step, faults)
        else:
            logits[places] = scatter_candidates(step.steered, step.candidates, logits.shape[1]).to(logits.dtype)
        for at, fault in faults.items():
            if group.rows[at].asked.outbox is None:
                LOG.error("a text ends here: %s", fault)
                logits[places[at]] = -torch.inf
                logits[places[at], self._served.eos_token_id] = CHOSEN
