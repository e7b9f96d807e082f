// The state of the page in the fragment of its address, so that a link shows the same texts.

export const DEFAULTS = {
  mode: "text",
  prompt: "",
  nudge: "",
  seed: 0,
  temperature: 1,
  top_k: 20,
  max_tokens: 32,
  colour: "",
  betas: {},
  measured: [],
  forks: {},
};
const NUMBERS = { seed: [-(2 ** 53), 2 ** 53], temperature: [0, 2], top_k: [1, 64], max_tokens: [1, 512] };
const TEXTS = ["prompt", "nudge", "colour"];

export function toFragment(state) {
  const found = new URLSearchParams();
  for (const name of ["mode", ...TEXTS, ...Object.keys(NUMBERS)]) found.set(name, String(state[name]));
  for (const [name, beta] of Object.entries(state.betas)) if (beta !== 0) found.set(`beta.${name}`, String(beta));
  found.set("measured", state.measured.join(","));
  for (const [column, forks] of Object.entries(state.forks)) {
    if (forks.length) found.set(`forks.${column}`, JSON.stringify(forks));
  }
  return found.toString();
}

// The state of a fragment; null for an empty one. What it lacks, and what is out of range, has the default.
export function fromFragment(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  if (!given.has("prompt")) return null;
  const state = structuredClone(DEFAULTS);
  if (given.get("mode") === "chat") state.mode = "chat";
  for (const name of TEXTS) if (given.has(name)) state[name] = given.get(name);
  for (const [name, [low, high]] of Object.entries(NUMBERS)) {
    const value = Number.parseFloat(given.get(name));
    if (value >= low && value <= high) state[name] = name === "temperature" ? value : Math.round(value);
  }
  state.measured = (given.get("measured") ?? "").split(",").filter(Boolean);
  for (const [name, value] of given) {
    if (name.startsWith("beta.") && Number.isFinite(Number(value))) state.betas[name.slice(5)] = Number(value);
    if (name.startsWith("forks.")) state.forks[name.slice(6)] = readForks(value);
  }
  return state;
}

function readForks(text) {
  try {
    const forks = JSON.parse(text).filter(({ at, token }) => Number.isInteger(at) && at >= 0 && Number.isInteger(token));
    // a link chooses the steer of a request and nothing else of it
    return forks.map(({ at, token, steer }) => ({ at, token, steer: { steer: steer?.steer, model: steer?.model } }));
  } catch {
    return [];
  }
}
