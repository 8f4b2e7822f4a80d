// One request to one model: its body, and what its events leave in a run.

import { streamChat } from "./api.js";

export const newRun = (side, request) => ({
  model: side.model,
  rules: side.rules,
  length: request.max_tokens ?? 0,
  frames: [],
  text: "",
  verdict: "",
  state: "idle",
});

const bodyOf = (run, request) => {
  const { messages, max_tokens, temperature, seed, steps, block_length, canvas, anchors } = request;
  const own = { steps, block_length, canvas: canvas || null, anchors, rules: run.rules, frames: true };
  const body = { model: run.model, messages, max_tokens, temperature, seed, stream: true };
  return { ...given(body), midspan: given(own) };
};

// What was left empty is the server's to choose.
const given = (fields) => Object.fromEntries(Object.entries(fields)
  .filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0)));

// Fill `run` from the server, and call `onChange` at every event; an error ends in `run.state`.
export const perform = async (run, request, signal, onChange) => {
  Object.assign(run, { state: "running", verdict: "waiting" });
  try {
    for await (const event of streamChat(bodyOf(run, request), signal)) {
      take(run, event);
      onChange();
    }
    Object.assign(run, { state: "done", verdict: outcome(run) });
  } catch (error) {
    const cancelled = error.name === "AbortError";
    Object.assign(run, { state: cancelled ? "cancelled" : "failed", verdict: cancelled ? "stopped" : "failed" });
    if (!cancelled) throw error;
  } finally {
    onChange();
  }
};

const take = (run, event) => {
  const { frame, forwards, rejected_by: rejectedBy } = event.midspan ?? {};
  const choice = event.choices?.[0];
  if (frame) {
    run.frames.push(frame);
    run.length = frame.length;
    run.verdict = "filling";
  }
  if (choice?.delta?.content) run.text += choice.delta.content;
  if (choice?.finish_reason) run.finish = choice.finish_reason;
  if (forwards !== undefined) run.forwards = forwards;
  if (rejectedBy) run.rejectedBy = rejectedBy;
};

const outcome = (run) => {
  const cost = run.forwards === undefined ? "" : `, ${run.forwards} forwards`;
  return `${run.rejectedBy ? `rejected by ${run.rejectedBy}` : "finished"}${cost}`;
};
