// The labelling page: shows what /api/state says, takes an answer, sends it, shows the next.
//
// Captions, names and reasons are put in as text only (fault 55). What was chosen and written but
// not saved yet survives a reload.
import { Pace } from "./pace.js";
import { Player } from "./player.js";
import { Refused, forget, insist, newKey, pending, remember } from "./sending.js";

const id = (name) => document.getElementById(name);
const NAMES = [
  "play", "back", "forward", "scrubber", "time", "half", "zoom", "stage", "work", "done", "notice",
  "status", "progress", "count", "pace", "undo", "help", "caption", "steps", "question", "hint",
  "choices", "reason", "save", "phrases", "form", "keys", "rest", "rested", "sum", "thanks",
];
const page = Object.fromEntries(NAMES.map((name) => [name, id(name)]));
const CHOICES = {
  pair: [
    ["a", "A", "A is better"], ["tie", "T", "Tie"], ["b", "B", "B is better"],
    ["abstain", "X", "Cannot tell"],
  ],
  point: [
    ["good", "G", "Good"], ["normal", "N", "Normal"], ["bad", "B", "Bad"],
    ["abstain", "X", "Cannot tell"],
  ],
};
const SPOKEN = { a: "A", b: "B", tie: "tie", abstain: "cannot tell" };
const DRAFT = "dualipo.draft";

const player = new Player(page);
const pace = new Pace(Number(document.body.dataset.breakMinutes));
let state = null;
let shownAt = 0;
let busy = false;

const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

const notice = (text) => {
  page.notice.hidden = !text;
  page.notice.textContent = text || "";
};

const offline = (isOff, why) => {
  notice(isOff ? `Not saved yet, trying again (${why}). Nothing is lost: your answer is kept here.` : "");
};

const chosen = () => page.choices.querySelector("input:checked")?.value || "";

const place = () => `${state.step.task} ${state.step.dimension}`;

const keepDraft = () => {
  if (!state?.step) return;
  const draft = { place: place(), outcome: chosen(), reason: page.reason.value };
  sessionStorage.setItem(DRAFT, JSON.stringify(draft));
};

const draft = () => {
  try {
    const kept = JSON.parse(sessionStorage.getItem(DRAFT));
    return kept?.place === place() ? kept : null;
  } catch {
    return null;
  }
};

// Showing

const mark = () => {
  const outcome = chosen();
  page.save.disabled = !outcome || busy;
  for (const figure of page.stage.querySelectorAll("figure")) {
    const wins = figure.dataset.side === outcome || (outcome === "tie" && state.step.kind === "pair");
    figure.classList.toggle("chosen", wins);
  }
};

const choose = (outcome) => {
  const input = page.choices.querySelector(`input[value="${outcome}"]`);
  if (!input) return;
  input.checked = true;
  mark();
  keepDraft();
};

const showSteps = (step) => {
  page.steps.replaceChildren(...step.dimensions.map(({ name, answer }) => {
    const item = make("li", name);
    if (name === step.dimension) item.setAttribute("aria-current", "step");
    if (answer) item.append(make("span", SPOKEN[answer] || answer, { class: "given" }));
    return item;
  }));
};

const showChoices = (step) => {
  page.choices.replaceChildren(...CHOICES[step.kind].map(([value, key, text]) => {
    const label = make("label", "", { class: `choice ${value}` });
    const input = make("input", "", { type: "radio", name: "outcome", value });
    input.setAttribute("aria-keyshortcuts", key);
    label.append(input, make("span", text), make("kbd", key, { "aria-hidden": "true" }));
    return label;
  }));
};

const showPhrases = (step) => {
  page.phrases.replaceChildren(...step.reasons.map((reason, n) => {
    const button = make("button", "", { type: "button", class: "phrase" });
    button.append(make("kbd", String(n + 1)), make("span", reason));
    button.addEventListener("click", () => useReason(n));
    return button;
  }));
};

const useReason = (n) => {
  const reason = state.step.reasons[n];
  if (!reason) return;
  page.reason.value = reason;
  keepDraft();
};

const showProgress = ({ done, left, answers }, step) => {
  const parts = step ? step.dimensions.filter(({ answer }) => answer).length / step.dimensions.length : 0;
  page.progress.max = Math.max(done + left, 1);
  page.progress.value = done + parts;
  page.count.textContent = `${done} of ${done + left}`;
  const rate = pace.rate();
  page.pace.textContent = rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} answers a minute` : "";
  page.sum.textContent = `You gave ${answers} answers. You may close this page, or undo the last one.`;
};

const showClips = (step, isNew) => {
  if (!isNew) return;
  notice("");
  player.load(step.clips, (side, why) => {
    notice(`Clip ${side.toUpperCase()} cannot be shown (${why}). If that does not change, answer “Cannot tell”.`);
  });
};

const show = (next, { undone, quiet } = {}) => {
  const before = state?.step;
  state = next;
  const { step } = next;
  page.undo.disabled = !next.can_undo;
  showProgress(next.progress, step);
  page.work.hidden = !step;
  page.done.hidden = Boolean(step);
  if (!step) {
    player.pause();
    page.thanks.focus();
    return;
  }
  document.body.classList.toggle("is-point", step.kind === "point");
  page.caption.textContent = step.caption;
  page.question.textContent = step.question.text;
  page.hint.textContent = step.question.hint;
  showSteps(step);
  showChoices(step);
  showPhrases(step);
  const kept = undone || draft();
  page.reason.value = kept?.reason || "";
  if (kept?.outcome) choose(kept.outcome);
  mark();
  showClips(step, before?.task !== step.task);
  player.prefetch(next.ahead.flatMap((urls) => Object.values(urls)));
  shownAt = performance.now();
  // The heading takes the focus: a screen reader reads the question, and letters are keys again.
  if (!quiet) page.question.focus({ preventScroll: true });
};

// Saving

const refused = async (failure) => {
  if (!(failure instanceof Refused)) throw failure;
  forget();
  if (failure.status === 401) {
    notice(`${failure.message}. What you saved is safe.`);
    return;
  }
  show(await insist("/api/state", null, offline), { quiet: true });
  notice(`That answer was not taken (${failure.message}); this is your current question.`);
};

const send = async (path, body, then) => {
  if (busy) return;
  busy = true;
  mark();
  remember(path, body, state.person);
  try {
    const received = await insist(path, body, offline);
    forget();
    busy = false;
    then(received);
  } catch (failure) {
    busy = false;
    await refused(failure);
  }
};

const save = () => {
  const outcome = chosen();
  if (!state?.step || !outcome) {
    page.status.textContent = "Choose an answer first.";
    return;
  }
  const { task, dimension } = state.step;
  const seconds = Math.min((performance.now() - shownAt) / 1000, 86_400);
  const body = { key: newKey(), task, dimension, outcome, reason: page.reason.value, seconds };
  send("/api/answers", body, (received) => {
    sessionStorage.removeItem(DRAFT);
    pace.note();
    page.status.textContent = `Saved: ${SPOKEN[outcome] || outcome} for ${dimension}.`;
    show(received);
    remindOfRest();
  });
};

const undo = () => {
  if (!state?.can_undo) return;
  send("/api/undo", { key: newKey() }, (received) => {
    page.status.textContent = "Your last answer was taken back. You can change it now.";
    show(received, { undone: received.undone });
    keepDraft();
  });
};

const remindOfRest = () => {
  const minutes = pace.tooLong();
  if (!minutes || !page.rest.hidden) return;
  page.rested.textContent = `You have labelled for ${minutes} minutes. Tired eyes miss things: take a short break.`;
  page.rest.hidden = false;
};

const restOver = () => {
  page.rest.hidden = true;
  pace.rest();
};

// Keys

const KEYS = {
  " ": () => player.toggle(),
  ArrowLeft: () => player.step(-1),
  ArrowRight: () => player.step(1),
  h: () => player.toggleHalf(),
  z: () => player.zoom(),
  r: () => page.reason.focus(),
  u: undo,
  Enter: save,
  "?": () => page.keys.showModal(),
};
const PANS = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };
const OWN_KEYS = {
  radio: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", " "],
  range: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"],
  button: [" ", "Enter"],
  submit: [" ", "Enter"],
};

const act = (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.shiftKey && PANS[key]) return () => player.pan(...PANS[key]);
  if (/^[1-9]$/.test(key)) return () => useReason(Number(key) - 1);
  const choice = state?.step && CHOICES[state.step.kind].find((entry) => entry[1].toLowerCase() === key);
  return choice ? () => choose(choice[0]) : KEYS[key];
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || page.keys.open) return;
  const { target } = event;
  if (target === page.reason) {
    if (event.key === "Escape") page.question.focus();
    return;
  }
  if (event.key === "Escape" && !page.rest.hidden) restOver();
  if ((OWN_KEYS[target.type] || []).includes(event.key) && !event.shiftKey) return;
  const action = act(event);
  if (!action || (event.repeat && (event.key === "Enter" || event.key === "u"))) return;
  event.preventDefault();
  action();
});

page.form.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
page.choices.addEventListener("change", () => {
  mark();
  keepDraft();
});
page.reason.addEventListener("input", keepDraft);
page.undo.addEventListener("click", undo);
page.help.addEventListener("click", () => page.keys.showModal());
id("rest-over").addEventListener("click", restOver);

// Beginning: first what an earlier visit could not send, then what is asked now.

const begin = async () => {
  const first = await insist("/api/state", null, offline);
  const left = pending();
  if (!left || left.person !== first.person) {
    show(first);
    return;
  }
  state = first;
  send(left.path, left.body, (received) => show(received, { undone: received.undone }));
};

begin().catch((failure) => notice(`${failure.message}.`));
