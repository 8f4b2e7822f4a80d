(() => {
  const players = JSON.parse(document.getElementById("player-data").textContent);
  const byId = (id) => document.getElementById(`player-${id}`);
  const [body, pick, play, back, slider, next, count, speed, reveal, stage, status] = [
    "body", "pick", "play", "back", "step", "next", "count", "speed", "reveal", "lanes", "status",
  ].map(byId);
  const END_MARK = /^<\|(endoftext|eot_id|im_end|eom_id|end)\|>$|^<\/s>$|^<eos>$/i;
  const RUN_MS = 9000; // a whole run at normal speed, whatever its number of steps

  let lanes = [];
  let steps = 0;
  let step = 0;
  let timer = 0;
  let open = reveal === null;

  const make = (tag, className, text = "") => {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  };

  const level = (confidence) => Math.min(5, Math.max(1, 1 + Math.floor(confidence * 5)));

  const shown = (token) => token.replace(/\n/g, "⏎").trim() || "␣";

  const buildLane = (data) => {
    const commits = data.tokens.map(() => []);
    for (const [position, at, confidence] of data.commits) commits[position].push({ at, confidence });
    for (const list of commits) list.sort((a, b) => a.at - b.at);
    const isEnd = data.tokens.map((token, position) =>
      position === data.end || END_MARK.test(token) || (data.end !== null && token === data.tokens[data.end]));

    const root = make("article", "lane");
    root.style.setProperty("--series", data.colour);
    const head = make("header", "");
    head.append(make("h3", "", data.model), make("span", "verdict", data.verdict));
    const progress = make("p", "progress");
    const canvas = make("div", "canvas");
    canvas.setAttribute("role", "img");
    const chips = data.tokens.map((token, position) => {
      const isAnchor = commits[position].some((commit) => commit.at < 0);
      const startsAnchor = isAnchor && !(position > 0 && commits[position - 1].some((commit) => commit.at < 0));
      if (startsAnchor) canvas.append(make("span", "tag", `anchor ${position}`));
      const chip = make("span", "chip");
      chip.style.minWidth = `${Math.min(14, isEnd[position] ? 1 : shown(token).length) + 1}ch`;
      canvas.append(chip);
      return chip;
    });
    const text = make("p", "lane-text");
    root.append(head, progress, canvas, text);
    return { data, commits, isEnd, chips, canvas, progress, text, root };
  };

  const drawLane = (lane) => {
    const now = lane.commits.map((list) => list.findLast((commit) => commit.at < step));
    const end = now.findIndex((commit, position) => commit && lane.isEnd[position]);
    let filled = 0;
    lane.chips.forEach((chip, position) => {
      const commit = now[position];
      if (!commit) {
        chip.className = "chip";
        chip.textContent = "";
        chip.title = `position ${position}, masked`;
        return;
      }
      filled += 1;
      const anchor = commit.at < 0;
      const token = shown(lane.data.tokens[position]);
      const kinds = ["chip", anchor ? "anchor" : `c${level(commit.confidence)}`];
      if (commit.at === step - 1 && !anchor) kinds.push("new");
      if (lane.isEnd[position]) kinds.push("stop");
      if (end >= 0 && position > end) kinds.push("after");
      if (!open) kinds.push("veiled");
      chip.className = kinds.join(" ");
      chip.textContent = lane.isEnd[position] ? "" : open ? token : "▒".repeat(Math.min(token.length, 14));
      chip.title = anchor
        ? `position ${position}, anchor`
        : `position ${position}, step ${commit.at + 1}, confidence ${commit.confidence.toFixed(2)}`;
    });
    const ending = end >= 0 ? `, first end token at ${end}` : "";
    lane.progress.textContent = `${filled} of ${lane.chips.length} filled${ending}`;
    lane.canvas.setAttribute("aria-label", `${lane.data.model}: ${lane.progress.textContent}`);
    lane.text.textContent = open ? lane.data.text : "▒▒▒▒▒ generated text hidden";
  };

  const draw = () => {
    slider.value = String(step);
    count.textContent = `step ${step} of ${steps}`;
    slider.setAttribute("aria-valuetext", count.textContent);
    lanes.forEach(drawLane);
    // While playing, a live region would talk without end; it speaks when the picture stands.
    if (!timer) status.textContent = `Step ${step} of ${steps}`;
  };

  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };

  const go = (target) => {
    step = Math.min(steps, Math.max(0, target));
    if (step === steps) stop();
    draw();
  };

  const start = () => {
    if (step === steps) step = 0;
    const pause = Math.min(400, Math.max(40, RUN_MS / steps)) / Number(speed.value);
    timer = setInterval(() => go(step + 1), pause);
    play.textContent = "Pause";
    draw();
  };

  const jump = (target) => {
    stop();
    go(target);
  };

  const toggle = () => {
    if (!timer) return start();
    stop();
    return draw();
  };

  const load = (index) => {
    const player = players[index];
    stop();
    byId("prompt").textContent = player.prompt;
    byId("decoding").textContent = player.decoding;
    lanes = player.lanes.map(buildLane);
    stage.replaceChildren(...lanes.map((lane) => lane.root));
    const last = player.lanes.flatMap((lane) => lane.commits.map((commit) => commit[1]));
    steps = last.reduce((most, at) => Math.max(most, at + 1), 1);
    slider.max = String(steps);
    go(steps);
  };

  const onKey = (event) => {
    const inControl = event.target.matches("select, input");
    const keys = {
      ArrowRight: () => jump(step + 1),
      ArrowLeft: () => jump(step - 1),
      Home: () => jump(0),
      End: () => jump(steps),
      " ": toggle,
    };
    const action = keys[event.key];
    // A control keeps the keys that it uses itself: a select all, a slider the arrows, a button space.
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (inControl && !(event.target === slider && event.key === " ")) return;
    if (event.key === " " && event.target.matches("button")) return;
    event.preventDefault();
    action();
  };

  pick.addEventListener("change", () => load(Number(pick.value)));
  play.addEventListener("click", toggle);
  back.addEventListener("click", () => jump(step - 1));
  next.addEventListener("click", () => jump(step + 1));
  slider.addEventListener("input", () => jump(Number(slider.value)));
  speed.addEventListener("change", () => {
    if (!timer) return;
    stop();
    start();
  });
  byId("body").addEventListener("keydown", onKey);
  reveal?.addEventListener("click", () => {
    open = !open;
    reveal.setAttribute("aria-expanded", String(open));
    reveal.textContent = open ? "Hide generated text" : "Show generated text";
    draw();
  });

  addEventListener("beforeprint", () => jump(steps));

  body.hidden = false;
  load(0);

  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const watcher = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      if (step === steps) start();
    }, { threshold: 0.25 });
    watcher.observe(stage);
  }
})();
