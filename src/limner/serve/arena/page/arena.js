// Two pictures of a prompt, and a vote. The token of the pair and a vote that is not yet delivered are kept in the
// tab's storage: loading the page again shows the same pair, and a vote is sent until the server has it.

import { ask, count, find, once, pause, tell } from "./ask.js";

const SIDES = ["left", "right"];
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" };
const LONG = 100; // letters of a prompt that is set smaller
const NOTICED = 120; // milliseconds for which the choice is seen at least
const SETTLED = 180; // milliseconds in which nobody has looked at a new pair yet

let token = "";
let open = false; // for a vote

async function next() {
  const last = sessionStorage.getItem("token") ?? "";
  const answer = await ask("/pair", { token: last }, "It is asked again.");
  if (!answer.ok) return tell(answer.error);
  report(answer.progress);
  if (answer.pair) return show(answer.pair);
  if (answer.progress.finished) return location.assign("/results");
  find("prompt").textContent = answer.progress.fault ? "No pair could be drawn." : "The first pictures are being drawn.";
  await pause(1000);
  return next();
}

async function show(pair) {
  const images = SIDES.map((side) => Object.assign(new Image(), { src: `/picture/${pair.token}/${side}`, alt: "" }));
  try {
    await Promise.all(images.map((image) => image.decode())); // so that neither is seen before the other
  } catch {
    tell("A picture cannot be loaded. It is tried again.");
    await pause(1000);
    return next();
  }
  find("prompt").textContent = pair.prompt || "(no words at all)";
  find("prompt").classList.toggle("long", pair.prompt.length > LONG);
  SIDES.forEach((side, number) => find(side).replaceChildren(images[number]));
  sessionStorage.setItem("token", pair.token);
  token = pair.token;
  await pause(SETTLED);
  allow(true);
}

async function vote(choice) {
  if (!open) return;
  allow(false);
  find(choice).classList.add("chosen");
  sessionStorage.setItem("vote", JSON.stringify({ token, choice }));
  await Promise.all([deliver(), pause(NOTICED)]);
  find(choice).classList.remove("chosen");
  await next();
}

async function deliver() {
  const kept = sessionStorage.getItem("vote");
  if (kept === null) return;
  const answer = await ask("/vote", JSON.parse(kept), "Your vote is kept, and sent as soon as it does.");
  if (answer.status !== 401) sessionStorage.removeItem("vote"); // without the key it waits for the right address
  if (answer.ok) report(answer.progress);
}

function allow(yes) {
  open = yes;
  for (const choice of [...SIDES, "tie"]) find(choice).disabled = !yes;
}

function report(progress) {
  find("votes").textContent = count(progress.votes, "vote");
  find("drawing").hidden = progress.drawn === progress.total;
  find("bar").max = progress.total;
  find("bar").value = progress.drawn;
  find("drawn").textContent = progress.fault || `${progress.drawn} of ${progress.total}`;
}

async function watch() {
  while (!find("drawing").hidden) {
    await pause(2000);
    const answer = await once("/progress");
    if (answer?.ok) report(answer);
  }
}

// The second click of a double click may fall on the next pair, and a key that is held down on many: neither is a vote.
for (const choice of [...SIDES, "tie"]) {
  find(choice).addEventListener("click", (event) => event.detail > 1 || vote(choice));
}
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.key in KEYS || event.repeat) event.preventDefault();
  if (event.key in KEYS && !event.repeat) vote(KEYS[event.key]);
});

await deliver();
await next();
await watch();
