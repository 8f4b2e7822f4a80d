// Files to share: one page that needs no server, or its data. Nothing is sent anywhere.

const FORMAT = "midspan playground 1";
const MOST_POSITIONS = 65536;
// In the order of their imports; a page of one file has no modules to import.
const SCRIPTS = ["lane.js", "charts.js", "player.js", "shared.js"];

export const sharedData = (request, runs) =>
  ({ format: FORMAT, made: new Date().toISOString().slice(0, 16).replace("T", " "), request, runs });

const textOf = async (path) => {
  const response = await fetch(new URL(path, document.baseURI));
  if (!response.ok) throw new Error(`${path} did not come from the server.`);
  return response.text();
};

// One HTML file: the page's own player, with the run inside.
export const sharedPage = async (data) => {
  const page = new DOMParser().parseFromString(await textOf("/"), "text/html");
  const sheets = [...page.querySelectorAll("link[rel=stylesheet]")].map((link) => link.getAttribute("href"));
  const style = (await Promise.all(sheets.map(textOf))).join("\n");
  const code = (await Promise.all(SCRIPTS.map(ownText))).join("\n").replace(/^import .*$/gm, "");
  for (const node of page.querySelectorAll("[data-live], link, script")) node.remove();
  for (const node of page.querySelectorAll("[data-shared]")) node.hidden = false;
  const nonce = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; base-uri 'none'; form-action 'none'`;
  // As text: elements of a parsed page would be refused by the policy of this one.
  return [
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<link rel="icon" href="data:,">',
    page.head.innerHTML.replace('<meta charset="utf-8">', "").trim(),
    `<style nonce="${nonce}">\n${style}</style>\n</head>\n<body>${page.body.innerHTML}`,
    // Within a script element no text may look like its end.
    `<script type="application/json" id="shared-data">${JSON.stringify(data).replaceAll("<", "\\u003c")}</script>`,
    `<script type="module" nonce="${nonce}">\n${code}\nshowShared();\n</script>\n</body>\n</html>\n`,
  ].join("\n");
};

const ownText = (name) => textOf(new URL(name, import.meta.url));

export const download = (text, name, type) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
};

// The data of a shared page or data file.
export const readShared = (text) => {
  const page = text.trimStart().startsWith("<") && new DOMParser().parseFromString(text, "text/html");
  let data;
  try {
    data = JSON.parse(page ? page.getElementById("shared-data")?.textContent : text);
  } catch {
    throw new Error("This is no file of the playground.");
  }
  if (data?.format !== FORMAT || !isShared(data)) throw new Error("This is no file of the playground.");
  return data;
};

const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isCount = (value) => Number.isInteger(value) && value >= 0 && value <= MOST_POSITIONS;
const isList = (value, test) => Array.isArray(value) && value.every(test);

const isCommit = (commit) => isCount(commit?.position) && isText(commit.text) && isNumber(commit.confidence);
const isFrame = (frame) => Number.isInteger(frame?.step) && frame.step >= -1 && frame.step <= MOST_POSITIONS
  && isList(frame.commits, isCommit) && isList(frame.reopened ?? [], isCount)
  && (frame.p_eos == null || isNumber(frame.p_eos));
const isSide = (side) => isText(side?.model) && isList(side.rules, (rule) => isText(rule) || isText(rule?.rule));
const isRun = (run) => isSide(run) && isCount(run.length) && isList(run.frames, isFrame)
  && isText(run.text) && isText(run.verdict);
const isRequest = (request) => isList(request?.messages, (turn) => isText(turn?.role) && isText(turn.content))
  && ["max_tokens", "steps", "block_length", "temperature", "seed"].every((name) => request[name] === null || isNumber(request[name]))
  && isText(request.canvas) && isList(request.anchors, (one) => isCount(one?.position) && isText(one.text))
  && isList(request.sides, isSide) && [1, 2].includes(request.sides.length);
const isShared = (data) => isText(data.made) && isRequest(data.request)
  && isList(data.runs, isRun) && [1, 2].includes(data.runs.length);
