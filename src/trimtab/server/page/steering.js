// The steering rule over a trace, without a model and without a page. The numbers are those of trimtab.steering.rule
// and of trimtab.engines.torch.sampling.
//
// A token is one entry of a response's trace. A term is {name: "reward:attribute", beta, clamp: [low, high] or null}.

const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;
const MANTISSA_BITS = 53n;
const LEAST_KL = 1e-9; // nats; the constants are those of trimtab.steering.kl_budget
const WAYS = 32;
const ROUNDS = 4;

// SplitMix64's finalizer (Steele, Lea & Flood 2014) on 64-bit numbers.
export function scramble(bits) {
  let x = bits & MASK;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

// Standard Gumbel noise of each token id. key: of the sample, a decimal string; step: tokens that were chosen before.
export function gumbelNoise(key, step, ids) {
  const row = scramble(BigInt(key) + (BigInt(step) + 1n) * GOLDEN);
  return ids.map((id) => {
    const bits = scramble(row + BigInt(id)) >> (64n - MANTISSA_BITS);
    const uniform = (Number(bits) + 0.5) * 2 ** -Number(MANTISSA_BITS);
    return -Math.log(-Math.log(uniform));
  });
}

// Log-probabilities from logits.
export function logSoftmax(logits) {
  const best = Math.max(...logits);
  const total = best + Math.log(logits.reduce((sum, each) => sum + Math.exp(each - best), 0));
  return logits.map((each) => each - total);
}

// What the terms add to a candidate's logit, up to a constant that is the same for all candidates.
export function guidance(rewards, terms) {
  let sum = 0;
  for (const { name, beta, clamp } of terms) {
    if (beta === 0) continue;
    const [low, high] = clamp ?? [-Infinity, Infinity];
    sum += beta * Math.min(Math.max(rewards[name], low), high);
  }
  return sum;
}

function indexOfBest(values, breaksTies) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) {
    const ahead = values[i] > values[best];
    if (ahead || (values[i] === values[best] && breaksTies[i] > breaksTies[best])) best = i;
  }
  return best;
}

// KL(steered ‖ base) over the candidates, in nats.
export function divergence(steered, base) {
  const terms = steered.map((each, i) => Math.exp(each) * (each - base[i]));
  return Math.max(0, terms.reduce((sum, each) => sum + each, 0));
}

// The largest s in [0, 1] with KL(softmax(base + s·added) ‖ softmax(base)) within a budget, which is null for none.
export function budgetScale(base, added, budget) {
  if (budget === null) return 1;
  if (budget < LEAST_KL) return 0;
  const logprobs = logSoftmax(base);
  const within = (scale) => divergence(logSoftmax(logprobs.map((each, i) => each + scale * added[i])), logprobs) <= budget;
  let low = Math.min(0, Math.log(Math.sqrt(8 * budget) / (Math.max(...added) - Math.min(...added))));
  if (low === 0) return 1;
  let high = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const width = high - low;
    const last = round === 0 ? WAYS : WAYS - 1; // the end is known to be beyond, except that of the first round
    let passed = 0;
    while (passed < last && within(Math.exp(low + ((passed + 1) / WAYS) * width))) passed += 1;
    high = low + Math.min(1, (passed + 1) / WAYS) * width;
    low += (passed / WAYS) * width;
  }
  return Math.exp(low);
}

// A token under other terms: log-probabilities over the candidates, the candidate that the engine would choose, KL.
// noise: of each candidate, null if it is not known. maxKl: the budget of the terms, null for none. A token that a
// reader forced stays what it is.
export function reweigh(token, terms, temperature, noise, maxKl = null) {
  const { candidates } = token;
  const base = candidates.map((each) => each.base_logprob);
  const added = candidates.map((each) => guidance(each.rewards, terms));
  const scale = budgetScale(base, added, maxKl);
  const steered = base.map((each, i) => each + scale * added[i]);
  const logprobs = logSoftmax(steered);
  const baseOverCandidates = logSoftmax(base);
  const best = indexOfBest(steered, base);
  const written = candidates.findIndex((each) => each.token_id === token.token_id);
  let choice = best;
  if (token.forced || (temperature > 0 && !noise)) {
    choice = written;
  } else if (temperature > 0) {
    choice = indexOfBest(steered.map((each, i) => (each - steered[best]) / temperature + noise[i]), base);
  }
  return {
    logprobs,
    base: baseOverCandidates,
    choice,
    written,
    kl: divergence(logprobs, baseOverCandidates),
    flipped: best !== indexOfBest(base, base),
  };
}

export function perplexity(logprobs) {
  return Math.exp(-logprobs.reduce((sum, each) => sum + each, 0) / logprobs.length);
}

// The numbers of a text. weighed: what reweigh gives for each token. Means are over the tokens that would be chosen.
export function summary(tokens, weighed) {
  const chosen = tokens.map((token, i) => token.candidates[weighed[i].choice]);
  const mean = (values) => values.reduce((sum, each) => sum + each, 0) / values.length;
  const names = tokens.length ? Object.keys(tokens[0].rewards) : [];
  return {
    diverges: weighed.findIndex((each) => each.choice !== each.written),
    changed: weighed.filter((each) => each.choice !== each.written).length,
    flips: weighed.filter((each) => each.flipped).length,
    kl: tokens.length ? mean(weighed.map((each) => each.kl)) : 0,
    perplexity: tokens.length ? perplexity(chosen.map((each) => each.base_logprob)) : NaN,
    rewards: Object.fromEntries(names.map((name) => [name, mean(chosen.map((each) => each.rewards[name]))])),
  };
}

// The names of terms that a trace cannot be re-weighted by, because their rewards are not in it.
export function unmeasured(tokens, terms) {
  const known = (name) => tokens.every((token) => token.candidates.every((each) => name in each.rewards));
  return terms.filter(({ name, beta }) => beta !== 0 && !known(name)).map(({ name }) => name);
}

// Where a reward stands on the scale of its colour: -1 at the low end, 0 in the middle, 1 at the high end.
export function shade(reward, clamp) {
  const [low, high] = clamp ?? [0, 1];
  const share = (Math.min(Math.max(reward, low), high) - low) / (high - low);
  return 2 * share - 1;
}
