// What both pages share: asking the server, however long it takes to answer.

export const find = (id) => document.getElementById(id);
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export function tell(text) {
  find("notice").textContent = text;
}

// The server's answer, {ok, status, ...}. While there is none, or it has a fault, `meanwhile` is told and it is asked
// again: so it may be killed and started anew, and nobody loses a vote.
export async function ask(path, body, meanwhile) {
  for (;;) {
    const response = await once(path, body);
    if (response !== null && response.status < 500) {
      tell("");
      return response;
    }
    tell(`${response?.error ?? "The server does not answer"}. ${meanwhile}`);
    await pause(1000);
  }
}

export async function once(path, body) {
  const json = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  try {
    const response = await fetch(path, body === undefined ? {} : json);
    return { ok: response.ok, status: response.status, ...(await response.json()) };
  } catch {
    return null; // nobody there, or killed in the middle of the answer
  }
}
