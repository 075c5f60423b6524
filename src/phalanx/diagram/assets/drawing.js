// The diagram on its canvas: from the model and a window of time to lines.  Knows nothing of the mouse.

const canvas = document.getElementById("canvas");
const overview = document.getElementById("overview");
const LEFT = 74, RIGHT = 14, AXIS = 24, TRACK = 15;
const CROWD = 2500; // from so many arrows on they are drawn fainter, and without heads and dashes

let colours = {};
function readColours() {
  // Resolved by a real element, since canvas does not know light-dark().
  const probe = document.createElement("i");
  document.body.append(probe);
  const names = "ground raised rule ink soft faint accent data row membership transfer client other lost warn side0 side1 side2 side3";
  colours = Object.fromEntries(names.split(" ").map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  const style = getComputedStyle(document.documentElement);
  colours.sans = style.getPropertyValue("--sans");
}

// The window: from which unit to which of the scale, and what is selected and pointed at.
const shown = { scale: timeScale, low: timeScale.begin, high: timeScale.end, line: -1, arrow: null, drawn: 0 };

let width = 0, height = 0, headroom = 0, tracks = 0;
const laneY = new Float64Array(data.lanes.length);

function fitCanvas(target) {
  const ratio = window.devicePixelRatio || 1;
  const wide = target.clientWidth, high = target.clientHeight;
  if (target.width !== Math.round(wide * ratio) || target.height !== Math.round(high * ratio)) {
    target.width = Math.round(wide * ratio);
    target.height = Math.round(high * ratio);
  }
  const context = target.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, wide, high);
  return [context, wide, high];
}

// Faults have up to a quarter of the height; what has no row of its own then is drawn in the last.
const rowsOfTroubles = data.troubles.reduce((most, trouble) => Math.max(most, trouble.row + 1), 0);
const trackY = (trouble) => AXIS + Math.min(trouble.row, tracks - 1) * TRACK + 2;
const worldMarks = data.marks.some((mark) => mark.lane < 0);

function layLanes() {
  tracks = Math.min(rowsOfTroubles, Math.max(2, Math.floor((height * 0.25) / TRACK)));
  headroom = AXIS + tracks * TRACK + 22;
  const room = height - headroom - 26;
  const gap = room / Math.max(seen.lanes.length, 1);
  seen.lanes.forEach((lane, row) => { laneY[lane] = headroom + gap * (row + 0.5); });
}

const perUnit = () => (width - LEFT - RIGHT) / (shown.high - shown.low);
const unitX = (unit) => LEFT + (unit - shown.low) * perUnit();
const timeX = (at) => unitX(shown.scale.to(at));
const xUnit = (x) => shown.low + (x - LEFT) / perUnit();
const clampX = (x) => Math.min(Math.max(x, LEFT - 20), width + 20);

// Where an arrow is drawn.  One that did not come ends short of its target.
function geometry(arrow, begin, end) {
  const x0 = unitX(begin), y0 = laneY[arrow.source];
  let x1 = unitX(end), y1 = arrow.target < 0 ? y0 + 18 : laneY[arrow.target];
  if (arrow.fate !== "arrived") {
    const share = arrow.fate === "lost" ? 0.62 : 0.85;
    y1 = y0 + (y1 - y0) * share;
    x1 = Math.max(x1, x0 + 5);
  }
  return [x0, y0, x1, y1];
}

function head(context, x0, y0, x1, y1, size) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  context.moveTo(x1, y1);
  context.lineTo(x1 - size * Math.cos(angle - 0.38), y1 - size * Math.sin(angle - 0.38));
  context.lineTo(x1 - size * Math.cos(angle + 0.38), y1 - size * Math.sin(angle + 0.38));
  context.closePath();
}

function cross(context, x, y, size) {
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
}

function drawSides(context) {
  for (const trouble of data.troubles) {
    const x0 = clampX(timeX(trouble.begin_ns)), x1 = clampX(timeX(trouble.end_ns));
    if (x1 < LEFT || x0 > width) continue;
    const gap = seen.lanes.length > 1 ? Math.abs(laneY[seen.lanes[1]] - laneY[seen.lanes[0]]) : 60;
    const half = Math.min(gap / 2, 40);
    trouble.sides.forEach((side, number) => {
      context.fillStyle = colours[`side${number % 4}`];
      for (const lane of side) {
        if (!laneShown(lane)) continue;
        // One that is on two sides has half of each colour.
        const both = trouble.sides.filter((other) => other.includes(lane)).length > 1;
        const first = trouble.sides.findIndex((other) => other.includes(lane)) === number;
        const top = both && !first ? laneY[lane] : laneY[lane] - half;
        context.globalAlpha = 0.6;
        context.fillRect(x0, top, Math.max(x1 - x0, 1), both ? half : 2 * half);
        context.globalAlpha = 1;
      }
    });
    context.fillStyle = colours.warn;
    context.globalAlpha = 0.22;
    for (const lane of trouble.lanes) if (laneShown(lane)) context.fillRect(x0, laneY[lane] - 5, Math.max(x1 - x0, 1), 10);
    context.globalAlpha = 1;
  }
}

function drawTracks(context) {
  context.font = `11px ${colours.sans}`;
  context.textBaseline = "middle";
  for (const trouble of data.troubles) {
    const x0 = clampX(timeX(trouble.begin_ns)), x1 = clampX(timeX(trouble.end_ns));
    if (x1 < LEFT || x0 > width) continue;
    const y = trackY(trouble), long = Math.max(x1 - x0, 2);
    context.fillStyle = colours.warn;
    context.globalAlpha = 0.28;
    context.fillRect(x0, y, long, TRACK - 3);
    context.globalAlpha = 1;
    context.fillRect(x0, y, 2, TRACK - 3);
    const from = Math.max(x0, LEFT);
    const label = data.texts[trouble.text].split(":")[0];
    const fits = long - (from - x0) - 10;
    if (fits > 30 && trouble.row < tracks) {
      context.save();
      context.beginPath();
      context.rect(from, y, fits + 8, TRACK);
      context.clip();
      context.fillStyle = colours.ink;
      context.fillText(label, from + 6, y + (TRACK - 3) / 2 + 0.5);
      context.restore();
    }
  }
}

function ticks() {
  if (shown.scale.name === "order") {
    const found = [];
    for (let x = LEFT; x < width - RIGHT; x += 110) {
      const unit = xUnit(x);
      if (unit >= shown.scale.begin && unit <= shown.scale.end) found.push([x, `${seconds(shown.scale.from(unit))} s`]);
    }
    return found;
  }
  const wanted = (shown.high - shown.low) / Math.max((width - LEFT) / 110, 1);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = Math.max([1, 2, 5, 10].find((factor) => factor * power >= wanted) * power, 1);
  const digits = Math.min(Math.max(9 - Math.floor(Math.log10(step) + 1e-9), 0), 9);
  const found = [];
  for (let at = Math.ceil(Math.max(shown.low, shown.scale.begin) / step) * step; at <= shown.high; at += step) {
    found.push([unitX(at), `${(at / 1e9).toFixed(digits)} s`]);
  }
  return found;
}

function drawAxis(context) {
  context.font = `11px ${colours.sans}`;
  context.textBaseline = "middle";
  context.lineWidth = 1;
  for (const [x, label] of ticks()) {
    context.strokeStyle = colours.rule;
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, AXIS - 5);
    context.lineTo(Math.round(x) + 0.5, height);
    context.stroke();
    context.fillStyle = colours.soft;
    if (x + 4 + context.measureText(label).width <= width) context.fillText(label, x + 4, AXIS / 2);
  }
}

// `other`: a process of whose state nothing is known, such as a client.
const STATUS = { member: ["ink", 2], learner: ["ink", 1], fenced: ["warn", 2], out: ["faint", 2], other: ["client", 1.4] };

// A process's line while it runs, in pieces of equal state.
function drawLane(context, lane) {
  const y = laneY[lane];
  context.strokeStyle = colours.faint;
  context.lineWidth = 1;
  context.setLineDash([1, 4]);
  context.beginPath();
  context.moveTo(LEFT, y);
  context.lineTo(width, y);
  context.stroke();
  context.setLineDash([]);
  const stroke = (from, to, colour, thick) => {
    const x0 = Math.max(timeX(from), LEFT), x1 = Math.min(timeX(to), width);
    if (x1 < x0) return;
    context.strokeStyle = colours[colour];
    context.lineWidth = thick;
    context.beginPath();
    context.moveTo(x0, y);
    context.lineTo(Math.max(x1, x0 + 1), y);
    context.stroke();
  };
  for (const life of data.lanes[lane].lives) {
    const states = statesOf[lane];
    let at = life.begin_ns;
    let style = states.length ? STATUS.out : STATUS.other;
    const before = stateOf(lane, at);
    if (before) style = STATUS[before.status] || STATUS.member;
    for (let n = place(states, at, (state) => state.at_ns, true); n < states.length && states[n].at_ns < life.end_ns; n += 1) {
      stroke(at, states[n].at_ns, ...style);
      at = states[n].at_ns;
      style = STATUS[states[n].status] || STATUS.member;
    }
    stroke(at, life.end_ns, ...style);
  }
  for (const pause of data.lanes[lane].pauses) {
    const x0 = timeX(pause.begin_ns), x1 = timeX(pause.end_ns);
    if (x1 < LEFT || x0 > width) continue;
    context.fillStyle = colours.ground;
    context.fillRect(clampX(x0), y - 2, clampX(x1) - clampX(x0), 4);
    context.strokeStyle = colours.warn;
    context.lineWidth = 3;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(clampX(x0), y);
    context.lineTo(clampX(x1), y);
    context.stroke();
    context.setLineDash([]);
  }
}

const FAMILIES = ["row", "other", "client", "transfer", "membership", "data"]; // each above those before
const DASHES = { arrived: [], copy: [6, 2], "under way": [2, 3], lost: [4, 3] };

function drawArrows(context) {
  // What looks the same is drawn as one path: that, and no dashes in a crowd, is most of what makes it quick.
  const bundles = {};
  for (const how of Object.keys(DASHES)) bundles[how] = new Map(FAMILIES.map((family) => [family, []]));
  let count = 0;
  eachArrow(shown.low, shown.high, (arrow, begin, end) => {
    if (arrow.source === arrow.target) return;
    count += 1;
    const how = arrow.fate === "arrived" && arrow.copy ? "copy" : arrow.fate;
    bundles[how].get(how === "lost" ? "row" : data.kinds[arrow.kind].family).push(geometry(arrow, begin, end));
  });
  const alpha = Math.min(1, Math.max(0.16, 900 / Math.max(count, 1)));
  const heads = count <= CROWD;
  const stroke = (items, colour, dash, thick, faint) => {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = thick;
    context.globalAlpha = faint;
    context.setLineDash(heads ? dash : []);
    context.beginPath();
    for (const [x0, y0, x1, y1] of items) { context.moveTo(x0, y0); context.lineTo(x1, y1); }
    context.stroke();
    context.setLineDash([]);
  };
  const point = (items) => {
    context.beginPath();
    for (const [x0, y0, x1, y1] of items) head(context, x0, y0, x1, y1, 7);
    context.fill();
  };
  for (const family of FAMILIES) {
    for (const how of ["arrived", "copy", "under way"]) {
      const items = bundles[how].get(family);
      if (!items.length) continue;
      stroke(items, colours[family], DASHES[how], family === "row" ? 0.8 : 1.2, family === "row" ? alpha * 0.8 : alpha);
      if (heads && how !== "under way") point(items);
    }
  }
  const lost = bundles.lost.get("row");
  stroke(lost, colours.lost, DASHES.lost, 1.1, Math.max(alpha, 0.3));
  if (lost.length <= CROWD) {
    context.lineWidth = 1.6;
    context.beginPath();
    for (const [, , x1, y1] of lost) cross(context, x1, y1, 3);
    context.stroke();
  }
  context.globalAlpha = 1;
  shown.drawn = count;
}

function drawCuts(context) {
  let free = -Infinity;
  context.font = `600 12px ${colours.sans}`;
  context.textBaseline = "middle";
  for (const cut of seen.cuts) {
    const points = cut.points.filter((point) => laneShown(point.lane));
    const xs = points.map((point) => timeX(point.at_ns));
    if (Math.max(...xs) < LEFT - 40 || Math.min(...xs) > width + 40) continue;
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.4;
    context.lineJoin = "round";
    context.globalAlpha = 0.85;
    context.beginPath();
    const top = laneY[points[0].lane] - 16;
    context.moveTo(xs[0], top);
    let previous = [xs[0], top];
    points.forEach((point, n) => {
      const y = laneY[point.lane];
      const middle = (previous[1] + y) / 2;
      context.bezierCurveTo(previous[0], middle, xs[n], middle, xs[n], y);
      previous = [xs[n], y];
    });
    context.lineTo(previous[0], previous[1] + 12);
    context.stroke();
    context.globalAlpha = 1;
    const wide = context.measureText(cut.label).width;
    if (xs[0] - wide / 2 > free && xs[0] > LEFT - 10) {
      context.fillStyle = colours.ink;
      context.textAlign = "center";
      context.strokeStyle = colours.ground;
      context.lineWidth = 3;
      context.strokeText(cut.label, xs[0], top - 7);
      context.fillText(cut.label, xs[0], top - 7);
      context.textAlign = "left";
      free = xs[0] + wide / 2 + 6;
    }
  }
}

function drawNames(context) {
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, LEFT - 1, height);
  context.textBaseline = "middle";
  const at = shown.line >= 0 ? data.lines[shown.line].at_ns : null;
  if (worldMarks) {
    context.font = `11px ${colours.sans}`;
    context.fillStyle = colours.soft;
    context.fillText("world", 16, headroom - 16, LEFT - 20);
  }
  const gap = seen.lanes.length > 1 ? laneY[seen.lanes[1]] - laneY[seen.lanes[0]] : height;
  for (const lane of seen.lanes) {
    const state = at === null || gap < 26 ? null : stateOf(lane, at); // without room for it: there is the table
    const dead = at !== null && !isAlive(lane, at);
    context.font = `600 ${Math.min(13, Math.max(gap, 8))}px ${colours.sans}`;
    context.fillStyle = dead ? colours.faint : colours.ink;
    context.fillText(data.lanes[lane].name, 16, laneY[lane] - (state ? 5 : 0), LEFT - 20);
    if (state) {
      context.font = `11px ${colours.sans}`;
      context.fillStyle = colours.soft;
      context.fillText(dead ? "down" : [state.view, state.status === "member" ? "" : state.status].filter(Boolean).join(" "), 16, laneY[lane] + 9, LEFT - 20);
    }
  }
}

function draw() {
  let context;
  [context, width, height] = fitCanvas(canvas);
  layLanes();
  context.save();
  context.beginPath();
  context.rect(LEFT - 10, 0, width, height);
  context.clip();
  drawSides(context);
  drawAxis(context);
  drawTracks(context);
  for (const lane of seen.lanes) drawLane(context, lane);
  drawArrows(context);
  drawCuts(context);
  drawMarks(context);
  drawChosen(context);
  context.restore();
  drawNames(context);
  drawOverview();
}
