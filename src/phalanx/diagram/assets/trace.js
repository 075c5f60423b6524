// The readable trace, of which only what is in sight is in the page, and the details of the selected event.
// Texts come from the run and are never read as markup: everything goes through textContent.

const trace = document.getElementById("trace");
const rows = document.getElementById("rows");
const details = document.getElementById("details");
const ROW = 20;
const HEIGHT_MAX = 8e6; // browsers cannot lay out what is much higher
let matches = [];
let matching = new Set();

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const rowHeight = () => Math.min(ROW, HEIGHT_MAX / Math.max(seen.lines.length, 1));

function drawRows() {
  const tall = rowHeight();
  rows.style.height = `${seen.lines.length * tall}px`;
  const first = Math.max(0, Math.floor(trace.scrollTop / tall) - 4);
  const last = Math.min(seen.lines.length, first + Math.ceil(trace.clientHeight / ROW) + 8);
  const made = [];
  for (let n = first; n < last; n += 1) {
    const number = seen.lines[n], line = data.lines[number];
    const row = element("div", undefined, "row");
    row.dataset.line = number;
    row.style.top = `${n * tall}px`;
    if (number === shown.line) row.classList.add("selected");
    if (matching.has(number)) row.classList.add("match");
    row.append(element("span", `${seconds(line.at_ns)} `));
    row.append((line.lane < 0 ? "" : data.lanes[line.lane].name.padEnd(5)) + line.text.slice(0, 400));
    made.push(row);
  }
  rows.replaceChildren(...made);
}

function showRow(number) {
  const at = place(seen.lines, number) * rowHeight();
  if (at < trace.scrollTop + ROW || at > trace.scrollTop + trace.clientHeight - 2 * ROW) {
    trace.scrollTop = at - trace.clientHeight / 3;
  }
  drawRows();
}

// The first line of that time or after comes to the top.
function showTime(at) {
  const top = place(seen.lines, at, (line) => data.lines[line].at_ns) * rowHeight();
  if (trace.scrollTop !== top) trace.scrollTop = top; // its event draws the rows
}

const laneName = (lane) => (lane < 0 ? "nobody" : data.lanes[lane].name);

function arrowText(arrow) {
  const took = duration(arrow.end_ns - arrow.begin_ns);
  const copy = arrow.copy ? ` (copy ${arrow.copy + 1})` : "";
  if (arrow.fate === "arrived") return `arrived after ${took}${copy}`;
  return arrow.fate === "lost" ? `lost after ${took}${copy}: ${data.texts[arrow.why]}` : "still under way at the end";
}

function messageItem(arrow, sent) {
  const item = element("li");
  const button = element("button");
  const kind = data.kinds[arrow.kind];
  const swatch = element("span", "", "swatch");
  swatch.style.background = `var(--${kind.family})`;
  button.append(element("i", sent ? "→" : "←"), swatch, ` ${kind.name} ${sent ? "to" : "from"} ${laneName(sent ? arrow.target : arrow.source)} `);
  button.append(element(arrow.fate === "lost" ? "em" : "span", arrowText(arrow)));
  button.title = data.texts[arrow.text];
  const other = sent ? arrow.taken : arrow.asked;
  button.addEventListener("click", () => { if (other >= 0) select(other); else { shown.arrow = arrow; redraw(); } });
  button.addEventListener("mouseenter", () => { shown.arrow = arrow; redraw(); });
  button.addEventListener("mouseleave", () => { shown.arrow = null; redraw(); });
  item.append(button);
  return item;
}

function stateTable(at, here) {
  const table = element("table");
  const top = element("tr");
  for (const title of ["", "view", "state", ""]) top.append(element("th", title));
  table.append(top);
  for (const lane of seen.lanes) {
    const state = stateOf(lane, at), alive = isAlive(lane, at);
    if (!state && !statesOf[lane].length) continue;
    const row = element("tr", undefined, lane === here ? "here" : "");
    row.append(element("td", laneName(lane)), element("td", alive && state ? state.view : ""));
    row.append(element("td", alive ? (state ? state.status : "begins") : "down"));
    row.append(element("td", alive && state ? data.texts[state.text] : ""));
    table.append(row);
  }
  return table;
}

function drawDetails() {
  details.replaceChildren();
  if (shown.line < 0) {
    details.append(element("h2", "Nothing is selected"));
    details.append(element("p", "Click into the diagram or on a line of the trace, or press → for the first event. ? lists the keys."));
    return;
  }
  const line = data.lines[shown.line];
  const heading = element("h2", `${line.lane < 0 ? "The world" : laneName(line.lane)} `);
  const where = element("span", `at ${seconds(line.at_ns)} s, `);
  const link = element("a", `line ${shown.line + 1}`);
  link.href = `#line=${shown.line + 1}`;
  link.title = "A link to this event";
  where.append(link, ` of ${data.lines.length}`);
  heading.append(where);
  details.append(heading);
  for (const mark of marksAt[shown.line]) details.append(element("p", data.texts[mark.text]));
  const list = element("ul");
  for (const arrow of takenAt[shown.line]) list.append(messageItem(arrow, false));
  for (const arrow of sentAt[shown.line]) list.append(messageItem(arrow, true));
  if (list.children.length) details.append(list);
  details.append(element("p", line.text, "text"));
  const table = stateTable(line.at_ns, line.lane);
  if (table.children.length > 1) details.append(table);
}

// The lines that contain the text, or a message that does, in which case it is the line where that was made.
function find(text) {
  const wanted = text.trim().toLowerCase();
  matching = new Set();
  if (wanted) {
    const inTexts = data.texts.map((each) => each.toLowerCase().includes(wanted));
    data.lines.forEach((line, number) => { if (line.text.toLowerCase().includes(wanted)) matching.add(number); });
    for (const arrow of data.arrows) if (arrow.asked >= 0 && inTexts[arrow.text]) matching.add(arrow.asked);
    for (const mark of data.marks) if (mark.line >= 0 && inTexts[mark.text]) matching.add(mark.line);
  }
  matches = seen.lines.filter((number) => matching.has(number));
}
