// Sends answers so that none is lost and none counts twice: what is not confirmed stays in the
// browser's storage under its key and is sent again, after a lost connection and after a reload.
const PENDING = "dualipo.pending";
const PAUSES = [500, 1000, 2000, 4000, 8000];

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// crypto.randomUUID is missing where the page is not served by TLS or from this machine.
export const newKey = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

const call = async (path, body) => {
  const options = body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, options);
  const received = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw new Refused(answer.status, received.error);
  return received;
};

// Repeats until the server has answered; `offline(true)` while there is no connection.
export const insist = async (path, body, offline) => {
  for (let n = 0; ; n += 1) {
    try {
      const received = await call(path, body);
      offline(false);
      return received;
    } catch (failure) {
      // 503: the server could not write; what it did not take is sent again.
      if (failure instanceof Refused && failure.status !== 503) {
        offline(false);
        throw failure;
      }
      offline(true, failure.message);
      await wait(PAUSES[Math.min(n, PAUSES.length - 1)]);
    }
  }
};

export const remember = (path, body, person) => {
  localStorage.setItem(PENDING, JSON.stringify({ path, body, person }));
};

export const forget = () => localStorage.removeItem(PENDING);

export const pending = () => {
  try {
    return JSON.parse(localStorage.getItem(PENDING));
  } catch {
    return null;
  }
};
