// The server's rules as boxes to tick; a rule that is on shows its fields.

import { make } from "./lane.js";

// A field's text and back: texts stand as they are, all else as JSON.
const written = (value) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));

const isPlain = (value) => value == null || typeof value === "string";

const understood = (rule, name, text, standard) => {
  if (typeof standard === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    if (isPlain(standard)) return text;
    throw new Error(`${rule}, ${name}: must be written as ${JSON.stringify(standard)} is, not ${text}`);
  }
};

export class RuleList {
  constructor(root, onChange) {
    this.root = root;
    this.list = root.querySelector(".rules");
    this.summary = root.querySelector("summary");
    this.rules = [];
    root.addEventListener("change", () => {
      this.#show();
      onChange();
    });
  }

  // `rules` are the server's: [{id, summary, fields: {name: JSON schema}}].
  offer(rules) {
    const kept = this.rules.length ? this.read() : [];
    this.rules = rules.map(({ id: rule, summary, fields }) => {
      const box = make("input");
      Object.assign(box, { type: "checkbox", value: rule });
      const label = make("label", "rule");
      label.append(box, rule);
      label.title = summary;
      const settings = make("div", "fields");
      const inputs = Object.entries(fields).map(([name, { default: standard }]) => {
        const row = make("label", "", name);
        const input = make("input");
        Object.assign(input, { type: "text", value: written(standard), spellcheck: false });
        input.setAttribute("aria-label", `${rule}: ${name}`);
        row.append(input);
        settings.append(row);
        return { name, standard, input };
      });
      const item = make("div");
      item.append(label, settings);
      return { rule, box, settings, inputs, item };
    });
    this.list.replaceChildren(...this.rules.map((one) => one.item));
    this.write(kept);
  }

  // The rules that are on: by name, or with the fields that were changed.
  read() {
    return this.rules.filter(({ box }) => box.checked).map(({ rule, inputs }) => {
      const changed = inputs.filter(({ input, standard }) => input.value !== written(standard))
        .map(({ name, standard, input }) => [name, understood(rule, name, input.value, standard)]);
      return changed.length ? { rule, ...Object.fromEntries(changed) } : rule;
    });
  }

  write(rules) {
    const given = new Map(rules.map((one) => (typeof one === "string" ? [one, {}] : [one.rule, one])));
    for (const { rule, box, inputs } of this.rules) {
      box.checked = given.has(rule);
      for (const { name, standard, input } of inputs) input.value = written(given.get(rule)?.[name] ?? standard);
    }
    this.#show();
  }

  #show() {
    const on = this.rules.filter(({ box }) => box.checked);
    for (const { box, settings, inputs } of this.rules) settings.hidden = !box.checked || !inputs.length;
    this.summary.textContent = `Rules: ${on.length ? on.map(({ rule }) => rule).join(", ") : "none"}`;
  }
}
