// The shared page: what was asked and how the canvases were filled, without a server.

import { make } from "./lane.js";
import { Player, conversation } from "./player.js";

export const settingsOf = (request) => {
  const { max_tokens: tokens, steps, block_length: block, temperature, seed, canvas, anchors } = request;
  const parts = [
    tokens !== null && `${tokens} tokens`,
    steps !== null && `${steps} steps`,
    block !== null && `blocks of ${block}`,
    temperature !== null && `temperature ${temperature}`,
    seed !== null && `seed ${seed}`,
    canvas && `text with holes: ${canvas}`,
    ...anchors.map(({ position, text }) => `text at ${position}: ${text}`),
  ];
  return parts.filter(Boolean).join(", ");
};

export const showShared = () => {
  const { request, runs, made } = JSON.parse(document.getElementById("shared-data").textContent);
  const asked = document.getElementById("asked");
  asked.append(...conversation(request.messages), make("p", "progress", `${settingsOf(request)}; ${made}`));
  const player = new Player(document.getElementById("player"));
  player.load(runs);
  player.settle();
};
