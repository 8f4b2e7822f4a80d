// The page at `/`: joins the form, the canvases, the server and files.

import { Anchors } from "./anchors.js";
import { listModels, listRules, setToken } from "./api.js";
import { EXAMPLES } from "./examples.js";
import { Form } from "./form.js";
import { Player } from "./player.js";
import { newRun, perform } from "./run.js";
import { download, readShared, sharedData, sharedPage } from "./share.js";

const byId = (id) => document.getElementById(id);
const [alert, status, runButton, tokenBox, results] = ["alert", "status", "run", "token-box", "results"].map(byId);

let asked = null; // what the runs on the page were asked
let runs = [];
let working = null; // the AbortController of the runs that go on

const player = new Player(byId("player"), (position, cell) => anchors.edit(position, cell));
const anchors = new Anchors(byId("anchor-dialog"), byId("anchors"), (texts) => player.plan(texts));
const form = new Form(byId("form"), () => {
  if (!asked) showEmpty();
});

const say = (text) => {
  status.textContent = text;
};

const complain = (messages) => {
  alert.replaceChildren(...messages.map((message) => {
    const line = document.createElement("p");
    line.textContent = message;
    return line;
  }));
};

// Canvases of what the form asks for, before it is run.
const showEmpty = () => {
  const request = form.empty();
  runs = request.sides.map((side) => newRun(side, request));
  player.load(runs);
};

const connect = async () => {
  try {
    const [models, rules] = await Promise.all([listModels(), listRules()]);
    tokenBox.hidden = true;
    form.offer(models.map((model) => model.id), rules);
    byId("example-box").hidden = !models.some((model) => model.id.startsWith("organism"));
    complain([]);
    say(`${models.length} ${models.length === 1 ? "model" : "models"} ready`);
  } catch (error) {
    if (error.status === 401) askForToken();
    complain([error.message]);
  }
};

const askForToken = () => {
  tokenBox.hidden = false;
  byId("token").focus();
};

const showWorking = () => {
  runButton.textContent = working ? "Stop" : "Run";
  results.hidden = !asked || Boolean(working);
  for (const [index, button] of [...document.querySelectorAll("[data-answer]")].entries()) {
    button.hidden = !runs[index]?.text;
    button.textContent = `Go on with the answer of ${runs[index]?.model}`;
  }
};

const refresh = (() => {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      player.update();
    });
  };
})();

const run = async () => {
  let request;
  try {
    request = { ...form.read(), anchors: anchors.read() };
  } catch (error) {
    return complain([error.message]);
  }
  complain([]);
  if (!request.messages.length) return complain(["Write a prompt first."]);
  asked = request;
  working = new AbortController();
  runs = request.sides.map((side) => newRun(side, request));
  player.load(runs);
  showWorking();
  say(`Running ${runs.map((one) => one.model).join(" and ")}`);
  const ended = await Promise.allSettled(runs.map((one) => perform(one, request, working.signal, refresh)));
  working = null;
  const errors = ended.map((one, index) => one.reason && [runs[index].model, one.reason]).filter(Boolean);
  player.update();
  player.settle();
  showWorking();
  if (errors.some(([, error]) => error.status === 401)) askForToken();
  complain(errors.map(([model, error]) => `${model}: ${error.message}`));
  say(runs.map((one) => `${one.model}: ${one.verdict}`).join("; "));
};

const open = async (file) => {
  try {
    const data = readShared(await file.text());
    working?.abort();
    ({ request: asked, runs } = data);
    form.write(asked);
    anchors.write(asked.anchors);
    player.load(runs);
    player.settle();
    showWorking();
    complain([]);
    say(`Opened ${file.name}`);
  } catch (error) {
    complain([`${file.name}: ${error.message}`]);
  }
};

const name = () => `midspan-${sharedData(asked, runs).made.replace(/\D/g, "")}`;

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (working) working.abort();
  else run();
});
byId("form").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (!working) byId("form").requestSubmit();
});
byId("token-use").addEventListener("click", () => {
  setToken(byId("token").value);
  connect();
});
byId("example").replaceChildren(new Option("Choose …", ""), ...EXAMPLES.map(({ title }, index) => new Option(title, index)));
byId("example").addEventListener("change", (event) => {
  const example = EXAMPLES[event.target.value];
  if (!example) return;
  form.write({ ...form.read(), ...example.request });
  anchors.write(example.anchors);
});
byId("share-page").addEventListener("click", async () => {
  try {
    download(await sharedPage(sharedData(asked, runs)), `${name()}.html`, "text/html");
  } catch (error) {
    complain([error.message]);
  }
});
byId("share-data").addEventListener("click", () =>
  download(JSON.stringify(sharedData(asked, runs), null, 1), `${name()}.json`, "application/json"));
byId("open").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) open(file);
});
for (const [index, button] of [...document.querySelectorAll("[data-answer]")].entries()) {
  button.addEventListener("click", () => form.answer(runs[index].text));
}

showWorking();
connect();
