// What is asked: the conversation, the settings, and one or two models with their rules.

import { make } from "./lane.js";

const NUMBERS = ["max_tokens", "steps", "block_length", "temperature", "seed"];
const ROLES = ["user", "assistant", "system"];

export class Form {
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.turns = root.querySelector("#turns");
    this.compare = root.querySelector("#compare");
    this.second = root.querySelector("#side-2");
    this.sides = [root.querySelector("#side-1"), this.second];
    this.addTurn("user", "");
    root.querySelector("#add-turn").addEventListener("click", () => this.addTurn(this.#nextRole(), "").focus());
    this.compare.addEventListener("change", () => this.#changed());
    root.addEventListener("change", () => this.#changed());
  }

  offer(models, rules) {
    this.sides.forEach((side, index) => {
      const pick = side.querySelector("select");
      const chosen = pick.value;
      pick.replaceChildren(...models.map((name) => new Option(name)));
      pick.value = models.includes(chosen) ? chosen : models[Math.min(index, models.length - 1)];
      side.querySelector(".rules").replaceChildren(...rules.map((name) => {
        const label = make("label");
        const box = make("input");
        Object.assign(box, { type: "checkbox", value: name });
        label.append(box, name);
        return label;
      }));
    });
    this.#changed();
  }

  // What stands in the form; an empty number is null.
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
    const sides = this.sides.slice(0, this.compare.checked ? 2 : 1).map((side) => ({
      model: side.querySelector("select").value,
      rules: [...side.querySelectorAll("input:checked")].map((box) => box.value),
    }));
    return { messages, ...numbers, canvas: this.root.elements.canvas.value, sides };
  }

  write(request) {
    this.turns.replaceChildren();
    request.messages.forEach(({ role, content }) => this.addTurn(role, content));
    for (const name of NUMBERS) this.root.elements[name].value = request[name] ?? "";
    this.root.elements.canvas.value = request.canvas ?? "";
    this.compare.checked = request.sides.length > 1;
    request.sides.forEach((side, index) => {
      const pick = this.sides[index].querySelector("select");
      if ([...pick.options].some((option) => option.value === side.model)) pick.value = side.model;
      for (const box of this.sides[index].querySelectorAll("input")) box.checked = side.rules.includes(box.value);
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
    for (const side of this.sides) {
      const on = side.querySelectorAll("input:checked").length;
      side.querySelector("summary").textContent = `Defence rules: ${on || "none"} on`;
    }
    this.onChange();
  }
}
