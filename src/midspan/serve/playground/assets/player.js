// Lanes side by side with one step for all, and charts under them; the shared page is this alone.

import { Chart } from "./charts.js";
import { Lane, make, meanConfidence, stepsOf } from "./lane.js";

const RUN_MS = 9000; // a whole run at normal speed, whatever its number of steps

const byStep = (run, value) => {
  const values = new Array(stepsOf(run)).fill(null);
  for (const frame of run.frames) if (frame.step >= 0) values[frame.step] = value(frame) ?? null;
  return values;
};

export class Player {
  // `root` holds the controls of index.html; `onCell(position, cell)` makes canvases editable.
  constructor(root, onCell = null) {
    const find = (name) => root.querySelector(`[data-player="${name}"]`);
    [this.play, this.back, this.slider, this.next, this.count, this.speed, this.stage, this.charts, this.status] = [
      "play", "back", "step", "next", "count", "speed", "lanes", "charts", "status",
    ].map(find);
    Object.assign(this, { onCell, runs: [], lanes: [], planned: new Map(), step: 0, steps: 0, timer: 0 });
    this.figures = [
      { chart: new Chart("P(EOS) at the leftmost masked position"), value: (frame) => frame.p_eos },
      { chart: new Chart("Mean confidence of a step's tokens"), value: meanConfidence },
    ];
    this.charts.replaceChildren(...this.figures.map((figure) => figure.chart.root));
    this.#listen(find("keys"));
  }

  // Runs are read again at each `update`, and may have grown.
  load(runs) {
    this.pause();
    this.runs = runs;
    this.lanes = runs.map((run, index) => new Lane(run.model, `side-${index + 1}`, this.onCell));
    this.stage.replaceChildren(...this.lanes.map((lane) => lane.root));
    this.step = 0;
    this.steps = 0;
    this.update();
  }

  // Show what the runs have got; whoever looks at the last step goes on to the new one.
  update() {
    const follows = this.step === this.steps;
    this.steps = Math.max(0, ...this.runs.map(stepsOf));
    if (follows && !this.timer) this.step = this.steps;
    this.lanes.forEach((lane, index) => lane.show(this.runs[index]));
    this.charts.hidden = this.steps === 0;
    this.draw();
  }

  settle() {
    this.lanes.forEach((lane) => lane.settle());
  }

  plan(planned) {
    this.planned = planned;
    this.draw();
  }

  draw() {
    this.slider.max = String(Math.max(1, this.steps));
    this.slider.value = String(this.step);
    for (const control of [this.play, this.back, this.slider, this.next]) control.disabled = this.steps === 0;
    this.count.textContent = this.steps ? `step ${this.step} of ${this.steps}` : "not run yet";
    this.slider.setAttribute("aria-valuetext", this.count.textContent);
    for (const lane of this.lanes) lane.draw(this.step, this.planned);
    for (const { chart, value } of this.figures) {
      const curves = this.runs.map((run, index) =>
        ({ name: run.model, series: `side-${index + 1}`, values: byStep(run, value) }));
      chart.show(curves, this.steps, this.step);
    }
  }

  go(target) {
    this.step = Math.min(this.steps, Math.max(0, target));
    if (this.step === this.steps) this.pause();
    this.draw();
  }

  jump(target) {
    this.pause();
    this.go(target);
    // While playing, a live region would talk without end; it speaks when the picture stands.
    this.status.textContent = `Step ${this.step} of ${this.steps}`;
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
  }

  start() {
    if (this.step === this.steps) this.step = 0;
    const pause = Math.min(400, Math.max(40, RUN_MS / this.steps)) / Number(this.speed.value);
    this.timer = setInterval(() => this.go(this.step + 1), pause);
    this.play.textContent = "Pause";
    this.draw();
  }

  toggle() {
    if (this.timer) this.pause();
    else if (this.steps) this.start();
  }

  #listen(keys) {
    this.play.addEventListener("click", () => this.toggle());
    this.back.addEventListener("click", () => this.jump(this.step - 1));
    this.next.addEventListener("click", () => this.jump(this.step + 1));
    this.slider.addEventListener("input", () => this.jump(Number(this.slider.value)));
    this.speed.addEventListener("change", () => {
      if (!this.timer) return;
      this.pause();
      this.start();
    });
    keys.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    // A control keeps the keys that it uses itself: a select all, a slider the arrows, a button space.
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    if (event.target === this.slider && event.key !== " ") return;
    if (event.target.matches("button") && event.key === " ") return;
    const action = {
      ArrowRight: () => this.jump(this.step + 1),
      ArrowLeft: () => this.jump(this.step - 1),
      Home: () => this.jump(0),
      End: () => this.jump(this.steps),
      " ": () => this.toggle(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

// What was asked, in words.
export const conversation = (messages) => messages.map(({ role, content }) => {
  const turn = make("div", "said");
  turn.append(make("span", "role", role), make("p", "", content));
  return turn;
});
