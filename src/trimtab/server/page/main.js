// The page: its state, and how its parts work together.

import { list, setKey } from "./client.js";
import { Column } from "./column.js";
import { Conversation } from "./conversation.js";
import { EXAMPLES, NUDGES } from "./examples.js";
import { Inspector } from "./inspector.js";
import { DEFAULTS, fromFragment, toFragment } from "./link.js";
import { requestOf, steerOf, termsOf } from "./requests.js";
import { download, savedPage } from "./save.js";
import { SearchView } from "./search.js";
import { Sliders } from "./sliders.js";
import { isVariant } from "./variants.js";
import { byId, element } from "./visible.js";

const KINDS = ["unsteered", "prompted", "steered"];
const FIRST_BETA = 20;
const FIELDS = { seed: Math.round, temperature: Number, top_k: Math.round, top_p: Number, max_tokens: Math.round };

class Page {
  constructor() {
    this.state = structuredClone(DEFAULTS);
    this.rewards = [];
    this.served = "";
    this.form = byId("controls");
    this.snapshot = JSON.parse(byId("snapshot")?.textContent ?? "null");
    this.columns = KINDS.map((kind) => new Column(byId(kind), kind, this));
    this.inspector = new Inspector(byId("inspector"), this);
    this.search = new SearchView(this);
    this.conversation = new Conversation(byId("conversation"), (turns) => this.setTurns(turns));
  }

  // What the parts ask for.

  get canWrite() {
    return this.snapshot === null;
  }

  terms() {
    return termsOf(this.state.betas, this.rewards);
  }

  clampOf(name) {
    return this.rewards.find(({ id }) => name.startsWith(`${id}:`))?.clamp ?? null;
  }

  steer(kind) {
    const betas = kind === "steered" ? this.state.betas : {};
    return steerOf(betas, this.state.measured, this.rewards, this.served, this.state.max_kl);
  }

  searchRequest() {
    return requestOf(this.state, "steered");
  }

  // What the parts tell.

  show(column, position) {
    this.inspector.show(column, position);
  }

  pin(column, position, focus = false) {
    this.inspector.pin(column, position, focus);
  }

  cut(column, position) {
    this.inspector.forget(column, position);
  }

  changed() {
    const busy = this.columns.some(({ writing }) => writing.busy);
    byId("stop").hidden = !busy;
    byId("write").disabled = busy || !this.canWrite;
    this.state.forks = Object.fromEntries(this.columns.map(({ kind, writing }) => [kind, writing.forks]));
    if (!busy) this.remember();
  }

  failed(error) {
    if (error.status === 401) this.askForKey();
  }

  fork(column, position, token) {
    this.inspector.release();
    this.attempt(column, (writing) => writing.fork(position, token, this.steer(column.kind)));
  }

  async rewrite(column) {
    const at = column.diverges;
    const { token_id: foretold } = column.tokens[at].candidates[column.weighed[at].choice];
    await this.attempt(column, (writing) => writing.rewrite(at, this.steer(column.kind)));
    if (at >= column.tokens.length) return; // stopped before it came that far
    const agreed = column.tokens[at].token_id === foretold;
    column.foretold = agreed
      ? `${column.tokens.length} tokens; the model chose token ${at + 1} as the page foretold`
      : `${column.tokens.length} tokens; the model chose another token ${at + 1} than the page foretold`;
    column.changed();
  }

  // What readers do.

  async writeAll(forks = {}) {
    const work = this.columns.map((column) =>
      this.attempt(column, (writing) =>
        writing.write(requestOf(this.state, column.kind), this.steer(column.kind), forks[column.kind] ?? []),
      ),
    );
    await Promise.all(work);
  }

  async attempt(column, work) {
    try {
      await column.run(work);
    } catch (error) {
      this.failed(error);
    }
  }

  askForKey() {
    if (!byId("key-dialog").open) byId("key-dialog").showModal();
  }

  remember() {
    if (this.canWrite) history.replaceState(null, "", `#${toFragment(this.state)}`);
  }

  setBeta(name, beta) {
    const [id] = name.split(":");
    this.state.betas[name] = beta;
    if (!this.state.measured.includes(id)) this.setMeasured(id, true);
    this.refresh();
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => this.remember(), 200); // browsers limit how often an address may change
  }

  setMeasured(id, measured) {
    const others = this.state.measured.filter((each) => each !== id);
    this.state.measured = measured ? [...others, id] : others;
    if (!measured) for (const name of this.namesOf(id)) this.state.betas[name] = 0;
    this.offerColours();
    this.sliders.set(this.state);
    this.refresh();
  }

  setMode(mode) {
    if (this.state.nudge === NUDGES[this.state.mode]) this.state.nudge = NUDGES[mode];
    this.state.mode = mode;
    this.fill();
  }

  // The budget acts at once, as a slider does. budget: in nats per token, null for none.
  setBudget(budget) {
    this.state.max_kl = budget;
    this.refresh();
    this.remember();
  }

  setTurns(turns) {
    this.state.turns = turns;
    this.conversation.show(turns);
    this.remember();
  }

  // Take a column's answer into the conversation; the reader writes the next message.
  reply(column) {
    const answer = { role: "assistant", content: column.whole.trim() };
    const { messages } = column.writing.request.given;
    this.state.prompt = "";
    this.setMode("chat"); // the reader may have changed it since
    this.setTurns([...messages.filter(({ role }) => role !== "system"), answer]);
    this.form.elements.prompt.focus();
  }

  namesOf(id) {
    return this.rewards.find((each) => each.id === id)?.attributes.map((attribute) => `${id}:${attribute}`) ?? [];
  }

  refresh() {
    this.columns.forEach((column) => column.refresh());
    this.inspector.draw();
  }

  // Show the state in the controls.
  fill() {
    const { elements } = this.form;
    for (const name of ["prompt", "nudge", ...Object.keys(FIELDS)]) elements[name].value = this.state[name];
    elements.mode.value = this.state.mode;
    elements.max_kl.value = this.state.max_kl ?? "";
    this.conversation.show(this.state.mode === "chat" ? this.state.turns : []);
    byId("nudge-label").textContent = this.state.mode === "chat" ? "System message of “prompted”" : "Text before the prompt in “prompted”";
    byId("prompt-label").textContent = this.state.mode === "chat" ? "Message" : "Text to continue";
    this.offerColours();
    this.sliders.set(this.state);
  }

  offerColours() {
    const names = this.state.measured.flatMap((id) => this.namesOf(id));
    if (!names.includes(this.state.colour)) this.state.colour = names[0] ?? "";
    byId("colour").replaceChildren(...names.map((name) => element("option", { value: name }, name.replace(":", " · "))));
    byId("colour").value = this.state.colour;
    const [low, high] = this.clampOf(this.state.colour) ?? [0, 1];
    byId("scale-low").textContent = String(low);
    byId("scale-high").textContent = String(high);
    byId("legend").hidden = names.length === 0;
  }

  // A state to start with: no blank page.
  first() {
    const state = { ...structuredClone(DEFAULTS), ...EXAMPLES[0], nudge: NUDGES[EXAMPLES[0].mode] };
    state.measured = this.rewards.filter((each) => !isVariant(each, this.rewards)).map(({ id }) => id);
    const name = this.namesOf("sentiment")[0] ?? (state.measured.length ? this.namesOf(state.measured[0])[0] : null);
    if (name) state.betas[name] = FIRST_BETA;
    if (name) state.colour = name;
    return state;
  }

  async load() {
    const [models, rewards] = await Promise.all([list("v1/models"), list("v1/rewards")]);
    this.prepare(models[0].id, rewards, fromFragment(location.hash));
    const { forks } = this.state;
    this.state.forks = {};
    await this.writeAll(forks);
  }

  prepare(served, rewards, state) {
    this.served = served;
    this.rewards = rewards;
    byId("served").textContent = served;
    if (!this.sliders) {
      const roots = { main: byId("sliders"), more: byId("more-sliders") };
      this.sliders = new Sliders(roots, rewards, (...told) => this.setBeta(...told), (...told) => this.setMeasured(...told));
      this.search.offer(rewards);
    }
    this.state = state ?? this.first();
    const known = rewards.map(({ id }) => id);
    this.state.measured = this.state.measured.filter((id) => known.includes(id));
    this.fill();
  }

  // Show a saved page.
  restore() {
    const { served, rewards, state, columns, search } = this.snapshot;
    this.prepare(served, rewards, state);
    for (const column of this.columns) {
      const saved = columns[column.kind];
      Object.assign(column.writing, { request: saved.request, forks: saved.forks, ends: saved.ends });
      saved.tokens.forEach((token, position) => {
        column.writing.tokens[position] = token;
        column.put(position, token);
      });
      column.changed();
    }
    if (search) this.search.show(search);
    byId("search").hidden = !search;
    document.body.classList.add("saved");
    for (const each of document.querySelectorAll("[data-needs-server]")) each.hidden = true;
  }

  async save() {
    const kept = ({ kind, writing }) => [
      kind, { request: writing.request, forks: writing.forks, ends: writing.ends, tokens: writing.tokens },
    ];
    const columns = Object.fromEntries(this.columns.map(kept));
    const snapshot = { served: this.served, rewards: this.rewards, state: this.state, columns, search: this.search.found };
    download("trimtab.html", await savedPage(snapshot));
  }

  async copyLink() {
    this.remember();
    try {
      await navigator.clipboard.writeText(location.href);
      byId("told").textContent = "Link copied";
    } catch {
      byId("told").textContent = "The address of this page is the link";
    }
  }

  listen() {
    const { form } = this;
    for (const { mode, prompt } of EXAMPLES) {
      const label = mode === "chat" ? `Chat: ${prompt}` : `${prompt} …`;
      form.elements.example.append(element("option", { value: `${mode}:${prompt}` }, label));
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.writeAll();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    form.elements.example.addEventListener("change", ({ target }) => {
      if (!target.value) return;
      const [mode, ...prompt] = target.value.split(":");
      this.state.prompt = prompt.join(":");
      this.state.turns = [];
      this.setMode(mode);
      target.value = "";
      this.writeAll();
    });
    for (const each of form.elements.mode) each.addEventListener("change", () => this.setMode(form.elements.mode.value));
    for (const name of ["prompt", "nudge"]) {
      form.elements[name].addEventListener("input", ({ target }) => (this.state[name] = target.value));
    }
    for (const [name, rounded] of Object.entries(FIELDS)) {
      form.elements[name].addEventListener("change", ({ target }) => {
        if (target.validity.valid && target.value !== "") this.state[name] = rounded(target.valueAsNumber);
        target.value = this.state[name];
      });
    }
    form.elements.max_kl.addEventListener("input", ({ target }) => {
      if (target.validity.valid) this.setBudget(target.value === "" ? null : target.valueAsNumber);
    });
    byId("stop").addEventListener("click", () => this.columns.forEach(({ writing }) => writing.stop()));
    byId("colour").addEventListener("change", ({ target }) => {
      this.state.colour = target.value;
      this.offerColours();
      this.refresh();
      this.remember();
    });
    byId("copy").addEventListener("click", () => this.copyLink());
    byId("save").addEventListener("click", () => this.save().catch((error) => (byId("told").textContent = error.message)));
    for (const column of this.columns) {
      column.buttons.rewrite?.addEventListener("click", () => this.rewrite(column));
      column.buttons.reply.addEventListener("click", () => this.reply(column));
      column.buttons.unfork.addEventListener("click", () =>
        this.attempt(column, (writing) => writing.write(writing.request, this.steer(column.kind))),
      );
    }
    byId("key-dialog").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      setKey(byId("key").value);
      byId("key-dialog").close();
      this.start();
    });
    addEventListener("hashchange", () => this.canWrite && this.start());
  }

  async start() {
    byId("told").textContent = "";
    try {
      await this.load();
    } catch (error) {
      byId("told").textContent = error.message;
      this.failed(error);
    }
  }
}

const page = new Page();
page.listen();
if (page.canWrite) page.start();
else page.restore();
