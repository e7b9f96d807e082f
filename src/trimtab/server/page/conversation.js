// The earlier messages of a chat: an answer of any column is taken into them, and the reader writes the next message.

import { element } from "./visible.js";

const NAMES = { user: "You", assistant: "Answer" };

export class Conversation {
  // root: holds a list and a button. changed: called with the messages that are left when a reader takes some back.
  constructor(root, changed) {
    this.root = root;
    this.list = root.querySelector("ol");
    this.turns = [];
    root.querySelector("button").addEventListener("click", () => changed(this.turns.slice(0, -2)));
  }

  show(turns) {
    this.turns = turns;
    this.root.hidden = turns.length === 0;
    this.list.replaceChildren(
      ...turns.map(({ role, content }) =>
        element("li", { className: role }, element("span", { className: "note" }, NAMES[role]), content),
      ),
    );
  }
}
