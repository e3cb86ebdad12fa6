// The page's own script: plays sound that is still being made, keys, light and dark.
(() => {
  "use strict";

  // ---- sound on its way: live.py sends the rate (4 bytes) and then 16-bit samples ----
  class LivePlayer {
    constructor(token, box) {
      this.box = box;
      this.made = 0;
      this.at = 0;
      this.stopped = false;
      this.finished = false;
      this.context = new AudioContext();
      this.read(token);
      this.timer = setInterval(() => this.show(), 150);
    }
    async read(token) {
      const base = location.pathname.replace(/\/?$/, "/");
      const response = await fetch(`${base}live/${token}`);
      if (!response.ok) return this.stop();
      const reader = response.body.getReader();
      let rest = new Uint8Array(0);
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.stopped) break;
        const bytes = new Uint8Array(rest.length + value.length);
        bytes.set(rest);
        bytes.set(value, rest.length);
        rest = this.take(bytes);
      }
      this.finished = true;
      if (this.stopped) reader.cancel();
    }
    take(bytes) {
      let start = 0;
      if (!this.rate) {
        if (bytes.length < 4) return bytes;
        this.rate = new DataView(bytes.buffer).getUint32(0, true);
        start = 4;
      }
      const count = (bytes.length - start) >> 1;
      if (count === 0) return bytes.slice(start);
      const view = new DataView(bytes.buffer, start);
      const buffer = this.context.createBuffer(1, count, this.rate);
      const samples = buffer.getChannelData(0);
      for (let i = 0; i < count; i++) samples[i] = view.getInt16(2 * i, true) / 32768;
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.context.destination);
      this.at = Math.max(this.at, this.context.currentTime + 0.06); // behind what is there; a little late after a gap
      source.start(this.at);
      this.at += buffer.duration;
      this.made += buffer.duration;
      return bytes.slice(start + 2 * count);
    }
    get left() {
      return Math.max(0, this.at - this.context.currentTime);
    }
    toggle() {
      if (this.context.state === "running") this.context.suspend();
      else this.context.resume();
    }
    show() {
      if (this.stopped) return;
      const played = Math.max(0, this.made - this.left);
      const paused = this.context.state !== "running";
      if (this.finished && this.left === 0 && !paused) return this.stop();
      this.box.hidden = this.made === 0;
      this.box.querySelector(".live-time").textContent = `${played.toFixed(1)} s of ${this.made.toFixed(1)} s made`;
      const button = this.box.querySelector("button");
      button.textContent = paused ? "Play" : "Pause";
      this.box.querySelector(".live-bar span").style.width = `${this.made ? (100 * played) / this.made : 0}%`;
      document.documentElement.dataset.livePlayed = played.toFixed(2);
    }
    stop() {
      if (this.stopped) return;
      this.stopped = true;
      clearInterval(this.timer);
      this.context.close();
      this.box.hidden = true;
      if (player === this) player = null;
    }
  }

  let player = null;
  const begun = new Set();
  function look() {
    for (const element of document.querySelectorAll("[data-live]")) {
      const token = element.dataset.live;
      const box = element.closest(".outcome")?.querySelector(".live-player");
      if (!token || begun.has(token) || !box) continue;
      begun.add(token);
      player?.stop();
      player = new LivePlayer(token, box);
      box.querySelector("button").onclick = () => player?.toggle();
    }
    for (const element of document.querySelectorAll("[data-halt]")) if (begun.has(element.dataset.halt)) player?.stop();
  }
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest?.(".finished-sound")) player?.stop(); // the finished sound takes over
  });

  // ---- keys: Ctrl+Enter begins what the open tab does, Escape stops it ----
  const visible = (selector) => [...document.querySelectorAll(selector)].find((found) => found.offsetParent !== null);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const button = visible("button.begin");
      if (!button) return;
      event.preventDefault();
      document.activeElement?.dispatchEvent(new Event("input", { bubbles: true }));
      setTimeout(() => button.click(), 50); // after the text box has told its value
    } else if (event.key === "Escape") {
      visible("button.halt")?.click();
    }
  });

  // ---- light and dark: the system's choice until the reader chooses ----
  const remember = "speechgen-look";
  function dress() {
    const chosen = localStorage.getItem(remember);
    if (chosen && document.body) document.body.classList.toggle("dark", chosen === "dark");
    const button = document.querySelector("#look-switch");
    if (button) button.textContent = document.body.classList.contains("dark") ? "Light" : "Dark";
  }
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#look-switch")) return;
    localStorage.setItem(remember, document.body.classList.contains("dark") ? "light" : "dark");
    dress();
  });

  function begin() {
    new MutationObserver(() => look()).observe(document.body, {
      childList: true, subtree: true, attributes: true, attributeFilter: ["data-live", "data-halt"],
    });
    const dressing = setInterval(dress, 300); // Gradio sets its own choice while it starts
    setTimeout(() => clearInterval(dressing), 6000);
    dress();
  }
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
