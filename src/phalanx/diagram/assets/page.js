// What keys and buttons do, and the beginning.

function toggleFilters() {
  const box = by("filters");
  box.hidden = !box.hidden;
  by("show-filters").setAttribute("aria-expanded", String(!box.hidden));
  redraw();
}

function nextTheme() {
  const root = document.documentElement;
  const now = ["", "light", "dark"].indexOf(root.className);
  root.className = ["", "light", "dark"][(now + 1) % 3];
  readColours();
  drawLegend();
  redraw();
}

const LIFE = new Set(["crash", "start", "out", "failure", "pause", "resume"]);
const VIEWS = new Set(["install"]);
const fifth = () => (shown.high - shown.low) / 5;
const ACTIONS = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  "Shift ArrowRight": () => step(1, shown.line >= 0 ? data.lines[shown.line].lane : undefined),
  "Shift ArrowLeft": () => step(-1, shown.line >= 0 ? data.lines[shown.line].lane : undefined),
  ArrowUp: () => stepAcross(-1), ArrowDown: () => stepAcross(1), Enter: follow,
  v: () => stepMarks(1, VIEWS), V: () => stepMarks(-1, VIEWS), c: () => stepMarks(1, LIFE), C: () => stepMarks(-1, LIFE),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "−": () => zoom(1 / 0.6),
  "[": () => pan(-fifth()), "]": () => pan(fifth()), 0: fit, z: near,
  Home: () => seen.lines.length && select(seen.lines[0]), End: () => seen.lines.length && select(seen.lines[seen.lines.length - 1]),
  s: () => setScale(shown.scale === timeScale ? orderScale : timeScale), f: toggleFilters, t: nextTheme, "?": () => by("keys").showModal(),
  "/": () => by("find").focus(), Escape: () => select(-1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || by("keys").open) return;
  if (event.target === by("find")) {
    if (event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") canvas.focus();
    return;
  }
  const isControl = event.target.closest("button, input, a, #split");
  if (isControl && (event.key === "Enter" || event.key.startsWith("Arrow"))) return;
  const action = (event.shiftKey && ACTIONS[`Shift ${event.key}`]) || ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

// --- the beginning ---

by("back").addEventListener("click", () => step(-1));
by("forward").addEventListener("click", () => step(1));
by("zoom-in").addEventListener("click", () => zoom(0.6));
by("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
by("fit").addEventListener("click", fit);
by("near").addEventListener("click", near);
by("by-time").addEventListener("click", () => setScale(timeScale));
by("by-order").addEventListener("click", () => setScale(orderScale));
by("show-filters").addEventListener("click", toggleFilters);
by("theme").addEventListener("click", nextTheme);
by("help").addEventListener("click", () => by("keys").showModal());
by("find").addEventListener("input", (event) => { find(event.target.value); tellFound(); drawRows(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); drawLegend(); redraw(); });
new ResizeObserver(() => { redraw(); drawRows(); }).observe(canvas);

readColours();
makeFilters();
makeKeys();
drawLegend();
applyFilter();
index(shown.scale);
fit();
drawRows();
drawDetails();
// What is linked to (#line=17) is selected, so a finding can be passed on.
function selectLinked() {
  const linked = /^#line=(\d+)$/.exec(location.hash);
  const line = linked ? Number(linked[1]) - 1 : -1;
  if (line >= 0 && line < data.lines.length && line !== shown.line) select(line);
}
window.addEventListener("hashchange", selectLinked);
selectLinked();
