// The tree of a rewind search, which grows while the search runs.

import { events } from "./client.js";
import { isVariant } from "./variants.js";
import { byId, element, inOneLine, paint, signed } from "./visible.js";

export class SearchView {
  // context: gives the page's state, rewards and the steer's request, and shows errors.
  constructor(context) {
    this.context = context;
    this.form = byId("search-form");
    this.status = byId("search-status");
    this.text = byId("search-text");
    this.steps = byId("search-steps");
    this.live = element("ul", { className: "branches", "aria-label": "Branches that are being tried" });
    this.commits = [];
    this.stopper = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.stopper) this.stopper.abort();
      else this.run().catch((error) => this.#fail(error));
    });
  }

  // Offer the rewards as judges.
  offer(rewards) {
    const judge = this.form.elements.judge;
    for (const { id } of rewards.filter((each) => !isVariant(each, rewards))) {
      judge.append(element("option", { value: `+${id}` }, `${id} (high is good)`), element("option", { value: `-${id}` }, `${id} (low is good)`));
    }
  }

  async run() {
    this.#start();
    const { path, given, sampling, limit } = this.context.searchRequest();
    const body = { ...given, seed: sampling.seed, rewind: this.#settings(), max_tokens: limit, trimtab: { trace: true } };
    if (sampling.temperature > 0) body.temperature = sampling.temperature;
    try {
      for await (const event of events(path, body, this.stopper.signal)) {
        if (event.trimtab?.progress) this.#grow(event.trimtab.progress);
        const found = event.choices[0]?.trimtab?.rewind;
        if (found) this.show({ ...found, text: event.choices[0].text ?? event.choices[0].delta.content ?? "" });
      }
    } finally {
      const stopped = this.stopper.signal.aborted;
      this.stopper = null;
      this.form.elements.go.textContent = "Search";
      if (stopped) this.status.textContent = "Stopped";
    }
  }

  // Show a finished search.
  show(found) {
    this.found = found;
    this.#draw(found.commits, []);
    this.text.replaceChildren(...committedTexts(found).map((text, i) => committed(text, i)));
    this.status.textContent =
      `${found.iterations} drafts judged, ${found.taken_back} taken back, ` +
      `${found.encoded_tokens.toLocaleString("en")} tokens encoded, ${found.seconds.toFixed(1)} s`;
  }

  #settings() {
    const { judge, iterations } = this.form.elements;
    const most = Math.max(1, Math.round(iterations.valueAsNumber || 20));
    const shared = { iterations: most, fresh_iterations: Math.max(1, Math.round(most / 2)), max_seconds: 120 };
    if (judge.value.startsWith("self")) return { ...shared, judge: judge.value };
    const beta = judge.value.startsWith("-") ? -1 : 1;
    return { ...shared, judge_rewards: { [judge.value.slice(1)]: beta }, similarity: "off" };
  }

  #start() {
    this.stopper = new AbortController();
    this.form.elements.go.textContent = "Stop";
    this.status.textContent = "Searching";
    this.commits = [];
    this.found = null;
    this.#draw([], []);
  }

  #grow(progress) {
    this.commits.push(...progress.commits);
    this.#draw(this.commits, progress.branches);
    this.status.textContent = `Searching: ${progress.iterations} drafts judged, ${progress.seconds.toFixed(0)} s`;
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    this.status.textContent = error.message;
    this.context.failed(error);
  }

  #draw(commits, branches) {
    this.text.replaceChildren(...commits.map(({ text }, i) => committed(text, i)));
    const done = commits.map((commit, i) => this.steps.children[i]?.commit === commit ? this.steps.children[i] : step(commit, i));
    this.live.replaceChildren(...branches.map((each) => branchItem(each, "open")));
    const now = element("li", { className: "step" }, element("h3", {}, `Step ${commits.length + 1}: trying`), this.live);
    this.steps.replaceChildren(...done, ...(branches.length ? [now] : []));
  }
}

// The part of a text that each commit added. A commit's own text may lack a space, and a stop string may cut the last.
function committedTexts({ commits, text }) {
  let rest = text;
  const parts = commits.slice(0, -1).map((commit) => {
    const start = rest.indexOf(commit.text);
    const spaces = start > 0 && rest.slice(0, start).trim() === "" ? start : 0;
    const part = rest.slice(0, spaces + commit.text.length);
    rest = rest.slice(part.length);
    return part;
  });
  return commits.length ? [...parts, rest] : [];
}

function committed(text, i) {
  const part = element("a", { href: `#step-${i + 1}` }, text);
  part.addEventListener("click", (event) => {
    event.preventDefault(); // the fragment belongs to the page's state
    byId(`step-${i + 1}`).scrollIntoView({ block: "start" });
    byId(`step-${i + 1}`).focus({ preventScroll: true });
  });
  return part;
}

function step(commit, i) {
  const title = element("h3", { id: `step-${i + 1}`, tabindex: "-1" }, `Step ${i + 1}: `, element("ins", {}, inOneLine(commit.text)));
  const branches = commit.branches.map((each) => branchItem(each, each.kept ? "kept" : "taken", commit.final));
  const made = element("li", { className: "step" }, title, element("ul", { className: "branches" }, ...branches));
  made.commit = commit;
  return made;
}

// A branch of the tree with those below it. kind: kept, taken (back), or open: nothing is decided.
function branchItem(branch, kind, final = false) {
  const status = { kept: "kept", taken: "taken back", open: "open" }[kind];
  const words = element(kind === "taken" ? "del" : kind === "kept" ? "ins" : "span", { className: "words" }, inOneLine(branch.text));
  const line = element("p", {}, element("span", { className: "note" }, status), words);
  if (branch.draft) line.append(element("span", { className: "draft" }, branch.draft));
  const bar = element("span", { className: "bar", "aria-hidden": "true" }, element("i"));
  paint(bar, branch.value);
  const facts = element("p", { className: "facts" }, `mean ${signed(branch.value)} `, bar, ` visits ${branch.visits}`);
  const item = element("li", { className: `branch ${kind}` }, line, facts);
  paint(item, branch.value);
  if (branch.children.length) {
    const below = branch.children.map((each) => branchItem(each, kindBelow(each, kind, final), final));
    item.append(element("ul", { className: "branches" }, ...below));
  }
  return item;
}

// What becomes of a child: what is below a kept branch is not decided yet, unless the search has ended.
function kindBelow(child, kind, final) {
  if (child.kept) return "kept";
  return kind === "kept" && !final ? "open" : kind === "kept" ? "taken" : kind;
}
