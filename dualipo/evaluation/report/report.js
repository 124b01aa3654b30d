// Plays all clips in step: one button, one scrubber. The first clip that can play leads; another
// is moved when it is more than TOLERANCE apart, measured around the loop.
"use strict";
(() => {
  const TOLERANCE = 0.06;
  const videos = [...document.querySelectorAll("video")];
  const button = document.getElementById("play");
  const scrubber = document.getElementById("scrubber");
  const time = document.getElementById("time");
  if (!button || !videos.length) return;

  let playing = false;
  const leader = () => videos.find((video) => video.readyState >= 2) || videos[0];
  const length = (video) => (Number.isFinite(video.duration) ? video.duration : 0);

  const setPlaying = (on) => {
    playing = on;
    button.textContent = on ? "Pause" : "Play";
    for (const video of videos) {
      if (on) video.play().catch(() => {});
      else video.pause();
    }
  };

  const show = (lead) => {
    time.textContent = `${lead.currentTime.toFixed(2)} s`;
    if (length(lead)) scrubber.value = String((1000 * lead.currentTime) / length(lead));
  };

  const follow = (lead) => {
    for (const video of videos) {
      if (video === lead || !length(video)) continue;
      const apart = Math.abs(video.currentTime - lead.currentTime);
      const around = Math.min(apart, Math.abs(length(lead) - apart));
      if (around > TOLERANCE && !video.seeking) video.currentTime = lead.currentTime % length(video);
    }
  };

  const tick = () => {
    if (playing) {
      const lead = leader();
      follow(lead);
      show(lead);
    }
    requestAnimationFrame(tick);
  };

  button.addEventListener("click", () => setPlaying(!playing));
  scrubber.addEventListener("input", () => {
    setPlaying(false);
    for (const video of videos) video.currentTime = (length(video) * scrubber.value) / 1001;
    time.textContent = `${((length(leader()) * scrubber.value) / 1001).toFixed(2)} s`;
  });
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  tick();
})();
