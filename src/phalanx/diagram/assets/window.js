// Which part of the run is in sight, and what is selected: zoom, pan, scale, step, find.

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
