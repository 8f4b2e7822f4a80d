// What is asked: the conversation, the settings, and one or two models with their rules.

import { make } from "./lane.js";
import { RuleList } from "./rules.js";

const NUMBERS = ["max_tokens", "steps", "block_length", "temperature", "seed"];
const ROLES = ["user", "assistant", "system"];

export class Form {
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.turns = root.querySelector("#turns");
    this.compare = root.querySelector("#compare");
    this.second = root.querySelector("#side-2");
    this.sides = [root.querySelector("#side-1"), this.second].map((side) => ({
      pick: side.querySelector("select"),
      rules: new RuleList(side.querySelector("details"), () => {}),
    }));
    this.addTurn("user", "");
    root.querySelector("#add-turn").addEventListener("click", () => this.addTurn(this.#nextRole(), "").focus());
    this.compare.addEventListener("change", () => this.#changed());
    root.addEventListener("change", () => this.#changed());
  }

  offer(models, rules) {
    this.sides.forEach((side, index) => {
      const chosen = side.pick.value;
      side.pick.replaceChildren(...models.map((name) => new Option(name)));
      side.pick.value = models.includes(chosen) ? chosen : models[Math.min(index, models.length - 1)];
      side.rules.offer(rules);
    });
    this.#changed();
  }

  // What stands in the form; an empty number is null. An Error says what cannot be understood.
  read() {
    const numbers = Object.fromEntries(NUMBERS.map((name) => {
      const value = this.root.elements[name].value;
      return [name, value === "" ? null : Number(value)];
    }));
    const turns = [...this.turns.children].map((turn) => ({
      role: turn.querySelector("select").value,
      content: turn.querySelector("textarea").value,
    }));
    const messages = turns.filter(({ content }) => content.trim());
    const sides = this.sides.slice(0, this.compare.checked ? 2 : 1)
      .map(({ pick, rules }) => ({ model: pick.value, rules: rules.read() }));
    return { messages, ...numbers, canvas: this.root.elements.canvas.value, sides };
  }

  // What is known of the canvases before a run.
  empty() {
    const sides = this.sides.slice(0, this.compare.checked ? 2 : 1)
      .map(({ pick }) => ({ model: pick.value, rules: [] }));
    return { sides, max_tokens: Number(this.root.elements.max_tokens.value) };
  }

  write(request) {
    this.turns.replaceChildren();
    request.messages.forEach(({ role, content }) => this.addTurn(role, content));
    for (const name of NUMBERS) this.root.elements[name].value = request[name] ?? "";
    this.root.elements.canvas.value = request.canvas ?? "";
    this.compare.checked = request.sides.length > 1;
    request.sides.forEach((side, index) => {
      const { pick, rules } = this.sides[index];
      if ([...pick.options].some((option) => option.value === side.model)) pick.value = side.model;
      rules.write(side.rules);
    });
    this.#changed();
  }

  // Go on with an answer: it becomes a turn, and the next one is the user's.
  answer(text) {
    this.addTurn("assistant", text);
    this.addTurn("user", "").focus();
  }

  addTurn(role, content) {
    const turn = make("div", "turn");
    const pick = make("select");
    pick.replaceChildren(...ROLES.map((name) => new Option(name)));
    pick.value = role;
    const text = make("textarea");
    Object.assign(text, { value: content, rows: 2 });
    const remove = make("button", "quiet", "Remove");
    remove.type = "button";
    remove.addEventListener("click", () => {
      const before = turn.previousElementSibling ?? turn.nextElementSibling;
      turn.remove();
      before.querySelector("textarea").focus();
      this.#number();
    });
    turn.append(pick, text, remove);
    this.turns.append(turn);
    this.#number();
    return text;
  }

  #nextRole() {
    return this.turns.lastElementChild.querySelector("select").value === "user" ? "assistant" : "user";
  }

  #number() {
    [...this.turns.children].forEach((turn, index, all) => {
      turn.querySelector("select").setAttribute("aria-label", `Role of turn ${index + 1}`);
      turn.querySelector("textarea").setAttribute("aria-label", `Text of turn ${index + 1}`);
      turn.querySelector("button").setAttribute("aria-label", `Remove turn ${index + 1}`);
      turn.querySelector("button").hidden = all.length === 1;
    });
  }

  #changed() {
    this.second.hidden = !this.compare.checked;
    this.second.disabled = !this.compare.checked;
    this.onChange();
  }
}
