// Everything that the votes say, once the session is finished.

import { ask, count, find, tell } from "./ask.js";

const AGAIN = "It is asked again.";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const whole = (number) => Math.round(number).toString().replace("-", "−");
const signed = (number) => (number < 0 ? "" : "+") + whole(number);
const percent = (share) => `${(100 * share).toFixed(0)} %`;
const between = ([low, high], write) => `${write(low)} to ${write(high)}`;
const record = ({ won, tied, lost }) => [won, tied, lost].map(String);

function table(head, rows) {
  const line = (tag, cells) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell)));
  const body = make("tbody", {}, ...rows.map((row) => line("td", row)));
  return make("div", { className: "scroll" }, make("table", {}, make("thead", {}, line("th", head)), body));
}

function scale(row, low, high) {
  const place = (rating) => (100 * (rating - low)) / (high - low || 1);
  const reach = make("span", { className: "reach" });
  const point = make("span", { className: "point" });
  const [from, to] = row.interval.map(place);
  Object.assign(reach.style, { left: `${from}%`, width: `${to - from}%` });
  point.style.left = `${place(row.rating)}%`;
  return make("div", { className: "scale" }, reach, point);
}

function ratings({ standings }) {
  const [low, high] = [Math.min, Math.max].map((extreme) => extreme(...standings.flatMap((row) => row.interval)));
  const rows = standings.map((row) => [
    row.name, whole(row.rating), scale(row, low, high), between(row.interval, whole), ...record(row.record),
  ]);
  return table(["", "rating", "", "95 %", "won", "tied", "lost"], rows);
}

function duels({ duels }) {
  const rows = duels.map((row) => [
    `${row.first} against ${row.second}`, signed(row.lead), between(row.interval, signed), ...record(row.record),
    row.verdict,
  ]);
  return table(["", "lead", "95 %", "won", "tied", "lost", "better"], rows);
}

function shares({ ties, left }) {
  const row = (name, share) => [name, percent(share.share), between(share.interval95, percent), `of ${share.n}`];
  return table(
    ["", "share", "95 %", "votes"],
    [row("ties", ties), row("left, where one was picked (chance: 50 %)", left)],
  );
}

function vote(one) {
  const side = (name) =>
    make(
      "figure",
      { className: one.choice === name ? "chosen" : "" },
      make("img", { src: `/picture/${one.token}/${name}`, alt: `the ${name} picture`, loading: "lazy" }),
      make("figcaption", {}, one[name]),
    );
  const neither = make("small", { hidden: one.choice !== "tie" }, "neither");
  return make("article", {}, make("p", { dir: "auto" }, one.prompt), side("left"), side("right"), neither);
}

function render(answer) {
  find("votes").textContent = `${count(answer.votes, "vote")} on ${count(answer.prompts, "prompt")}`;
  if (answer.votes === 0) return tell("There are no votes yet. Start limner arena again to cast some.");
  const votes = answer.all.toReversed().map(vote);
  find("table").replaceChildren(
    make("h1", {}, "Results"),
    ratings(answer),
    make("ul", { className: "notes" }, ...answer.notes.map((note) => make("li", {}, note))),
    make("h2", {}, "Duels"),
    duels(answer),
    make("h2", {}, "Checks"),
    shares(answer),
    make("h2", {}, "Every vote, the last one first"),
    make("div", { className: "votes" }, ...votes),
  );
}

async function look() {
  const progress = await ask("/progress", undefined, AGAIN);
  if (!progress.ok) return tell(progress.error);
  find("votes").textContent = count(progress.votes, "vote");
  find("ending").hidden = progress.finished;
  if (progress.finished) render(await ask("/standings", undefined, AGAIN));
}

find("finish").addEventListener("click", async () => {
  await ask("/finish", {}, AGAIN);
  await look();
});
await look();
