// The organiser's tables, renewed every few seconds. All of it is put in as text (fault 55).
const EVERY = 3000;
const id = (name) => document.getElementById(name);

const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

const percent = (share, num) => {
  if (share === null) return "—";
  return `${Math.round(100 * share)} %${num === undefined ? "" : ` of ${num}`}`;
};
const decimals = (value) => (value === null ? "—" : value.toFixed(2).replace("-", "−"));

const fill = (table, head, rows, empty) => {
  if (!rows.length) {
    table.replaceChildren(make("caption", empty));
    return;
  }
  const top = make("tr");
  top.append(...head.map((name) => make("th", name, { scope: "col" })));
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr");
    line.append(...row.map((cell, n) => (n ? make("td", cell) : make("th", cell, { scope: "row" }))));
    body.append(line);
  }
  const thead = make("thead");
  thead.append(top);
  table.replaceChildren(thead, body);
};

const tile = (name, value) => {
  const box = make("div");
  box.append(make("dt", name), make("dd", String(value)));
  return box;
};

const show = (figures) => {
  id("tiles").replaceChildren(
    tile("answers", figures.num_answers),
    tile("clips and pairs judged", `${figures.num_items_answered} of ${figures.num_items}`),
    tile("annotators", figures.annotators.length),
  );
  fill(
    id("annotators"),
    ["annotator", "answers", "seconds each", "first side", "ties", "cannot tell", "same as before", "gold right"],
    figures.annotators.map((person) => [
      person.name, String(person.num_answers), person.median_seconds === null ? "—" : person.median_seconds.toFixed(1),
      percent(person.share_first), percent(person.share_tie), percent(person.share_abstain),
      percent(person.with_self, person.num_repeats), percent(person.with_gold, person.num_gold),
    ]),
    "Nobody has answered yet.",
  );
  fill(
    id("agreement"),
    ["dimension", "asked of", "judged twice", "alpha", "alpha, ordinal"],
    figures.agreement.map((row) => [
      row.dimension, row.kind === "pair" ? "pairs" : "single clips", String(row.num_shared),
      decimals(row.alpha), decimals(row.alpha_ordinal),
    ]),
    "No answers yet.",
  );
  fill(
    id("kappas"),
    ["annotators", "dimension", "asked of", "shared", "kappa"],
    figures.agreement.flatMap((row) => row.kappas.map((pair) => [
      pair.annotators.join(" and "), row.dimension, row.kind === "pair" ? "pairs" : "single clips",
      String(pair.num), decimals(pair.kappa),
    ])),
    "No two people have judged the same clips yet.",
  );
};

const renew = async () => {
  try {
    const answer = await fetch("/api/organiser");
    const figures = await answer.json();
    if (!answer.ok) throw new Error(figures.error);
    show(figures);
    id("live").textContent = "live";
    id("live").classList.remove("lost");
  } catch (failure) {
    id("live").textContent = `not live: ${failure.message}`;
    id("live").classList.add("lost");
  }
  setTimeout(renew, EVERY);
};
renew();
