// A column of the page: a text whose tokens are coloured by reward, and its numbers.

import { reweigh, shade, summary, unmeasured } from "./steering.js";
import { element, inOneLine, paint } from "./visible.js";
import { Writing } from "./writing.js";

const MAX_PROMPT = 240; // characters

export class Column {
  // root: its article. context: gives the page's state, terms and clamps, and takes what readers do.
  constructor(root, kind, context) {
    this.root = root;
    this.kind = kind;
    this.context = context;
    this.weighed = [];
    this.error = null;
    this.foretold = null;
    this.writing = new Writing(this);
    this.prompt = root.querySelector(".prompt");
    this.text = root.querySelector(".text");
    this.status = root.querySelector(".status");
    this.numbers = root.querySelector(".numbers");
    this.strip = root.querySelector(".strip");
    this.buttons = Object.fromEntries([...root.querySelectorAll("button")].map((each) => [each.name, each]));
    this.#listen();
  }

  get tokens() {
    return this.writing.tokens;
  }

  // The text that was written.
  get whole() {
    return this.tokens.map(({ text }) => text).join("");
  }

  // The terms by which this column is re-weighted: only the steered one follows the sliders.
  get terms() {
    return this.kind === "steered" ? this.context.terms() : [];
  }

  // Run a write, and show what goes wrong.
  async run(work) {
    this.error = null;
    try {
      await work(this.writing);
    } catch (error) {
      this.error = error;
      this.changed();
      throw error;
    }
  }

  put(position, token) {
    this.#weigh(position);
    const known = this.text.children[position];
    if (known) this.#dress(known, position);
    else this.text.append(this.#span(token, position));
    if (this.strip && !this.strip.children[position]) this.strip.append(element("i"));
    this.#tell();
  }

  cut(position) {
    this.weighed.length = Math.min(this.weighed.length, position);
    for (const parent of [this.text, this.strip]) {
      while (parent && parent.children.length > position) parent.lastElementChild.remove();
    }
    this.context.cut(this, position);
    this.#tell();
  }

  changed() {
    this.prompt.textContent = this.#promptShown();
    this.#tell();
    this.context.changed(this);
  }

  // Weigh all tokens again under the sliders, without the model.
  refresh() {
    this.foretold = null;
    this.tokens.forEach((_, position) => this.#weigh(position));
    [...this.text.children].forEach((span, position) => this.#dress(span, position));
    this.#tell();
  }

  focus(position) {
    const spans = [...this.text.children];
    const found = spans[Math.max(0, Math.min(position, spans.length - 1))];
    spans.forEach((span) => (span.tabIndex = span === found ? 0 : -1));
    found?.focus();
  }

  #listen() {
    const place = (event) => [...this.text.children].indexOf(event.target.closest(".token"));
    const show = (event) => place(event) >= 0 && this.context.show(this, place(event));
    this.text.addEventListener("pointerover", show);
    this.text.addEventListener("focusin", show);
    this.text.addEventListener("click", (event) => {
      if (place(event) < 0) return;
      this.focus(place(event));
      this.context.pin(this, place(event));
    });
    this.text.addEventListener("keydown", (event) => this.#key(event, place(event)));
  }

  #key(event, position) {
    const moves = { ArrowRight: position + 1, ArrowLeft: position - 1, Home: 0, End: Infinity };
    if (event.key in moves) this.focus(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.context.pin(this, position, true);
    else return;
    event.preventDefault();
  }

  #weigh(position) {
    const token = this.tokens[position];
    const measured = unmeasured([token], this.terms).length === 0;
    const terms = this.terms.filter(({ name }) => name in token.rewards);
    const { temperature } = this.writing.request.sampling;
    this.weighed[position] = reweigh(token, terms, temperature, token.noise, this.context.state.max_kl);
    if (this.kind !== "steered" || !measured) this.weighed[position].choice = this.weighed[position].written;
  }

  // What the text continues, or answers; of a long prompt the end.
  #promptShown() {
    const { prompt, messages } = this.writing.request?.given ?? {};
    const given = messages ? `${messages.map(({ content }) => content).join("\n")}\n` : (prompt ?? "");
    const whole = given.replace(/\n{2,}/g, "\n");
    return whole.length > MAX_PROMPT ? `…${whole.slice(-MAX_PROMPT)}` : whole;
  }

  // A token: spaces and line breaks around it are not coloured.
  #span(token, position) {
    const span = element("span", { className: "token", role: "button", tabindex: position ? "-1" : "0" });
    const [, before, word, after] = token.text.match(/^(\s*)(.*?)(\s*)$/s);
    const mark = token.ends ? "end" : token.text.includes("\n") && word === "" ? "↵" : "·";
    const ink = word || element("span", { className: "mark" }, mark);
    span.append(before.includes("\n") && word === "" ? "" : before, element("span", { className: "ink" }, ink), after);
    if (word === "" && before.includes("\n")) span.append(before);
    this.#dress(span, position);
    return span;
  }

  // Colour a token, and mark it if the sliders would change it.
  #dress(span, position) {
    const token = this.tokens[position];
    const reward = token.rewards[this.context.state.colour];
    paint(span, reward === undefined ? 0 : shade(reward, this.context.clampOf(this.context.state.colour)));
    const { choice, written, kl } = this.weighed[position];
    const differs = choice !== written;
    span.classList.toggle("forced", Boolean(token.forced));
    span.classList.toggle("differs", differs);
    if (differs) span.dataset.instead = this.#name(token.candidates[choice]);
    const bar = this.strip?.children[position];
    if (bar) bar.style.setProperty("--kl", `${Math.min(100, 100 * (1 - Math.exp(-kl)))}%`);
  }

  #name(candidate) {
    return this.writing.ends.includes(candidate.token_id) ? "end" : inOneLine(candidate.text);
  }

  #tell() {
    const found = summary(this.tokens, this.weighed);
    [...this.text.children].forEach((span, position) => {
      span.classList.toggle("diverges", position === found.diverges);
      span.classList.toggle("after", found.diverges >= 0 && position > found.diverges);
    });
    if (this.strip) {
      [...this.strip.children].forEach((bar, position) => {
        bar.style.setProperty("--kl", `${Math.min(100, 100 * (1 - Math.exp(-this.weighed[position].kl)))}%`);
      });
    }
    this.root.classList.toggle("busy", this.writing.busy);
    this.root.setAttribute("aria-busy", String(this.writing.busy));
    this.status.classList.toggle("wrong", this.error !== null);
    this.status.textContent = this.#sentence(found);
    this.#numbers(found);
    this.diverges = found.diverges;
    this.#offer(found);
  }

  // Show the buttons that have something to do.
  #offer({ diverges }) {
    const idle = !this.writing.busy && this.context.canWrite;
    const answered = this.writing.request?.given.messages && this.whole.trim() !== "";
    if (this.buttons.rewrite) this.buttons.rewrite.hidden = !idle || diverges < 0;
    this.buttons.reply.hidden = !idle || !answered;
    this.buttons.unfork.hidden = !idle || this.writing.forks.length === 0;
  }

  #sentence({ diverges, changed }) {
    if (this.error) return this.error.message;
    if (this.writing.busy) return `Writing, ${this.tokens.length} tokens`;
    const missing = this.tokens.length ? unmeasured(this.tokens, this.terms) : [];
    if (missing.length) return `This text has no rewards of ${missing.join(", ")}. Write it again.`;
    if (diverges >= 0) {
      const token = this.tokens[diverges];
      const instead = this.#name(token.candidates[this.weighed[diverges].choice]);
      const others = changed > 1 ? ` With the text before them as it is, ${changed} tokens would differ.` : "";
      return `Would differ from token ${diverges + 1}: “${inOneLine(token.text)}” becomes “${instead}”.${others}`;
    }
    if (this.foretold !== null) return this.foretold;
    return this.tokens.length ? `${this.tokens.length} tokens` : "No text yet";
  }

  #numbers({ flips, kl, perplexity, rewards }) {
    const rows = Object.entries(rewards).map(([name, value]) => [name.replace(":", " · "), value.toFixed(2)]);
    if (this.tokens.length) rows.push(["perplexity", perplexity.toFixed(1)]);
    if (this.tokens.length && this.kind === "steered") {
      rows.push(["KL per token", `${kl.toFixed(2)} nats`], ["flips", `${flips} of ${this.tokens.length}`]);
    }
    this.numbers.replaceChildren(
      ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
  }
}
