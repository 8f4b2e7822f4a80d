// Calls of the server, on its own address alone; every failure is an error in words.

export class ServerError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let token = ""; // in memory alone: it is gone with the page

export const setToken = (value) => {
  token = value.trim();
};

const call = async (path, options = {}) => {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw new ServerError(await words(response), response.status);
  return response;
};

const words = async (response) => {
  const body = await response.json().catch(() => null);
  const said = body?.error?.message ?? `The server answered with status ${response.status}.`;
  const wait = response.headers.get("Retry-After");
  return wait ? `${said} Try again in ${wait} s.` : said;
};

const list = async (path) => (await (await call(path)).json()).data;

export const listModels = () => list("/v1/models");

export const listRules = () => list("/v1/midspan/rules");

// The events of one answer, as the server sends them; ends at [DONE].
export async function* streamChat(body, signal) {
  const response = await call("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ServerError(event.error.message);
    yield event;
  }
  throw new ServerError("The answer broke off. Is the server still running?");
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The answer broke off. Is the server still running?");
  } finally {
    reader.cancel().catch(() => {});
  }
}
