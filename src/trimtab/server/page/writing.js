// One text as it is written: its tokens with their traces, and the places where a reader forced another token.

import { events } from "./client.js";
import { gumbelNoise } from "./steering.js";

export class Writing {
  // view: has put(position, token), cut(position) and changed().
  constructor(view) {
    this.view = view;
    this.tokens = [];
    this.forks = [];
    this.request = null;
    this.steer = null;
    this.promptIds = [];
    this.ends = [];
    this.stopper = null;
  }

  get busy() {
    return this.stopper !== null;
  }

  stop() {
    this.stopper?.abort();
  }

  // Write a text from its prompt. forks: [{at, token, steer}], tokens to force on the way, each with the steer before it.
  async write(request, steer, forks = []) {
    await this.#exclusively(async (signal) => {
      this.#cut(0);
      this.request = request;
      this.forks = [];
      this.view.changed(); // shows the new prompt
      for (const fork of forks) {
        await this.#segment(fork.steer, fork.at + 1, signal);
        this.#force(fork.at, fork.token, fork.steer);
      }
      await this.#segment(steer, request.limit, signal);
    });
  }

  // Keep the text before a token, put a candidate in the token's place, and write on.
  async fork(at, token, steer) {
    await this.#exclusively(async (signal) => {
      const before = this.forks.find((fork) => fork.at >= at)?.steer ?? this.steer;
      this.#force(at, token, before);
      await this.#segment(steer, this.request.limit, signal);
    });
  }

  // Write on from a token under another steer: the request that wrote it again, so that the text is what the server
  // writes for this seed and steer.
  async rewrite(at, steer) {
    await this.#exclusively(async (signal) => {
      this.#cut(at + 1);
      this.forks = this.forks.filter((fork) => fork.at < at);
      await this.#segment(steer, this.request.limit, signal);
    });
  }

  get #start() {
    return this.forks.length ? this.forks.at(-1).at + 1 : 0;
  }

  async #exclusively(work) {
    this.stop();
    const stopper = new AbortController();
    this.stopper = stopper;
    this.view.changed();
    try {
      await work(stopper.signal);
    } catch (error) {
      if (!stopper.signal.aborted) throw error;
    } finally {
      if (this.stopper === stopper) this.stopper = null;
      this.view.changed();
    }
  }

  // Write from the last fork, or from the prompt, until the text has some length.
  async #segment(steer, length, signal) {
    this.steer = steer;
    let position = this.#start;
    if (position >= length || this.#ended(position)) return;
    const kept = this.tokens.slice(0, position).map((token) => token.token_id);
    const forked = { path: "v1/completions", given: { prompt: [...this.promptIds, ...kept] } };
    const { path, given } = position ? forked : this.request;
    const body = { ...given, ...this.request.sampling, ...steer, max_tokens: length - position };
    const first = position;
    let key = null;
    for await (const event of events(path, body, signal)) {
      if (signal.aborted) return;
      if (event.trimtab?.prompt_token_ids) {
        key = event.trimtab.noise_keys?.[0] ?? null;
        this.ends = event.trimtab.eos_token_ids;
        if (first === 0) [this.promptIds] = event.trimtab.prompt_token_ids;
      }
      for (const token of event.choices[0]?.trimtab?.trace ?? []) {
        this.#put(position, { ...token, noise: noiseOf(token, key, position - first) });
        position += 1;
      }
    }
    this.#cut(position);
  }

  #ended(position) {
    return position > 0 && this.ends.includes(this.tokens[position - 1].token_id);
  }

  #put(position, token) {
    if (position < this.tokens.length && this.tokens[position].token_id !== token.token_id) this.#cut(position);
    this.tokens[position] = { ...token, ends: this.ends.includes(token.token_id) };
    this.view.put(position, this.tokens[position]);
  }

  #cut(position) {
    if (position >= this.tokens.length) return;
    this.tokens.length = position;
    this.view.cut(position);
  }

  #force(at, id, steer) {
    const old = this.tokens[at];
    const forced = old?.candidates.find((each) => each.token_id === id);
    if (!forced) throw new Error(`The link forces token ${id} at place ${at + 1}, where it is no candidate.`);
    this.forks = [...this.forks.filter((fork) => fork.at < at), { at, token: id, steer }];
    this.#cut(at);
    const { text, token_id, base_logprob, logprob, rewards } = forced;
    this.#put(at, { ...old, text, token_id, base_logprob, logprob, rewards, forced: true });
  }
}

function noiseOf(token, key, step) {
  return key === null ? null : gumbelNoise(key, step, token.candidates.map((each) => each.token_id));
}
