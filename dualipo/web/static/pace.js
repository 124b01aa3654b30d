// Pace, and a word when it is time for a break. Only for the annotator's eyes; nothing is sent.
const MINUTE = 60_000;
const LONG = 2 * MINUTE; // a longer gap between two answers is not labelling
const RESTED = 5 * MINUTE;
const STORE = "dualipo.pace";

const now = () => performance.timeOrigin + performance.now();

export class Pace {
  constructor(breakMinutes) {
    this.limit = breakMinutes * MINUTE;
    try {
      this.times = JSON.parse(sessionStorage.getItem(STORE)) || [];
    } catch {
      this.times = [];
    }
  }

  note() {
    const last = this.times.at(-1);
    if (last && now() - last > RESTED) this.times = [];
    this.times.push(now());
    this.keep();
  }

  // Answers a minute over the last ten; null before there are three.
  rate() {
    const recent = this.times.slice(-11);
    const gaps = recent.slice(1).map((time, n) => time - recent[n]).filter((gap) => gap < LONG);
    const total = gaps.reduce((sum, gap) => sum + gap, 0);
    return gaps.length > 1 && total ? (gaps.length * MINUTE) / total : null;
  }

  // Minutes without a rest, or 0 while it is not too long.
  tooLong() {
    const spent = this.times.length ? now() - this.times[0] : 0;
    return this.limit && spent >= this.limit ? Math.round(spent / MINUTE) : 0;
  }

  rest() {
    this.times = [];
    this.keep();
  }

  keep() {
    // The first stands for when the sitting began.
    if (this.times.length > 40) this.times = [this.times[0], ...this.times.slice(-20)];
    sessionStorage.setItem(STORE, JSON.stringify(this.times));
  }
}
