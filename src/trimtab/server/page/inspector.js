// The candidates of one token: probabilities before and after steering, and rewards. A click writes on from one.

import { shade } from "./steering.js";
import { element, inOneLine, paint, percent } from "./visible.js";

const SHOWN = 8;

export class Inspector {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.title = root.querySelector("h2");
    this.hint = root.querySelector(".hint");
    this.body = root.querySelector(".candidates");
    this.column = null;
    this.position = 0;
    this.pinned = false;
    this.all = false;
    root.addEventListener("keydown", (event) => event.key === "Escape" && this.release());
    this.close = root.querySelector("button[name=close]");
    this.close.addEventListener("click", () => this.release());
    this.draw();
  }

  // Show a token unless another one is pinned.
  show(column, position) {
    if (this.pinned) return;
    this.column = column;
    this.position = position;
    this.draw();
  }

  pin(column, position, focus) {
    this.pinned = false;
    this.all = false;
    this.show(column, position);
    this.pinned = true;
    this.draw();
    if (focus) this.body.querySelector("button")?.focus();
  }

  release() {
    const { column, position } = this;
    this.pinned = false;
    this.draw();
    column?.focus(position);
  }

  // The tokens from a position on are gone.
  forget(column, position) {
    if (this.column !== column || this.position < position) return;
    this.column = null;
    this.pinned = false;
    this.draw();
  }

  draw() {
    this.root.classList.toggle("pinned", this.pinned);
    this.close.hidden = !this.pinned;
    const token = this.column?.tokens[this.position];
    this.root.classList.toggle("shown", token !== undefined);
    if (!token) {
      this.title.textContent = "Candidates";
      this.hint.textContent = "Point at a token, or move to it with Tab and the arrow keys, to see what else could stand there.";
      this.body.replaceChildren();
      return;
    }
    this.title.textContent = `Token ${this.position + 1} of ${this.column.kind}: “${inOneLine(token.text)}”`;
    this.hint.textContent = this.pinned
      ? "Choose a candidate to write on from it. Escape lets go."
      : "Click the token, or press Enter, to write on from one of these.";
    this.body.replaceChildren(this.#table(token));
  }

  #table(token) {
    const { candidates } = token;
    const { logprobs, choice } = this.column.weighed[this.position];
    const order = candidates.map((_, i) => i).sort((a, b) => logprobs[b] - logprobs[a]);
    const shown = this.all ? order : order.slice(0, SHOWN);
    const names = Object.keys(token.rewards);
    const head = ["token", "base", "steered", ...names].map((name) => element("th", { scope: "col" }, name.replace(":", " · ")));
    const rows = shown.map((i) => this.#row(candidates[i], logprobs[i], names, i === choice));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    return order.length > shown.length ? element("div", {}, table, this.#more(order.length)) : table;
  }

  #row(candidate, logprob, names, predicted) {
    const token = this.column.tokens[this.position];
    const written = candidate.token_id === token.token_id;
    const button = element("button", { type: "button", title: "Write on from this candidate" }, inOneLine(candidate.text));
    button.disabled = !this.context.canWrite;
    button.addEventListener("click", () => this.context.fork(this.column, this.position, candidate.token_id));
    const note = written ? "written" : predicted ? "now" : "";
    const name = element("th", { scope: "row" }, button, element("span", { className: "note" }, note));
    const cells = [candidate.base_logprob, logprob].map((each) => probability(each));
    const rewards = names.map((reward) => {
      const chip = element("span", { className: "chip" }, candidate.rewards[reward].toFixed(2));
      paint(chip, shade(candidate.rewards[reward], this.context.clampOf(reward)));
      return element("td", {}, chip);
    });
    const row = element("tr", {}, name, ...cells, ...rewards);
    row.classList.toggle("written", written);
    row.classList.toggle("predicted", predicted && !written);
    return row;
  }

  #more(count) {
    const button = element("button", { type: "button", className: "quiet" }, `Show all ${count}`);
    button.addEventListener("click", () => {
      this.all = true;
      this.draw();
    });
    return button;
  }
}

function probability(logprob) {
  const bar = element("i", { "aria-hidden": "true" });
  bar.style.setProperty("--portion", String(Math.exp(logprob)));
  return element("td", { className: "probability" }, element("span", {}, percent(logprob)), bar);
}
