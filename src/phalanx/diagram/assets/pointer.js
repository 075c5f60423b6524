// Mouse and finger: what is under them, zoom, pan, select.

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
