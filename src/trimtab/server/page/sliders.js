// One slider for each attribute of each reward.

import { isVariant } from "./variants.js";
import { element } from "./visible.js";

const REACH = 40;

export class Sliders {
  // changed: called with the name of a reward's attribute and its new beta; measured: with a reward and whether it is.
  constructor(roots, rewards, changed, measured) {
    this.inputs = new Map();
    this.boxes = new Map();
    for (const reward of rewards) {
      const root = isVariant(reward, rewards) ? roots.more : roots.main; // variants are behind a fold
      root.append(this.#group(reward, changed, measured));
    }
    roots.more.closest("details").hidden = roots.more.children.length === 0;
  }

  // Show the values of a state.
  set(state) {
    for (const [name, [range, number]] of this.inputs) {
      range.value = number.value = state.betas[name] ?? 0;
      fill(range);
    }
    for (const [id, box] of this.boxes) box.checked = state.measured.includes(id);
  }

  #group(reward, changed, measured) {
    const box = element("input", { type: "checkbox", id: `measure-${reward.id}` });
    box.addEventListener("change", () => measured(reward.id, box.checked));
    this.boxes.set(reward.id, box);
    const label = element("label", { for: box.id, title: "Measure this reward in all texts" }, box, reward.id);
    const method = element("span", { className: "method" }, (reward.method ?? "").toUpperCase());
    const rows = reward.attributes.map((attribute) => this.#row(reward.id, attribute, changed));
    return element("div", { className: "reward" }, element("div", { className: "name" }, label, method), ...rows);
  }

  #row(id, attribute, changed) {
    const name = `${id}:${attribute}`;
    const title = `β of ${id}, ${attribute}`;
    const range = element("input", {
      type: "range", min: -REACH, max: REACH, step: 1, value: 0, "aria-label": title, "data-name": name,
    });
    const number = element("input", { type: "number", step: "any", value: 0, "aria-label": `${title}, as a number` });
    const tell = (value) => {
      if (!Number.isFinite(value)) return;
      range.value = number.value = value;
      fill(range);
      changed(name, value);
    };
    range.addEventListener("input", () => tell(range.valueAsNumber));
    number.addEventListener("change", () => tell(number.valueAsNumber));
    this.inputs.set(name, [range, number]);
    return element("div", { className: "slider" }, element("span", { className: "attribute" }, attribute), range, number);
  }
}

function fill(range) {
  const share = (Number(range.value) + REACH) / (2 * REACH);
  range.style.setProperty("--from", `${100 * Math.min(0.5, share)}%`);
  range.style.setProperty("--to", `${100 * Math.max(0.5, share)}%`);
}
