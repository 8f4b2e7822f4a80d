// Values by step as inline SVG. Needs nothing else, so that a shared page can hold it.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150;
const EDGE = { left: 30, right: 10, top: 8, bottom: 22 };

const draw = (tag, attributes, text = "") => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
};

// Lines of numbers from 0 to 1; `curves` are [{name, series, values}], null where there is none.
export class Chart {
  constructor(title) {
    this.title = title;
    this.curves = [];
    this.step = 0;
    this.root = document.createElement("figure");
    this.root.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = title;
    this.svg = draw("svg", { role: "img", height: HEIGHT, width: "100%" });
    this.caption = document.createElement("figcaption");
    this.root.append(heading, this.svg, this.caption);
    this.watcher = new ResizeObserver(() => this.#draw());
    this.watcher.observe(this.root);
  }

  show(curves, steps, step) {
    Object.assign(this, { curves, steps, step });
    this.#draw();
  }

  #draw() {
    const width = this.svg.clientWidth;
    if (!width || !this.curves.length) return;
    const steps = Math.max(1, this.steps);
    const x = (at) => EDGE.left + ((width - EDGE.left - EDGE.right) * (steps > 1 ? (at - 1) / (steps - 1) : 0.5));
    const y = (value) => EDGE.top + (HEIGHT - EDGE.top - EDGE.bottom) * (1 - value);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(...this.#frame(width, steps, x, y), ...this.curves.flatMap((curve) => this.#line(curve, x, y)));
    this.svg.setAttribute("aria-label", `${this.title}. ${this.curves.map((curve) => summary(curve)).join(". ")}`);
    this.caption.replaceChildren(...this.curves.map((curve) => this.#reading(curve)));
  }

  #frame(width, steps, x, y) {
    const right = width - EDGE.right;
    const parts = [0, 0.5, 1].flatMap((value) => [
      draw("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(value), y2: y(value) }),
      draw("text", { class: "tick", x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    ]);
    parts.push(draw("text", { class: "tick", x: x(1), y: HEIGHT - 5, "text-anchor": "start" }, "step 1"));
    if (steps > 1) parts.push(draw("text", { class: "tick", x: right, y: HEIGHT - 5, "text-anchor": "end" }, String(steps)));
    if (this.step > 0) parts.push(draw("line", { class: "now", x1: x(this.step), x2: x(this.step), y1: y(0), y2: y(1) }));
    return parts;
  }

  // One line for each stretch without a gap, and a point at the step that is shown.
  #line(curve, x, y) {
    const stretches = [[]];
    curve.values.forEach((value, index) => {
      if (value === null) stretches.push([]);
      else stretches.at(-1).push(`${x(index + 1).toFixed(1)},${y(value).toFixed(1)}`);
    });
    const parts = stretches.filter((points) => points.length).map((points) => (points.length > 1
      ? draw("polyline", { class: `curve ${curve.series}`, points: points.join(" ") })
      : draw("circle", { class: `dot ${curve.series}`, cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 2 })));
    const value = curve.values[this.step - 1];
    if (value != null) parts.push(draw("circle", { class: `dot ${curve.series}`, cx: x(this.step), cy: y(value), r: 4 }));
    return parts;
  }

  #reading(curve) {
    const item = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = `key ${curve.series}`;
    const value = curve.values[this.step - 1];
    const said = value == null ? "no value" : value.toFixed(3);
    item.append(mark, `${curve.name} ${this.step ? said : "not begun"}`);
    return item;
  }
}

const summary = ({ name, values }) => {
  const known = values.map((value, index) => [value, index + 1]).filter(([value]) => value !== null);
  if (!known.length) return `${name}: no values`;
  const [first, last] = [known[0], known.at(-1)];
  const most = known.reduce((best, one) => (one[0] > best[0] ? one : best));
  return `${name}: ${first[0].toFixed(2)} at step ${first[1]}, ${last[0].toFixed(2)} at step ${last[1]}, most ${most[0].toFixed(2)} at step ${most[1]}`;
};
