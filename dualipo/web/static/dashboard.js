// Keeps the page at the run's state: the server says that something changed, the page loads itself
// as a document (which runs nothing) and puts in the sections whose digest is another. Clips are
// fetched when they come into sight and played from memory, those of a row in step.
const TOLERANCE = 0.08;
const LEAST_PAUSE = 1000; // between two loads of the page
const id = (name) => document.getElementById(name);

// Clips

const fetched = new Map(); // address -> promise of an object URL
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

const fetchClip = (address) => {
  if (!fetched.has(address)) {
    const load = fetch(address).then(async (answer) => {
      if (!answer.ok) throw new Error(String(answer.status));
      return URL.createObjectURL(await answer.blob());
    });
    fetched.set(address, load);
    load.catch(() => fetched.delete(address));
  }
  return fetched.get(address);
};

const obey = (video) => {
  if (playing) video.play().catch(() => {});
  else video.pause();
};

const showGap = (video) => {
  const gap = document.createElement("div");
  gap.className = "gap";
  gap.textContent = "no clip";
  video.replaceWith(gap);
};

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) {
      target.pause();
    } else if (target.src) {
      obey(target);
    } else {
      fetchClip(target.dataset.src).then((address) => { target.src = address; obey(target); }, () => showGap(target));
    }
  }
}, { rootMargin: "200px" });

const watchClips = (part) => {
  for (const video of part.querySelectorAll("video")) seen.observe(video);
};

const forgetClips = () => {
  const shown = new Set([...document.querySelectorAll("video")].map((video) => video.dataset.src));
  for (const [address, load] of fetched) {
    if (shown.has(address)) continue;
    fetched.delete(address);
    load.then(URL.revokeObjectURL, () => {});
  }
};

const keepInStep = () => {
  for (const group of document.querySelectorAll("[data-together]")) {
    const videos = [...group.querySelectorAll("video")].filter((video) => video.readyState >= 2 && !video.paused);
    const [lead, ...others] = videos;
    for (const video of others) {
      const apart = Math.abs(video.currentTime - lead.currentTime);
      const around = Math.min(apart, Math.abs(lead.duration - apart));
      if (around > TOLERANCE && !video.seeking) video.currentTime = lead.currentTime % video.duration;
    }
  }
};
setInterval(keepInStep, 250);

const press = () => {
  id("play").textContent = playing ? "Pause" : "Play";
};
id("play").addEventListener("click", () => {
  playing = !playing;
  press();
  for (const video of document.querySelectorAll("video[src]")) obey(video);
});

// The page

const say = (text, isLost) => {
  id("live").textContent = text;
  id("live").classList.toggle("lost", isLost);
};

const load = () => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  request.open("GET", "/");
  request.responseType = "document";
  request.onload = () => (request.status === 200 ? resolve(request.response) : reject(new Error("the run cannot be read")));
  request.onerror = () => reject(new Error("the server does not answer"));
  request.send();
});

const touched = new Map(); // what the reader opened or closed stays so
document.addEventListener("click", (event) => {
  const folded = event.target.closest("summary")?.parentElement;
  if (folded?.id) touched.set(folded.id, !folded.open);
});

const putIn = (page) => {
  const main = document.querySelector("main");
  let before = null;
  for (const section of [...page.querySelectorAll("main > section")]) {
    const old = id(section.id);
    let now = old;
    if (!old || old.dataset.digest !== section.dataset.digest) {
      now = document.adoptNode(section);
      for (const folded of now.querySelectorAll("details[id]")) {
        if (touched.has(folded.id)) folded.open = touched.get(folded.id);
      }
      if (old) old.replaceWith(now);
      else if (before) before.after(now);
      else main.prepend(now);
      watchClips(now);
    }
    before = now;
  }
  document.body.dataset.mark = page.body.dataset.mark;
  forgetClips();
};

let wanted = document.body.dataset.mark;
let isLoading = false;

const renew = async () => {
  if (isLoading) return;
  isLoading = true;
  while (wanted !== document.body.dataset.mark) {
    const asked = wanted;
    try {
      const page = await load();
      putIn(page);
      say("live", false);
      // The page may be newer than what was asked for, never older.
      if (wanted === asked) wanted = document.body.dataset.mark;
    } catch (failure) {
      say(`not live: ${failure.message}`, true);
    }
    await new Promise((resolve) => setTimeout(resolve, LEAST_PAUSE));
  }
  isLoading = false;
};

const stream = new EventSource("/events");
stream.addEventListener("open", () => say("live", false));
stream.addEventListener("error", () => say("not live: the server does not answer", true));
stream.addEventListener("changed", (event) => {
  wanted = JSON.parse(event.data);
  renew();
});
press();
watchClips(document);
