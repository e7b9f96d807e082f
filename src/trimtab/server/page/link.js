// The state of the page in the fragment of its address, so that a link shows the same texts.

export const DEFAULTS = {
  mode: "text",
  prompt: "",
  nudge: "",
  turns: [],
  seed: 0,
  temperature: 1,
  top_k: 20,
  top_p: 1,
  max_kl: null,
  max_tokens: 32,
  colour: "",
  betas: {},
  measured: [],
  forks: {},
};
const NUMBERS = {
  seed: [-(2 ** 53), 2 ** 53],
  temperature: [0, 2],
  top_k: [2, 64],
  top_p: [0.01, 1],
  max_kl: [0, 100],
  max_tokens: [1, 512],
};
const WHOLE = ["seed", "top_k", "max_tokens"];
const ROLES = ["user", "assistant"];
const TEXTS = ["prompt", "nudge", "colour"];

export function toFragment(state) {
  const found = new URLSearchParams();
  for (const name of ["mode", ...TEXTS, ...Object.keys(NUMBERS)]) found.set(name, String(state[name] ?? ""));
  if (state.turns.length) found.set("turns", JSON.stringify(state.turns));
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
    if (value >= low && value <= high) state[name] = WHOLE.includes(name) ? Math.round(value) : value;
  }
  state.turns = readList(given.get("turns") ?? "[]")
    .filter(({ role, content }) => ROLES.includes(role) && typeof content === "string")
    .map(({ role, content }) => ({ role, content }));
  state.measured = (given.get("measured") ?? "").split(",").filter(Boolean);
  for (const [name, value] of given) {
    if (name.startsWith("beta.") && Number.isFinite(Number(value))) state.betas[name.slice(5)] = Number(value);
    if (name.startsWith("forks.")) state.forks[name.slice(6)] = readForks(value);
  }
  return state;
}

// A link chooses the steer of a request and nothing else of it.
function readForks(text) {
  return readList(text)
    .filter(({ at, token }) => Number.isInteger(at) && at >= 0 && Number.isInteger(token))
    .map(({ at, token, steer }) => {
      return { at, token, steer: { steer: steer?.steer, model: steer?.model, max_kl: steer?.max_kl } };
    });
}

// The objects of a list; none if the text is no list.
function readList(text) {
  try {
    return JSON.parse(text).filter((each) => each !== null && typeof each === "object");
  } catch {
    return [];
  }
}
