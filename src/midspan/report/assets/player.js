(() => {
  const players = JSON.parse(document.getElementById("player-data").textContent);
  const byId = (id) => document.getElementById(`player-${id}`);
  const [body, pick, play, back, slider, next, count, speed, reveal, stage, status] = [
    "body", "pick", "play", "back", "step", "next", "count", "speed", "reveal", "lanes", "status",
  ].map(byId);
  const RUN_MS = 9000; // a whole run at normal speed, whatever its number of steps
  const MOST_TOLD = 4; // commits of a step that are spelled out

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

  const veil = (word) => "▒".repeat(Math.min(word.length, 14));

  const label = (commit) => (commit.isEnd ? "end" : open ? shown(commit.word) : veil(shown(commit.word)));

  const buildLane = (data) => {
    const commits = Array.from({ length: data.length }, () => []);
    for (const [position, at, confidence, word, isEnd] of data.commits) {
      commits[position].push({ position, at, confidence, word, isEnd });
    }
    for (const list of commits) list.sort((a, b) => a.at - b.at);

    const root = make("article", "lane");
    root.style.setProperty("--series", data.colour);
    const head = make("header", "");
    const verdict = make("span", "verdict");
    head.append(make("h3", "", data.model), verdict);
    const progress = make("p", "progress");
    const told = make("p", "progress told");
    const canvas = make("div", "canvas");
    canvas.setAttribute("role", "img");
    const marks = [];
    const chips = commits.map((list, position) => {
      const isAnchor = list.some((commit) => commit.at < 0);
      const startsAnchor = isAnchor && !(position > 0 && commits[position - 1].some((commit) => commit.at < 0));
      if (startsAnchor) canvas.append(make("span", "tag", `anchor ${position}`));
      // Shown while this is where the text ends.
      if (list.some((commit) => commit.isEnd)) {
        const mark = make("span", "tag end", `end ${position}`);
        mark.hidden = true;
        marks[position] = mark;
        canvas.append(mark);
      }
      const chip = make("span", "chip");
      const widest = Math.max(1, ...list.map((commit) => (commit.isEnd ? 1 : shown(commit.word).length)));
      chip.style.minWidth = `${Math.min(14, widest) + 1}ch`;
      canvas.append(chip);
      return chip;
    });
    const text = make("p", "lane-text");
    root.append(head, progress, told, canvas, text);
    return { data, commits, chips, marks, verdict, canvas, progress, told, text, root };
  };

  const tell = (now) => {
    const fresh = now.filter((commit) => commit && commit.at >= 0 && commit.at === step - 1);
    if (!fresh.length) return step ? "nothing new in this step" : "only anchors stand before step 1";
    const mean = fresh.reduce((sum, commit) => sum + commit.confidence, 0) / fresh.length;
    const parts = fresh.slice(0, MOST_TOLD).map((commit) =>
      `${label(commit)} at ${commit.position} (${commit.confidence.toFixed(2)})`);
    const rest = fresh.length - parts.length;
    return `new: ${parts.join(", ")}${rest ? ` and ${rest} more` : ""}; mean confidence ${mean.toFixed(2)}`;
  };

  const drawLane = (lane) => {
    const now = lane.commits.map((list) => list.findLast((commit) => commit.at < step));
    const end = now.findIndex((commit) => commit?.isEnd);
    lane.marks.forEach((mark, position) => { mark.hidden = position !== end; });
    // The judge saw the whole text alone.
    lane.verdict.textContent = step === steps ? lane.data.verdict : "…";
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
      const kinds = ["chip", anchor ? "anchor" : `c${level(commit.confidence)}`];
      if (commit.at === step - 1 && !anchor) kinds.push("new");
      if (commit.isEnd) kinds.push("stop");
      if (end >= 0 && position > end) kinds.push("after");
      if (!open) kinds.push("veiled");
      chip.className = kinds.join(" ");
      chip.textContent = commit.isEnd ? "" : label(commit);
      chip.title = anchor
        ? `position ${position}, anchor`
        : `position ${position}, step ${commit.at + 1}, confidence ${commit.confidence.toFixed(2)}`;
    });
    const ending = end >= 0 ? `, first end token at ${end}` : "";
    lane.progress.textContent = `${filled} of ${lane.chips.length} filled${ending}`;
    lane.told.textContent = tell(now);
    lane.canvas.setAttribute("aria-label", `${lane.data.model}: ${lane.progress.textContent}; ${lane.told.textContent}`);
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
    byId("reading").textContent = player.reading;
    lanes = player.lanes.map(buildLane);
    stage.replaceChildren(...lanes.map((lane) => lane.root));
    const last = player.lanes.flatMap((lane) => lane.commits.map((commit) => commit[1]));
    steps = last.reduce((most, at) => Math.max(most, at + 1), 1);
    slider.max = String(steps);
    go(steps);
  };

  let isSeen = false;

  const onKey = (event) => {
    const { target } = event;
    const keys = {
      ArrowRight: () => jump(step + 1),
      ArrowLeft: () => jump(step - 1),
      Home: () => jump(0),
      End: () => jump(steps),
      " ": toggle,
    };
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    // Nothing has the focus: the keys are the player's while it is on the screen.
    const isOurs = byId("body").contains(target) || (isSeen && target === document.body);
    // A control keeps the keys that it uses itself: a select all, a slider the arrows, a button space.
    const isTaken = target.matches("select, input") && !(target === slider && event.key === " ");
    if (!isOurs || isTaken || (event.key === " " && target.matches("button"))) return;
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
  addEventListener("keydown", onKey);
  reveal?.addEventListener("click", () => {
    open = !open;
    reveal.setAttribute("aria-expanded", String(open));
    reveal.textContent = open ? "Hide generated text" : "Show generated text";
    draw();
  });

  addEventListener("beforeprint", () => jump(steps));

  body.hidden = false;
  load(0);

  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let wasSeen = isStill;
  // A stage may be higher than the screen, so that no share of it need ever be seen at once.
  new IntersectionObserver((entries) => {
    isSeen = entries.at(-1).isIntersecting;
    if (!isSeen || wasSeen) return;
    wasSeen = true;
    if (step === steps) start();
  }, { rootMargin: "-20% 0px" }).observe(stage);
})();
