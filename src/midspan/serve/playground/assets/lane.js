// One model's canvas: what each position holds after a step. Needs nothing else, so that a shared page can hold it.

const MOST_TOLD = 4; // commits of a step that are spelled out
const ANCHOR = -1; // the step of a token that stood before decoding

export const make = (tag, className = "", text = "") => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
};

const level = (confidence) => Math.min(5, Math.max(1, 1 + Math.floor(confidence * 5)));

export const spelled = (token) => token.replace(/\n/g, "⏎").trim() || "␣";

export const meanConfidence = (frame) => {
  const sum = frame.commits.reduce((total, commit) => total + commit.confidence, 0);
  return frame.commits.length ? sum / frame.commits.length : null;
};

// Steps that a run has taken; anchors stand before the first.
export const stepsOf = (run) => run.frames.reduce((most, frame) => Math.max(most, frame.step + 1), 0);

const ruleText = (rule) => {
  if (typeof rule === "string") return rule;
  const { rule: name, ...fields } = rule;
  return `${name} (${Object.entries(fields).map(([field, value]) => `${field} ${JSON.stringify(value)}`).join(", ")})`;
};

// Every position's changes in their order; `reopened` where a rule masked it again.
const changesOf = (run) => {
  const changes = Array.from({ length: run.length }, () => []);
  for (const frame of run.frames) {
    for (const commit of frame.commits) changes[commit.position]?.push({ ...commit, at: frame.step });
    for (const position of frame.reopened ?? []) changes[position]?.push({ at: frame.step, reopened: true });
  }
  return changes;
};

export class Lane {
  // `onCell(position)` is called where a cell is chosen; without it the canvas is a picture.
  constructor(name, series, onCell = null) {
    this.name = name;
    this.onCell = onCell;
    this.cells = [];
    this.current = 0;
    this.root = make("article", `lane ${series}`);
    const head = make("header");
    this.title = make("h3", "", name);
    this.verdict = make("span", "verdict");
    head.append(this.title, this.verdict);
    this.rules = make("p", "progress");
    this.progress = make("p", "progress");
    this.told = make("p", "progress told");
    this.canvas = make("div", "canvas");
    this.canvas.setAttribute("role", onCell ? "group" : "img");
    this.text = make("p", "lane-text");
    this.root.append(head, this.rules, this.progress, this.told, this.canvas, this.text);
    if (onCell) this.canvas.addEventListener("keydown", (event) => this.#move(event));
  }

  show(run) {
    this.run = run;
    this.changes = changesOf(run);
    this.verdict.textContent = run.verdict;
    this.verdict.hidden = !run.verdict;
    this.rules.textContent = run.rules.length ? `rules: ${run.rules.map(ruleText).join(", ")}` : "";
    this.rules.hidden = !run.rules.length;
    this.text.textContent = run.text;
    this.text.hidden = !run.text;
    this.#fit(run.length);
  }

  // The canvas after so many steps. `planned` maps positions to texts of anchors of the next run.
  draw(step, planned = new Map()) {
    const now = this.changes.map((list) => list.findLast((change) => change.at < step));
    const end = now.findIndex((change) => change?.end);
    let filled = 0;
    this.cells.forEach((cell, position) => {
      const change = now[position]?.reopened ? null : now[position];
      if (change) filled += 1;
      this.#drawCell(cell, position, change, { step, end, plan: planned.get(position) });
    });
    const ending = end >= 0 ? `, first end token at ${end}` : "";
    this.progress.textContent = `${filled} of ${this.cells.length} filled${ending}`;
    this.told.textContent = this.#tell(step);
    this.canvas.setAttribute("aria-label", this.onCell
      ? `Canvas of ${this.name}. Arrow keys move, Enter places text.`
      : `${this.name}: ${this.progress.textContent}; ${this.told.textContent}`);
  }

  // What is known of widths, so that a canvas does not move while it is played again.
  settle() {
    this.changes.forEach((list, position) => {
      const widest = Math.max(0, ...list.map((c) => (c.reopened || c.end ? 1 : spelled(c.text).length)));
      this.cells[position].style.setProperty("--widest", `${Math.min(14, widest) + 1}ch`);
    });
  }

  #fit(length) {
    if (this.cells.length === length) return;
    this.cells = Array.from({ length }, (_, position) => {
      const cell = make(this.onCell ? "button" : "span", "chip");
      if (this.onCell) {
        cell.type = "button";
        cell.addEventListener("click", () => this.onCell(position, cell));
        cell.addEventListener("focus", () => this.#aim(position));
      }
      return cell;
    });
    this.canvas.replaceChildren(...this.cells);
    if (this.onCell) this.#aim(Math.min(this.current, length - 1));
  }

  #drawCell(cell, position, change, { step, end, plan }) {
    const anchor = change?.at === ANCHOR;
    const kinds = ["chip"];
    if (change) kinds.push(anchor ? "anchor" : `c${level(change.confidence)}`);
    if (change && !anchor && change.at === step - 1) kinds.push("new");
    if (change?.end) kinds.push("stop");
    if (end >= 0 && position > end) kinds.push("after");
    if (plan !== undefined) kinds.push("planned");
    cell.className = kinds.join(" ");
    const word = change ? (change.end ? "" : spelled(change.text)) : "";
    cell.textContent = word || (plan === undefined || change ? "" : spelled(plan));
    const held = !change ? "masked" : anchor ? "anchor" : `step ${change.at + 1}, confidence ${change.confidence.toFixed(2)}`;
    const next = plan === undefined ? "" : `, text for the next run: ${plan}`;
    cell.title = `position ${position}, ${held}${next}`;
    if (!this.onCell) return;
    const content = change?.end ? "end token, " : word ? `${word}, ` : "";
    cell.setAttribute("aria-label", `${content}${cell.title}`);
  }

  #tell(step) {
    const frame = this.run.frames.find((one) => one.step === step - 1);
    if (!step) return this.run.frames.length ? "only anchors stand before step 1" : "";
    if (!frame) return `ended at step ${stepsOf(this.run)}`;
    if (!frame.commits.length) return "nothing new in this step";
    const parts = frame.commits.slice(0, MOST_TOLD).map((commit) =>
      `${commit.end ? "end" : spelled(commit.text)} at ${commit.position} (${commit.confidence.toFixed(2)})`);
    const rest = frame.commits.length - parts.length;
    return `new: ${parts.join(", ")}${rest ? ` and ${rest} more` : ""}; mean confidence ${meanConfidence(frame).toFixed(2)}`;
  }

  // One cell at a time is in the order of focus.
  #aim(position) {
    if (this.cells[this.current]) this.cells[this.current].tabIndex = -1;
    this.cells.forEach((cell, index) => { cell.tabIndex = index === position ? 0 : -1; });
    this.current = position;
  }

  #move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = {
      ArrowRight: () => this.current + 1,
      ArrowLeft: () => this.current - 1,
      ArrowDown: () => this.#row(1),
      ArrowUp: () => this.#row(-1),
      Home: () => 0,
      End: () => this.cells.length - 1,
    }[event.key];
    if (!target) return;
    event.preventDefault();
    this.cells[Math.min(this.cells.length - 1, Math.max(0, target()))].focus();
  }

  // The nearest cell of the row below (1) or above (-1).
  #row(direction) {
    const here = this.cells[this.current].getBoundingClientRect();
    const far = (box) => direction * (box.top - here.top);
    const boxes = this.cells.map((cell) => cell.getBoundingClientRect());
    const below = boxes.map(far).filter((distance) => distance > 1);
    if (!below.length) return this.current;
    const row = Math.min(...below);
    const middle = here.left + here.width / 2;
    let best = this.current;
    let least = Infinity;
    boxes.forEach((box, index) => {
      const away = Math.abs(box.left + box.width / 2 - middle);
      if (Math.abs(far(box) - row) < 1 && away < least) [best, least] = [index, away];
    });
    return best;
  }
}
