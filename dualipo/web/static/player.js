// Plays the clips of a question in step: one clock, one scrubber, frames, half speed, one zoom.
//
// Clips are fetched whole and played from memory, so that seeking is exact and the next ones are
// there before they are needed. The longest clip leads; another is moved when it is more than
// TOLERANCE off, and rests on its last frame when it is shorter.
const TOLERANCE = 0.05;
const ZOOMS = [1, 2, 4];
const SMALL = 200; // narrower clips keep their pixels when they are enlarged

export class Player {
  constructor(page) {
    this.page = page;
    this.figures = [...page.stage.querySelectorAll("figure")];
    this.clips = [];
    this.kept = new Map(); // address -> promise of what plays it
    this.playing = false;
    this.zoomed = 0;
    this.centre = [50, 50];
    page.play.addEventListener("click", () => this.toggle());
    page.back.addEventListener("click", () => this.step(-1));
    page.forward.addEventListener("click", () => this.step(1));
    page.half.addEventListener("click", () => this.toggleHalf());
    page.zoom.addEventListener("click", () => this.zoom());
    page.scrubber.addEventListener("input", () => {
      const wanted = Number(page.scrubber.value); // pausing shows, and sets, where the clips are
      this.pause();
      this.goto(wanted);
    });
    page.stage.addEventListener("pointermove", (event) => this.follow(event));
    const tick = () => {
      if (this.playing) this.keepStep();
      requestAnimationFrame(tick);
    };
    tick();
  }

  // Show these clips; `report` is called with one that cannot be played.
  async load(clips, report) {
    this.pause();
    this.clips = [];
    this.setZoom(0);
    this.figures.forEach((figure, n) => { figure.hidden = n >= clips.length; });
    this.page.stage.classList.toggle("alone", clips.length === 1);
    const loaded = clips.map((clip, n) => this.place(this.figures[n], clip, report));
    this.clips = (await Promise.all(loaded)).filter(Boolean);
    this.forget(clips.map((clip) => clip.url));
    this.page.scrubber.max = String(Math.max(this.numFrames() - 1, 1));
    this.goto(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
    this.show();
  }

  prefetch(addresses) {
    for (const url of addresses) this.fetched(url).catch(() => this.kept.delete(url));
    this.ahead = addresses;
  }

  fetched(url) {
    if (!this.kept.has(url)) {
      this.kept.set(url, fetch(url).then(async (answer) => {
        if (!answer.ok) throw new Error((await answer.json()).error);
        return URL.createObjectURL(await answer.blob());
      }));
    }
    return this.kept.get(url);
  }

  forget(needed) {
    for (const [url, promise] of this.kept) {
      if (needed.includes(url) || (this.ahead || []).includes(url)) continue;
      promise.then(URL.revokeObjectURL, () => {});
      this.kept.delete(url);
    }
  }

  async place(figure, clip, report) {
    const video = figure.querySelector("video");
    const ratio = clip.height ? clip.width / clip.height : 1;
    figure.style.setProperty("--ratio", String(ratio));
    figure.classList.toggle("small", clip.width > 0 && clip.width < SMALL);
    figure.classList.remove("broken");
    try {
      const source = await this.fetched(clip.url);
      await new Promise((resolve, reject) => {
        video.onloadeddata = resolve;
        video.onerror = () => reject(new Error("it does not play"));
        video.src = source;
      });
    } catch (failure) {
      this.kept.delete(clip.url);
      figure.classList.add("broken");
      video.removeAttribute("src");
      report(figure.dataset.side, failure.message);
      return null;
    }
    video.playbackRate = this.rate();
    const fps = clip.fps || 8;
    return { video, fps, length: clip.frames ? clip.frames / fps : video.duration };
  }

  // One clock

  lead() {
    return this.clips.reduce((a, b) => (b.length > a.length ? b : a), this.clips[0]);
  }

  numFrames() {
    const lead = this.lead();
    return lead ? Math.max(1, Math.round(lead.length * lead.fps)) : 1;
  }

  frame() {
    const lead = this.lead();
    if (!lead) return 0;
    return Math.min(Math.floor(lead.video.currentTime * lead.fps + 0.01), this.numFrames() - 1);
  }

  goto(frame) {
    const lead = this.lead();
    if (!lead) return;
    // The middle of a frame: at its edge browsers differ on which one they show.
    const time = (Math.min(Math.max(frame, 0), this.numFrames() - 1) + 0.5) / lead.fps;
    for (const clip of this.clips) {
      clip.video.currentTime = Math.min(time, clip.length - 0.5 / clip.fps);
    }
    this.show(Math.floor(time * lead.fps));
  }

  step(by) {
    const at = this.frame();
    this.pause();
    this.goto(at + by);
  }

  play() {
    this.playing = true;
    for (const clip of this.clips) clip.video.play().catch(() => {});
    this.show();
  }

  pause() {
    this.playing = false;
    for (const clip of this.clips) clip.video.pause();
    this.show();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  keepStep() {
    const lead = this.lead();
    if (!lead) return;
    if (lead.video.ended) {
      for (const clip of this.clips) {
        clip.video.currentTime = 0;
        clip.video.play().catch(() => {});
      }
    }
    for (const clip of this.clips) {
      if (clip === lead || clip.video.ended || clip.video.seeking) continue;
      const time = lead.video.currentTime;
      if (time < clip.length && Math.abs(clip.video.currentTime - time) > TOLERANCE) {
        clip.video.currentTime = time;
      }
    }
    this.show();
  }

  show(frame = this.frame()) {
    const { scrubber, time, play } = this.page;
    const text = `${frame + 1} / ${this.numFrames()}`;
    if (scrubber.value !== String(frame)) scrubber.value = String(frame);
    if (time.textContent !== text) {
      time.textContent = text;
      scrubber.setAttribute("aria-valuetext", `frame ${frame + 1} of ${this.numFrames()}`);
    }
    const name = this.playing ? "Pause" : "Play";
    if (play.textContent !== name) play.textContent = name;
  }

  rate() {
    return this.page.half.getAttribute("aria-pressed") === "true" ? 0.5 : 1;
  }

  toggleHalf() {
    this.page.half.setAttribute("aria-pressed", String(this.rate() === 1));
    for (const clip of this.clips) clip.video.playbackRate = this.rate();
  }

  // One zoom

  zoom() {
    this.setZoom((this.zoomed + 1) % ZOOMS.length);
  }

  setZoom(level) {
    this.zoomed = level;
    if (!level) this.centre = [50, 50];
    this.page.zoom.textContent = `Zoom ${ZOOMS[level]}×`;
    this.look();
  }

  pan(right, down) {
    const clamp = (value) => Math.min(Math.max(value, 0), 100);
    this.centre = [clamp(this.centre[0] + right), clamp(this.centre[1] + down)];
    this.look();
  }

  follow(event) {
    const frame = event.target.closest(".frame");
    if (!frame || !this.zoomed) return;
    const box = frame.getBoundingClientRect();
    this.centre = [
      (100 * (event.clientX - box.left)) / box.width,
      (100 * (event.clientY - box.top)) / box.height,
    ];
    this.look();
  }

  look() {
    for (const figure of this.figures) {
      const { style } = figure.querySelector("video");
      style.transform = `scale(${ZOOMS[this.zoomed]})`;
      style.transformOrigin = `${this.centre[0]}% ${this.centre[1]}%`;
    }
  }
}
