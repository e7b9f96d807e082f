// What the page asks the server for.

// The steer of a request and its budget. Every measured reward takes part, with a beta of 0 if need be, so that the trace has its
// rewards. The field `steer` holds one attribute of a reward; the model's alias holds the others.
export function steerOf(betas, measured, rewards, served, maxKl) {
  const steer = {};
  const alias = [];
  for (const reward of rewards.filter(({ id }) => measured.includes(id))) {
    const used = reward.attributes.filter((attribute) => betas[`${reward.id}:${attribute}`]);
    const [first, ...others] = used.length ? used : reward.attributes;
    steer[reward.id] = { beta: betas[`${reward.id}:${first}`] ?? 0, attribute: first };
    if (used.length) alias.push(...others.map((each) => `${reward.id}:${each}=${betas[`${reward.id}:${each}`]}`));
  }
  return { steer, model: [served, ...alias].join("+"), max_kl: maxKl };
}

// The terms that re-weight a trace.
export function termsOf(betas, rewards) {
  return rewards.flatMap(({ id, attributes, clamp }) =>
    attributes.map((attribute) => ({ name: `${id}:${attribute}`, beta: betas[`${id}:${attribute}`] ?? 0, clamp })),
  );
}

// The path and the body of a column, without its steer and its length. kind: unsteered, prompted or steered.
export function requestOf(state, kind) {
  const nudge = kind === "prompted" ? state.nudge : "";
  const sampling = {
    seed: state.seed,
    temperature: state.temperature,
    top_k: state.top_k,
    top_p: state.top_p,
    trimtab: { trace: true },
  };
  if (state.mode === "chat") {
    const system = nudge ? [{ role: "system", content: nudge }] : [];
    const messages = [...system, ...state.turns, { role: "user", content: state.prompt }];
    return { path: "v1/chat/completions", given: { messages }, sampling, limit: state.max_tokens };
  }
  return { path: "v1/completions", given: { prompt: nudge + state.prompt }, sampling, limit: state.max_tokens };
}
