// What the reader does: zoom, pan, filter, step, find; with mouse, finger and keyboard.

const by = (id) => document.getElementById(id);
const hint = by("hint");
let waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); drawCounts(); });
}

function drawCounts() {
  const inSight = { marks: 0, lines: 0 };
  const from = shown.scale.from(shown.low), until = shown.scale.from(shown.high);
  inSight.marks = place(seen.marks, until, (mark) => mark.at_ns, true) - place(seen.marks, from, (mark) => mark.at_ns);
  inSight.lines = place(seen.lines, until, (line) => data.lines[line].at_ns, true) - place(seen.lines, from, (line) => data.lines[line].at_ns);
  const number = (count) => count.toLocaleString("en").replaceAll(",", "\u2009");
  Object.assign(by("counts").dataset, { ...inSight, messages: shown.drawn, from: Math.round(from), until: Math.round(until) });
  by("counts").textContent =
    `${number(shown.drawn)} of ${number(data.arrows.length)} messages and ${number(inSight.lines)} of ${number(data.lines.length)} events in sight, ` +
    `${seconds(Math.max(from, data.since_ns))} to ${seconds(Math.min(until, data.until_ns))} s`;
}

// --- the window ---

const LEAST = { time: 2000, order: 4 };

function setWindow(low, high) {
  const { begin, end, name } = shown.scale;
  const full = (end - begin) * 1.04;
  const long = Math.min(Math.max(high - low, LEAST[name]), full);
  const margin = (end - begin) * 0.02;
  let from = low + (high - low - long) / 2;
  from = Math.min(Math.max(from, begin - margin), Math.max(end + margin - long, begin - margin));
  shown.low = from;
  shown.high = from + long;
  hint.hidden = true;
  redraw();
  if (shown.line < 0) showTime(shown.scale.from(shown.low));
}

const fit = () => setWindow(shown.scale.begin - (shown.scale.end - shown.scale.begin) * 0.02, shown.scale.end + (shown.scale.end - shown.scale.begin) * 0.02);
const pan = (units) => setWindow(shown.low + units, shown.high + units);

function zoom(factor, x) {
  const middle = x === undefined ? (shown.line >= 0 && lineInSight() ? shown.scale.to(data.lines[shown.line].at_ns) : (shown.low + shown.high) / 2) : xUnit(x);
  const long = Math.min(Math.max((shown.high - shown.low) * factor, LEAST[shown.scale.name]), (shown.scale.end - shown.scale.begin) * 1.04);
  const share = (middle - shown.low) / (shown.high - shown.low);
  setWindow(middle - share * long, middle + (1 - share) * long);
}

// So near to the selected event, or else to the middle, that single messages can be told apart.
const NEAR_LINES = 30;
function near() {
  if (!seen.lines.length) return;
  const at = shown.line >= 0 ? data.lines[shown.line].at_ns : shown.scale.from((shown.low + shown.high) / 2);
  const here = place(seen.lines, at, (line) => data.lines[line].at_ns);
  const unit = (number) => shown.scale.to(data.lines[seen.lines[Math.min(Math.max(number, 0), seen.lines.length - 1)]].at_ns);
  const half = Math.max(shown.scale.to(at) - unit(here - NEAR_LINES), unit(here + NEAR_LINES) - shown.scale.to(at));
  setWindow(shown.scale.to(at) - half, shown.scale.to(at) + half);
}

function setScale(scale) {
  const from = shown.scale.from(Math.max(shown.low, shown.scale.begin)), until = shown.scale.from(Math.min(shown.high, shown.scale.end));
  shown.scale = scale;
  index(scale);
  setWindow(scale.to(from), scale.to(until));
  by("by-time").setAttribute("aria-pressed", String(scale === timeScale));
  by("by-order").setAttribute("aria-pressed", String(scale === orderScale));
}

const lineInSight = () => {
  const unit = shown.scale.to(data.lines[shown.line].at_ns);
  return unit >= shown.low && unit <= shown.high;
};

// --- selecting and stepping ---

function select(line, quietly) {
  shown.line = line;
  shown.arrow = null;
  hint.hidden = true;
  if (line >= 0 && !lineInSight()) {
    const unit = shown.scale.to(data.lines[line].at_ns), long = shown.high - shown.low;
    setWindow(unit - long * 0.35, unit + long * 0.65);
  }
  drawDetails();
  showRow(line);
  redraw();
  if (line >= 0 && !quietly) {
    const chosen = data.lines[line];
    by("said").textContent = `${chosen.lane < 0 ? "world" : laneName(chosen.lane)} at ${seconds(chosen.at_ns)}: ${chosen.text.slice(0, 160)}`;
  }
}

function step(by, lane) {
  let at = place(seen.lines, shown.line, undefined, by > 0 && shown.line >= 0);
  if (by < 0) at -= 1;
  while (at >= 0 && at < seen.lines.length) {
    if (lane === undefined || data.lines[seen.lines[at]].lane === lane) return select(seen.lines[at]);
    at += by;
  }
}

// To the event of the neighbouring process that is nearest in time.
function stepAcross(by) {
  if (shown.line < 0) return step(1);
  const here = data.lines[shown.line];
  const row = seen.lanes.indexOf(here.lane) + by;
  const lane = seen.lanes[here.lane < 0 ? 0 : row];
  if (lane === undefined) return;
  let best = -1;
  for (const number of seen.lines) {
    const line = data.lines[number];
    if (line.lane === lane && (best < 0 || Math.abs(line.at_ns - here.at_ns) < Math.abs(data.lines[best].at_ns - here.at_ns))) best = number;
  }
  if (best >= 0) select(best);
}

function stepMarks(by, sorts) {
  const at = shown.line >= 0 ? data.lines[shown.line].at_ns : shown.scale.from(shown.low);
  const found = seen.marks.filter((mark) => sorts.has(mark.sort) && mark.line >= 0 && (by > 0 ? mark.at_ns > at : mark.at_ns < at));
  const mark = by > 0 ? found[0] : found[found.length - 1];
  if (mark) select(mark.line);
}

// To the other end of a message of the selected event: where it was taken, or where it was made.
function follow() {
  if (shown.line < 0) return;
  const going = sentAt[shown.line].find((arrow) => arrowShown(arrow) && arrow.taken >= 0);
  const coming = takenAt[shown.line].find((arrow) => arrowShown(arrow) && arrow.asked >= 0);
  if (going) select(going.taken);
  else if (coming) select(coming.asked);
}

function nextMatch(by) {
  if (!matches.length) return;
  const at = place(matches, shown.line, undefined, by > 0) + (by > 0 ? 0 : -1);
  select(matches[(at + matches.length) % matches.length]);
  tellFound();
}

function tellFound() {
  const at = matches.indexOf(shown.line);
  by("found").textContent = by("find").value.trim() ? `${at < 0 ? "" : `${at + 1} of `}${matches.length} found` : "";
}

// --- what is under the pointer ---

function distance(x, y, x0, y0, x1, y1) {
  const dx = x1 - x0, dy = y1 - y0;
  const share = Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1), 0), 1);
  return Math.hypot(x - x0 - share * dx, y - y0 - share * dy);
}

function under(x, y) {
  if (x < LEFT - 8) return {};
  let best = { far: 7 };
  const near = 9 / perUnit();
  const from = shown.scale.from(xUnit(x) - near), until = shown.scale.from(xUnit(x) + near);
  for (let n = place(seen.marks, from, (mark) => mark.at_ns); n < seen.marks.length && seen.marks[n].at_ns <= until; n += 1) {
    const mark = seen.marks[n];
    const shift = { stable: 9, call: -7, note: -9 }[mark.sort] || 0;
    const far = Math.hypot(x - timeX(mark.at_ns), y - (mark.lane < 0 ? headroom - 8 : laneY[mark.lane] + shift));
    if (far < best.far + 1) best = { mark, far };
  }
  if (best.mark) return best;
  best = { far: 5 };
  eachArrow(xUnit(x) - near, xUnit(x) + near, (arrow, begin, end) => {
    if (arrow.source === arrow.target) return;
    const far = distance(x, y, ...geometry(arrow, begin, end));
    if (far < best.far) best = { arrow, far };
  });
  if (best.arrow) return best;
  const trouble = data.troubles.find((each) => {
    const top = trackY(each);
    return y >= top && y < top + TRACK && x >= timeX(each.begin_ns) - 2 && x <= timeX(each.end_ns) + 2;
  });
  if (trouble) return { trouble };
  const lane = seen.lanes.find((each) => Math.abs(laneY[each] - y) < 9);
  return lane === undefined ? {} : { lane, at: shown.scale.from(xUnit(x)) };
}

function showHint(found, x, y) {
  hint.replaceChildren();
  const say = (bold, rest, text) => {
    hint.append(element("b", bold), ` ${rest}`);
    if (text) hint.append(element("p", text));
  };
  if (found.mark) {
    const { lane, at_ns, text, sort } = found.mark;
    say(`${lane < 0 ? "world" : laneName(lane)}: ${sort}`, `at ${seconds(at_ns)} s`, data.texts[text]);
  } else if (found.arrow) {
    const arrow = found.arrow;
    say(`${data.kinds[arrow.kind].name} ${laneName(arrow.source)} → ${laneName(arrow.target)}`, `sent at ${seconds(arrow.begin_ns)} s, ${arrowText(arrow)}`, data.texts[arrow.text]);
  } else if (found.trouble) {
    const { text, begin_ns, end_ns } = found.trouble;
    say(data.texts[text].split(":")[0], `for ${duration(end_ns - begin_ns)}`, data.texts[text]);
  } else if (found.lane !== undefined) {
    const state = stateOf(found.lane, found.at), alive = isAlive(found.lane, found.at);
    say(laneName(found.lane), `at ${seconds(found.at)} s: ${alive ? (state ? data.texts[state.text] : "runs") : "down"}`);
  }
  hint.hidden = !hint.childNodes.length;
  if (hint.hidden) return;
  const stage = by("stage");
  hint.style.left = `${Math.max(4, Math.min(x + 14, stage.clientWidth - hint.offsetWidth - 6))}px`;
  hint.style.top = `${y + 18 + hint.offsetHeight > stage.clientHeight ? Math.max(4, y - hint.offsetHeight - 12) : y + 18}px`;
}

// The line of the trace that is nearest to a point: of what is under it, else of the lane.
function lineAt(found, x) {
  if (found.mark && found.mark.line >= 0) return found.mark.line;
  if (found.arrow) {
    const { asked, taken, begin_ns, end_ns } = found.arrow;
    const nearer = Math.abs(timeX(begin_ns) - x) < Math.abs(timeX(end_ns) - x) ? asked : taken;
    return nearer >= 0 ? nearer : Math.max(asked, taken);
  }
  if (found.lane === undefined) return -1;
  let best = -1;
  for (const number of seen.lines) {
    const line = data.lines[number];
    if (line.lane === found.lane && (best < 0 || Math.abs(line.at_ns - found.at) < Math.abs(data.lines[best].at_ns - found.at))) best = number;
  }
  return best;
}

// --- mouse and finger ---

const fingers = new Map();
let dragged = false;

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event.offsetX);
  dragged = false;
});

canvas.addEventListener("pointermove", (event) => {
  const { offsetX: x, offsetY: y } = event;
  if (fingers.has(event.pointerId)) {
    const before = fingers.get(event.pointerId);
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      zoom(Math.abs(before - other) / Math.max(Math.abs(x - other), 1), (x + other) / 2);
      dragged = true;
    } else if (dragged || Math.abs(x - before) > 3) {
      dragged = true;
      canvas.classList.add("dragging");
      pan((before - x) / perUnit());
    } else return;
    fingers.set(event.pointerId, x);
    hint.hidden = true;
    return;
  }
  const found = under(x, y);
  if ((found.arrow || null) !== shown.arrow) { shown.arrow = found.arrow || null; redraw(); }
  showHint(found, x, y);
});

canvas.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  canvas.classList.remove("dragging");
  if (dragged) return;
  const line = lineAt(under(event.offsetX, event.offsetY), event.offsetX);
  if (line >= 0) select(line);
});
canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => { hint.hidden = true; if (shown.arrow) { shown.arrow = null; redraw(); } });
canvas.addEventListener("dblclick", (event) => zoom(0.3, event.offsetX));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 20 : 1;
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) pan(((event.deltaX || event.deltaY) * unit) / perUnit());
  else zoom(1.0016 ** (event.deltaY * unit), event.offsetX);
}, { passive: false });

function moveStrip(event) {
  if (!event.buttons) return;
  const share = (event.offsetX - LEFT) / (overview.clientWidth - LEFT - RIGHT);
  const middle = shown.scale.begin + share * (shown.scale.end - shown.scale.begin), half = (shown.high - shown.low) / 2;
  setWindow(middle - half, middle + half);
}
overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); moveStrip(event); });
overview.addEventListener("pointermove", moveStrip);

rows.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) select(Number(row.dataset.line));
});
trace.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });

const split = by("split");
const widen = (x) => { document.querySelector("aside").style.width = `${Math.min(Math.max(document.body.clientWidth - x, 240), document.body.clientWidth * 0.75)}px`; redraw(); };
split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
split.addEventListener("pointermove", (event) => { if (event.buttons) widen(event.clientX); });
split.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -24, ArrowRight: 24 }[event.key];
  if (by) { event.stopPropagation(); widen(split.getBoundingClientRect().left + by); }
});

// --- filters ---

function refilter() {
  applyFilter();
  index(shown.scale);
  strip = null;
  find(by("find").value);
  tellFound();
  drawRows();
  drawDetails();
  redraw();
}

function choice(box, hidden, items) {
  const boxes = [];
  for (const { key, label, note, family } of items) {
    const text = element("label");
    const check = element("input");
    check.type = "checkbox";
    check.checked = !hidden.has(key);
    check.dataset.key = label;
    check.addEventListener("change", () => { if (check.checked) hidden.delete(key); else hidden.add(key); refilter(); });
    boxes.push([check, key]);
    text.append(check);
    if (family) {
      const swatch = element("span", "", "swatch");
      swatch.style.background = `var(--${family})`;
      text.append(swatch);
    }
    text.append(label);
    if (note !== undefined) text.append(element("small", String(note)));
    box.append(text);
  }
  if (items.length < 2) return;
  const all = element("button", "all / none", "all");
  all.type = "button";
  all.addEventListener("click", () => {
    const on = hidden.size > 0;
    for (const [check, key] of boxes) { check.checked = on; if (on) hidden.delete(key); else hidden.add(key); }
    refilter();
  });
  box.append(all);
}

function makeFilters() {
  const order = ["data", "row", "membership", "transfer", "client", "other"];
  const kinds = data.kinds.map((kind, key) => ({ key, label: kind.name, note: kind.count, family: kind.family }));
  kinds.sort((a, b) => order.indexOf(a.family) - order.indexOf(b.family) || b.note - a.note);
  choice(by("kinds"), filter.kinds, kinds);
  choice(by("groups"), filter.groups, [...data.groups.map((label, key) => ({ key, label })), { key: NO_GROUP, label: "the cluster as a whole" }]);
  choice(by("processes"), filter.lanes, data.lanes.map((lane, key) => ({ key, label: lane.name })));
  by("quiet").addEventListener("change", (event) => { filter.quiet = event.target.checked; refilter(); });
}

// --- legend and keys ---

const LEGEND = [
  ["data", "multicast", "line data"], ["row", "rows, signs of life", "line row"], ["membership", "view change", "line membership"],
  ["transfer", "state transfer", "line transfer"], ["client", "clients", "line client"], ["other", "messages", "line other"],
  ["lost", "lost", "lost"], ["copy", "doubled", "copy"], ["cut", "view", "cut"], ["deliver", "delivered"], ["stable", "known to be stable"],
  ["state", "got the state"], ["call", "call"], ["crash", "crash"], ["start", "start"], ["pause", "paused"], ["resume", "goes on"], ["out", "excluded"],
  ["note", "noted"], ["failure", "failure"], ["member", "full member", "status"], ["learner", "learner", "status"],
  ["fenced", "fenced: cannot act", "status"], ["out", "in no view", "status"], ["other", "client", "status"], ["sides", "partition", "sides"],
];

function drawLegend() {
  const families = new Set(data.kinds.map((kind) => kind.family));
  const sorts = new Set(data.marks.map((mark) => mark.sort));
  const statuses = new Set(data.states.map((state) => state.status));
  if (data.lanes.some((lane, number) => lane.lives.length && !statesOf[number].length)) statuses.add("other");
  const present = {
    lost: data.arrows.some((arrow) => arrow.fate === "lost"),
    copy: data.arrows.some((arrow) => arrow.copy),
    cut: data.cuts.length > 0,
    sides: data.troubles.some((trouble) => trouble.sides.length),
  };
  const items = LEGEND.filter(([key, , how]) => (how ? (how.startsWith("line") ? families.has(key) : how === "status" ? statuses.has(key) : present[key]) : sorts.has(key)));
  by("legend").replaceChildren(...items.map(([key, label, how]) => {
    const item = element("li");
    const sign = element("canvas");
    item.append(sign, label);
    requestAnimationFrame(() => drawLegendSign(sign, key, how));
    return item;
  }));
}

function drawLegendSign(sign, key, how) {
  const [context] = fitCanvas(sign);
  context.lineWidth = 1.4;
  context.strokeStyle = context.fillStyle = colours[how && how.startsWith("line") ? key : { lost: "lost", copy: "data", cut: "ink" }[key] || "ink"];
  if (!how) return SIGNS[key](context, 12, key === "stable" ? -1 : key === "call" || key === "note" ? 15 : 8);
  if (how === "sides") {
    context.fillStyle = colours.side0;
    context.fillRect(2, 1, 22, 7);
    context.fillStyle = colours.side1;
    return context.fillRect(2, 8, 22, 7);
  }
  if (how === "cut") { context.beginPath(); context.moveTo(10, 1); context.bezierCurveTo(10, 8, 15, 8, 15, 15); return context.stroke(); }
  if (how === "status") {
    context.strokeStyle = colours[STATUS[key][0]];
    context.lineWidth = STATUS[key][1];
    context.beginPath();
    context.moveTo(2, 8);
    context.lineTo(24, 8);
    return context.stroke();
  }
  context.setLineDash(how === "lost" ? [4, 3] : how === "copy" ? [6, 2] : []);
  context.beginPath();
  context.moveTo(2, 4);
  context.lineTo(how === "lost" ? 18 : 23, how === "lost" ? 10 : 12);
  context.stroke();
  context.setLineDash([]);
  context.beginPath();
  if (how === "lost") { cross(context, 18, 10, 3); context.stroke(); } else { head(context, 2, 4, 23, 12, 7); context.fill(); }
}

const KEYS = [
  ["→ ←", "next and previous event"], ["Shift → ←", "the same, of this process only"], ["↑ ↓", "nearest event of the process above or below"],
  ["Enter", "to the other end of a message of this event"], ["v  V", "next and previous view"], ["c  C", "next and previous crash, start or exclusion"],
  ["+ −", "zoom (also the wheel, or two fingers)"], ["[ ]", "move the window (also drag, or Shift with the wheel)"], ["0", "all of the run"], ["z", "so near that single messages can be told apart"],
  ["Home End", "first and last event"], ["s", "scale: by time, or every event the same room"], ["f", "filter"], ["/", "find; Enter and Shift Enter: next and previous"],
  ["t", "light, dark, as the system"], ["Esc", "select nothing"],
];

function makeKeys() {
  const list = element("dl");
  for (const [key, what] of KEYS) list.append(element("dt", key), element("dd", what));
  by("keys-text").append(element("h2", "Keys"), list);
  by("keys-text").append(element("p", "A line is a process; time goes to the right. A thick line is a full member, a thin one a learner, an orange one cannot act at present, a grey one is in no view. A line across is a view: what is left of it came before. What is too close together to tell apart is drawn as one sign: zoom in."));
}

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
