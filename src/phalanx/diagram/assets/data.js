// What the page was given, as objects; the scales; and which of it is to be seen.

const data = (() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  const objects = (name, list) => {
    const fields = raw.fields[name];
    return list.map((row) => Object.fromEntries(fields.map((field, place) => [field, row[place]])));
  };
  const diagram = raw.diagram;
  const spans = (list) => objects("Span", list);
  return {
    ...diagram,
    lanes: objects("Lane", diagram.lanes).map((lane) => ({ ...lane, lives: spans(lane.lives), pauses: spans(lane.pauses) })),
    kinds: objects("Kind", diagram.kinds),
    arrows: objects("Arrow", diagram.arrows),
    cuts: objects("Cut", diagram.cuts).map((cut) => ({ ...cut, points: objects("Point", cut.points) })),
    marks: objects("Mark", diagram.marks),
    states: objects("State", diagram.states),
    troubles: objects("Trouble", diagram.troubles),
    lines: objects("Line", diagram.lines),
  };
})();

data.arrows.forEach((arrow, number) => { arrow.number = number; });
data.marks.forEach((mark, number) => { mark.number = number; });

// What belongs to each line of the trace.
const sentAt = data.lines.map(() => []);
const takenAt = data.lines.map(() => []);
const marksAt = data.lines.map(() => []);
for (const arrow of data.arrows) {
  if (arrow.asked >= 0) sentAt[arrow.asked].push(arrow);
  if (arrow.sent >= 0 && arrow.sent !== arrow.asked) sentAt[arrow.sent].push(arrow);
  if (arrow.taken >= 0) takenAt[arrow.taken].push(arrow);
}
for (const mark of data.marks) if (mark.line >= 0) marksAt[mark.line].push(mark);

// The states of each lane, in the order of time.
const statesOf = data.lanes.map(() => []);
for (const state of data.states) statesOf[state.lane].push(state);

// The first place in a sorted list whose key is at least (or, with `after`, more than) the value.
function place(list, value, key = (item) => item, after = false) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list[middle]) < value || (after && key(list[middle]) === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function stateOf(lane, at) {
  const states = statesOf[lane];
  return states[place(states, at, (state) => state.at_ns, true) - 1];
}

const isAlive = (lane, at) => data.lanes[lane].lives.some((life) => life.begin_ns <= at && at <= life.end_ns);

// Scales turn nanoseconds into units that a window is counted in, and back.
const timeScale = {
  name: "time",
  begin: data.since_ns,
  end: Math.max(data.until_ns, data.since_ns + 1000),
  to: (at) => at,
  from: (unit) => unit,
};

const orderScale = (() => {
  const instants = new Set([data.since_ns, data.until_ns]);
  const add = (at) => { if (at >= data.since_ns && at <= data.until_ns) instants.add(at); };
  for (const arrow of data.arrows) { add(arrow.begin_ns); add(arrow.end_ns); }
  for (const mark of data.marks) add(mark.at_ns);
  const times = Float64Array.from(instants).sort();
  const last = times.length - 1;
  return {
    name: "order",
    begin: 0,
    end: Math.max(last, 1),
    to(at) {
      if (at <= times[0]) return at < times[0] ? -0.5 : 0;
      if (at >= times[last]) return at > times[last] ? last + 0.5 : last;
      const next = place(times, at);
      return times[next] === at ? next : next - 1 + (at - times[next - 1]) / (times[next] - times[next - 1]);
    },
    from(unit) {
      const low = Math.min(Math.max(Math.floor(unit), 0), last);
      const high = Math.min(low + 1, last);
      return times[low] + (times[high] - times[low]) * Math.min(Math.max(unit - low, 0), 1);
    },
  };
})();

// What the reader has left out, and what remains of the diagram then.
const filter = { kinds: new Set(), groups: new Set(), lanes: new Set(), quiet: false };
const NO_GROUP = -1;
const seen = { arrows: [], begins: [], ends: [], reach: [], marks: [], cuts: [], lines: [], lanes: [] };

function groupsShown(groups) {
  if (!filter.groups.size) return true;
  return groups.length ? groups.some((group) => !filter.groups.has(group)) : !filter.groups.has(NO_GROUP);
}

function arrowShown(arrow) {
  return !filter.kinds.has(arrow.kind) && !filter.lanes.has(arrow.source) && !filter.lanes.has(arrow.target) && groupsShown(arrow.groups);
}

const laneShown = (lane) => lane < 0 || !filter.lanes.has(lane);
const markShown = (mark) => laneShown(mark.lane) && groupsShown(mark.group < 0 ? [] : [mark.group]);

function applyFilter() {
  seen.lanes = data.lanes.map((_, lane) => lane).filter(laneShown);
  seen.arrows = data.arrows.filter(arrowShown);
  seen.marks = data.marks.filter(markShown);
  seen.cuts = data.cuts.filter((cut) => cut.points.some((point) => laneShown(point.lane)));
  const lively = (line) => data.lines[line].lane < 0 || marksAt[line].some(markShown) || sentAt[line].some(arrowShown) || takenAt[line].some(arrowShown);
  seen.lines = [];
  data.lines.forEach((line, number) => { if (laneShown(line.lane) && (filter.quiet || lively(number))) seen.lines.push(number); });
}

// Where the arrows are in a scale.  `reach` is the furthest end of an arrow and all before it: with it a search finds the
// first that can matter to a window, and the scan ends with the first that begins behind it.
function index(scale) {
  const count = seen.arrows.length;
  seen.begins = new Float64Array(count);
  seen.ends = new Float64Array(count);
  seen.reach = new Float64Array(count);
  let furthest = -Infinity;
  seen.arrows.forEach((arrow, number) => {
    seen.begins[number] = scale.to(arrow.begin_ns);
    seen.ends[number] = scale.to(arrow.end_ns);
    furthest = Math.max(furthest, seen.ends[number]);
    seen.reach[number] = furthest;
  });
}

// Calls back with each arrow that is somewhere between these units.
function eachArrow(low, high, visit) {
  for (let number = place(seen.reach, low); number < seen.arrows.length && seen.begins[number] <= high; number += 1) {
    if (seen.ends[number] >= low) visit(seen.arrows[number], seen.begins[number], seen.ends[number]);
  }
}

function seconds(ns) {
  const micros = Math.round(ns / 1000);
  const fraction = String(micros % 1e6).padStart(6, "0");
  return `${Math.floor(micros / 1e6)}.${fraction.slice(0, 3)}\u2009${fraction.slice(3)}`;
}

function duration(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(3)} s`;
  return ns >= 1e6 ? `${(ns / 1e6).toFixed(3)} ms` : `${(ns / 1e3).toFixed(ns % 1e3 ? 3 : 0)} µs`;
}
