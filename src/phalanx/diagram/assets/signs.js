// The signs at the lanes, and what is selected.

// Each is drawn at a point of a lane.
const SIGNS = {
  deliver(context, x, y) { context.fillStyle = colours.data; context.beginPath(); context.arc(x, y, 3.4, 0, 7); context.fill(); },
  stable(context, x, y) {
    context.strokeStyle = colours.data; context.lineWidth = 1.3; context.beginPath();
    context.moveTo(x, y + 5.5); context.lineTo(x + 3.2, y + 9); context.lineTo(x, y + 12.5); context.lineTo(x - 3.2, y + 9);
    context.closePath(); context.stroke();
  },
  install(context, x, y) { context.fillStyle = colours.ink; context.fillRect(x - 2.6, y - 2.6, 5.2, 5.2); },
  state(context, x, y) { context.fillStyle = colours.transfer; context.fillRect(x - 3.5, y - 3.5, 7, 7); },
  call(context, x, y) {
    context.fillStyle = colours.client; context.beginPath();
    context.moveTo(x, y - 4); context.lineTo(x + 3.4, y - 10); context.lineTo(x - 3.4, y - 10); context.fill();
  },
  start(context, x, y) {
    context.fillStyle = colours.ink; context.beginPath();
    context.moveTo(x, y - 5); context.lineTo(x + 7, y); context.lineTo(x, y + 5); context.fill();
  },
  crash(context, x, y) { context.strokeStyle = colours.lost; context.lineWidth = 2.4; context.beginPath(); cross(context, x, y, 5.5); context.stroke(); },
  pause(context, x, y) { context.fillStyle = colours.warn; context.fillRect(x - 3, y - 6, 2.4, 12); context.fillRect(x + 1, y - 6, 2.4, 12); },
  resume(context, x, y) {
    context.fillStyle = colours.warn; context.beginPath();
    context.moveTo(x, y - 5); context.lineTo(x + 7, y); context.lineTo(x, y + 5); context.fill();
  },
  out(context, x, y) {
    context.strokeStyle = colours.lost; context.lineWidth = 1.8; context.beginPath(); context.arc(x, y, 4.6, 0, 7);
    context.moveTo(x - 3.2, y + 3.2); context.lineTo(x + 3.2, y - 3.2); context.stroke();
  },
  note(context, x, y) { context.strokeStyle = colours.soft; context.lineWidth = 1.4; context.beginPath(); context.arc(x, y - 9, 2.6, 0, 7); context.stroke(); },
  failure(context, x, y) {
    context.fillStyle = colours.lost; context.beginPath(); context.arc(x, y, 7, 0, 7); context.fill();
    context.fillStyle = colours.ground; context.fillRect(x - 1, y - 4, 2, 5); context.fillRect(x - 1, y + 2.2, 2, 2);
  },
};
const WEIGHTY = new Set(["crash", "start", "pause", "resume", "out", "failure", "install", "state"]);

function drawMarks(context) {
  const from = place(seen.marks, shown.scale.from(shown.low), (mark) => mark.at_ns);
  const until = shown.scale.from(shown.high);
  const taken = new Set();
  const heavy = [];
  for (let n = from; n < seen.marks.length && seen.marks[n].at_ns <= until; n += 1) {
    const mark = seen.marks[n];
    const x = timeX(mark.at_ns), y = mark.lane < 0 ? headroom - 8 : laneY[mark.lane];
    const key = `${mark.sort} ${mark.lane} ${Math.round(x / 2)}`;
    if (taken.has(key)) continue; // one sign for what is too close to be told apart
    taken.add(key);
    if (WEIGHTY.has(mark.sort)) heavy.push([mark.sort, x, y]);
    else SIGNS[mark.sort](context, x, y);
  }
  for (const [sort, x, y] of heavy) SIGNS[sort](context, x, y);
}

function drawChosen(context) {
  const chosen = new Map();
  if (shown.line >= 0) {
    const line = data.lines[shown.line];
    const x = Math.round(timeX(line.at_ns)) + 0.5;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1;
    context.globalAlpha = 0.55;
    context.beginPath();
    context.moveTo(x, AXIS);
    context.lineTo(x, height);
    context.stroke();
    context.globalAlpha = 1;
    for (const arrow of [...sentAt[shown.line], ...takenAt[shown.line]]) if (arrowShown(arrow)) chosen.set(arrow.number, arrow);
    if (line.lane >= 0 && laneShown(line.lane)) {
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x, laneY[line.lane], 9, 0, 7);
      context.stroke();
    }
  }
  if (shown.arrow) chosen.set(shown.arrow.number, shown.arrow);
  for (const arrow of chosen.values()) {
    if (arrow.source === arrow.target) continue;
    const [x0, y0, x1, y1] = geometry(arrow, shown.scale.to(arrow.begin_ns), shown.scale.to(arrow.end_ns));
    const colour = arrow.fate === "lost" ? colours.lost : colours[data.kinds[arrow.kind].family];
    for (const [stroke, thick] of [[colours.ground, 5], [colour, 2.2]]) {
      context.strokeStyle = context.fillStyle = stroke;
      context.lineWidth = thick;
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
    context.beginPath();
    if (arrow.fate === "lost") { cross(context, x1, y1, 4); context.stroke(); } else { head(context, x0, y0, x1, y1, 10); context.fill(); }
  }
  labelChosen(context, [...chosen.values()].filter((arrow) => arrow.source !== arrow.target));
}

// What kinds of messages these are, each beside its arrow, above all arrows, and where no other label is.
function labelChosen(context, arrows) {
  if (arrows.length > 14) return;
  context.font = `11px ${colours.sans}`;
  context.textBaseline = "middle";
  const boxes = [];
  for (const arrow of arrows) {
    let [x0, y0, x1, y1] = geometry(arrow, shown.scale.to(arrow.begin_ns), shown.scale.to(arrow.end_ns));
    if (Math.abs(y1 - y0) <= 12 || x1 < LEFT || x0 > width) continue;
    // The middle of the part that is in sight.
    const at = (x) => y0 + ((y1 - y0) * (x - x0)) / (x1 - x0 || 1);
    if (x0 < LEFT) [x0, y0] = [LEFT, at(LEFT)];
    if (x1 > width) [x1, y1] = [width, at(width)];
    const label = data.kinds[arrow.kind].name;
    const wide = context.measureText(label).width + 6;
    const x = Math.min((x0 + x1) / 2 + 5, width - wide), y = (y0 + y1) / 2;
    if (boxes.some((box) => x < box.x + box.wide && box.x < x + wide && Math.abs(y - box.y) < 15)) continue;
    boxes.push({ x, y, wide });
    context.fillStyle = colours.ground;
    context.globalAlpha = 0.85;
    context.fillRect(x, y - 8, wide, 15);
    context.globalAlpha = 1;
    context.fillStyle = arrow.fate === "lost" ? colours.lost : colours[data.kinds[arrow.kind].family];
    context.fillText(label, x + 3, y);
  }
}
