// The strip below the diagram.

// How much happens when, in the whole run, and where the window is.  What lies under the window is drawn anew only if it
// has changed, so that a frame costs no more in a long run than in a short one.
let strip = null;
function drawOverview() {
  const [context, wide, high] = fitCanvas(overview);
  const { begin, end, name } = shown.scale;
  const toX = (unit) => LEFT + ((unit - begin) / (end - begin)) * (wide - LEFT - RIGHT);
  const key = [overview.width, overview.height, name, colours.ground].join(" ");
  if (!strip || strip.key !== key) {
    strip = { key, picture: document.createElement("canvas") };
    strip.picture.width = overview.width;
    strip.picture.height = overview.height;
    const under = strip.picture.getContext("2d");
    under.scale(overview.width / wide, overview.height / high);
    drawStrip(under, wide, high, toX);
  }
  if (overview.width && overview.height) context.drawImage(strip.picture, 0, 0, wide, high);
  const x0 = toX(Math.max(shown.low, begin)), x1 = toX(Math.min(shown.high, end));
  context.fillStyle = colours.accent;
  context.globalAlpha = 0.12;
  context.fillRect(x0, 0, Math.max(x1 - x0, 2), high);
  context.globalAlpha = 1;
  context.strokeStyle = colours.accent;
  context.lineWidth = 1;
  context.strokeRect(x0 + 0.5, 0.5, Math.max(x1 - x0, 2) - 1, high - 1);
}

function drawStrip(context, wide, high, toX) {
  const scale = shown.scale;
  const counts = new Float64Array(Math.max(Math.floor((wide - LEFT - RIGHT) / 2), 1));
  seen.begins.forEach((begin) => {
    const slot = Math.floor(((begin - scale.begin) / (scale.end - scale.begin)) * counts.length);
    counts[Math.min(Math.max(slot, 0), counts.length - 1)] += 1;
  });
  const most = Math.max(1, ...counts);
  context.fillStyle = colours.faint;
  counts.forEach((count, slot) => {
    const tall = Math.sqrt(count / most) * (high - 14);
    context.fillRect(LEFT + slot * 2, high - 4 - tall, 1.5, tall);
  });
  context.fillStyle = colours.warn;
  for (const trouble of data.troubles) {
    const x0 = toX(scale.to(trouble.begin_ns));
    context.fillRect(x0, 3, Math.max(toX(scale.to(trouble.end_ns)) - x0, 1), 2);
  }
  context.fillStyle = colours.ink;
  for (const cut of seen.cuts) context.fillRect(toX(scale.to(cut.points[0].at_ns)) - 0.5, 7, 1, high - 11);
  context.strokeStyle = colours.lost;
  context.lineWidth = 1.6;
  context.beginPath();
  for (const mark of seen.marks) if (mark.sort === "crash" || mark.sort === "failure") cross(context, toX(scale.to(mark.at_ns)), 10, 2.5);
  context.stroke();
}
