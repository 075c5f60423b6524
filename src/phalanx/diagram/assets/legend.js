// The filters to choose from, the legend, the list of keys.

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
