// Text at positions of the canvas, placed before decoding.

import { make } from "./lane.js";

export class Anchors {
  // `onChange(map)` gets texts by position.
  constructor(dialog, list, onChange) {
    Object.assign(this, { dialog, list, onChange, texts: new Map(), position: 0, opener: null });
    this.title = dialog.querySelector("h2");
    this.field = dialog.querySelector("input");
    this.removeButton = dialog.querySelector("[data-action=remove]");
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#set(this.field.value);
    });
    this.removeButton.addEventListener("click", () => this.#set(""));
    dialog.querySelector("[data-action=cancel]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.opener?.isConnected && this.opener.focus());
  }

  edit(position, opener) {
    Object.assign(this, { position, opener });
    this.title.textContent = `Text at position ${position}`;
    this.field.value = this.texts.get(position) ?? "";
    this.removeButton.hidden = !this.texts.has(position);
    this.dialog.showModal();
    this.field.select();
  }

  read() {
    return [...this.texts].map(([position, text]) => ({ position, text }));
  }

  write(anchors) {
    this.texts = new Map(anchors.map(({ position, text }) => [position, text]));
    this.#changed();
  }

  #set(text) {
    if (text.trim()) this.texts.set(this.position, text);
    else this.texts.delete(this.position);
    this.texts = new Map([...this.texts].sort(([a], [b]) => a - b));
    this.#changed();
    this.dialog.close();
  }

  #changed() {
    this.list.replaceChildren(...[...this.texts].map(([position, text]) => {
      const item = make("li");
      const open = make("button", "pin", `${position}: ${text}`);
      open.type = "button";
      open.setAttribute("aria-label", `Change the text at position ${position}: ${text}`);
      open.addEventListener("click", () => this.edit(position, open));
      item.append(open);
      return item;
    }));
    this.onChange(this.texts);
  }
}
