"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = Object.keys(data.spectra);
  const shown = new Set(names.length > 3 ? [names[0], names[3]] : names.slice(0, 2));
  const colour = name => `var(--c${names.indexOf(name) % 6})`;
  const W = 360, H = 260, left = 58, right = 12, top = 10, bottom = 34;
  const make = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const tip = document.getElementById("tip");
  const tell = (text, x, y) => {
    tip.textContent = text; tip.hidden = !text;
    if (!text) return;
    tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(y + 12, innerHeight - tip.offsetHeight - 8)) + "px";
  };
  const short = value => Number(value.toPrecision(3)).toString();

  // A plot: scales, axes with ticks, and what is nearest to the pointer.
  const plot = (id, label, x, y, ticksX, ticksY, nameX, nameY) => {
    const holder = document.getElementById(id);
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label, tabindex: 0 });
    holder.replaceChildren(svg);
    const px = v => left + (x(v)) * (W - left - right), py = v => H - bottom - (y(v)) * (H - top - bottom);
    svg.append(make("path", { class: "axis", fill: "none", d: `M${left},${top}V${H - bottom}H${W - right}` }));
    for (const v of ticksX) svg.append(make("text", { x: px(v), y: H - bottom + 14, "text-anchor": "middle" }, short(v)));
    for (const v of ticksY) svg.append(make("text", { x: left - 5, y: py(v) + 4, "text-anchor": "end" }, short(v)));
    svg.append(make("text", { x: (W + left) / 2, y: H - 4, "text-anchor": "middle" }, nameX));
    svg.append(make("text", { x: 12, y: H / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${H / 2})` }, nameY));
    const targets = [];
    const nearest = event => {
      const box = svg.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width * W, (event.clientY - box.top) / box.height * H];
      let best = null, least = 400;
      for (const target of targets) {
        const away = (target[0] - at[0]) ** 2 + (target[1] - at[1]) ** 2;
        if (away < least) { least = away; best = target; }
      }
      tell(best ? best[2] : "", event.clientX, event.clientY);
    };
    svg.addEventListener("pointermove", nearest);
    svg.addEventListener("pointerdown", nearest);
    svg.addEventListener("pointerleave", () => tell(""));
    let at = -1;  // arrow keys walk along the points
    svg.addEventListener("keydown", event => {
      if (event.key === "Escape") { tell(""); return; }
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || !targets.length) return;
      event.preventDefault();
      at = at < 0 ? (step > 0 ? 0 : targets.length - 1) : (at + step + targets.length) % targets.length;
      const box = svg.getBoundingClientRect(), [tx, ty, text] = targets[at];
      tell(text, box.left + tx / W * box.width, box.top + ty / H * box.height);
    });
    svg.addEventListener("blur", () => tell(""));
    return { svg, px, py, targets };
  };
  const line = (p, points, stroke, extra = {}) => {
    const d = points.map(([a, b], i) => `${i ? "L" : "M"}${p.px(a).toFixed(1)},${p.py(b).toFixed(1)}`).join("");
    p.svg.append(make("path", { d, fill: "none", stroke, "stroke-width": 1.8, ...extra }));
  };
  const dashed = { "stroke-dasharray": "5 4" };
  const powers = (low, high) => {
    const found = [];
    for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) found.push(10 ** e);
    return found;
  };
  const even = (low, high) => [0, .25, .5, .75, 1].map(t => low + t * (high - low));

  const spectrum = () => {
    const all = [...[...shown].flatMap(name => data.spectra[name]), ...data.floor];
    if (!all.length) return;
    const most = Math.max(2, ...all.map(p => p[0]));
    const high = Math.max(...all.map(p => p[1])), low = Math.max(Math.min(...all.map(p => p[1])), high * 1e-8);
    const span = Math.log10(high / low) || 1;
    const p = plot("spectrum", "Spectrum", v => Math.log10(v) / Math.log10(most), v => Math.max(0, Math.log10(v / low) / span),
      powers(1, most), powers(low, high), "component", "share");
    line(p, data.floor, "var(--floor)", dashed);
    for (const name of shown) {
      line(p, data.spectra[name], colour(name));
      for (const [k, v] of data.spectra[name]) p.targets.push([p.px(k), p.py(Math.max(v, low)), `${name}: component ${k} holds ${short(100 * v)} %`]);
    }
  };
  const cosines = () => {
    const high = Math.max(...[...shown].flatMap(name => data.cosines[name]), 1e-9);
    const p = plot("cosines", "Histogram of cosines", v => (v + 1) / 2, v => v / high, [-1, -.5, 0, .5, 1], [], "cosine", "pairs");
    for (const name of shown) {
      const bins = data.cosines[name], width = 2 / bins.length;
      const points = bins.flatMap((v, i) => [[-1 + i * width, v], [-1 + (i + 1) * width, v]]);
      line(p, points, colour(name), { fill: colour(name), "fill-opacity": .25 });
      bins.forEach((v, i) => { if (v) p.targets.push([p.px(-1 + (i + .5) * width), p.py(v), `${name}: ${short(100 * v)} % of pairs at ${short(-1 + (i + .5) * width)}`]); });
    }
  };
  const projection = () => {
    const last = [...shown].pop();
    if (!last) return;
    const points = data.projections[last], reach = [...points, [0, 0]];
    const xs = reach.map(p => p[0]), ys = reach.map(p => p[1]);
    const middle = [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2];
    const inner = [W - left - right, H - top - bottom];
    const unit = 1.06 * Math.max((Math.max(...xs) - Math.min(...xs)) / inner[0], (Math.max(...ys) - Math.min(...ys)) / inner[1]) || 1;
    const half = [unit * inner[0] / 2, unit * inner[1] / 2];
    const p = plot("projection", `Projection of ${last}`, v => (v - middle[0]) / half[0] / 2 + .5, v => (v - middle[1]) / half[1] / 2 + .5,
      even(middle[0] - half[0], middle[0] + half[0]), even(middle[1] - half[1], middle[1] + half[1]), `first direction (${last})`, "second");
    const groups = data.groups, tint = k => k < 0 ? "var(--c0)" : `var(--g${k})`;
    points.forEach(([a, b], i) => {
      const of = groups ? groups.of[i] : -1, named = of < 0 ? "" : `${groups.names[of][0]}: `;
      p.svg.append(make("circle", { cx: p.px(a).toFixed(1), cy: p.py(b).toFixed(1), r: 1.8, fill: groups ? tint(of) : colour(last), "fill-opacity": groups ? .75 : .55 }));
      p.targets.push([p.px(a), p.py(b), named + (data.texts ? data.texts[i] : `(${short(a)}, ${short(b)})`)]);
    });
    if (groups) {
      const entries = groups.names.map(([name, count], k) => [`${name} (${count.toLocaleString("en")})`, tint(k)]);
      if (groups.of.includes(-1)) entries.push(["others, or none", tint(-1)]);
      document.getElementById("legend").replaceChildren(...entries.map(([text, fill]) => {
        const entry = document.createElement("span"), swatch = document.createElement("span");
        swatch.className = "swatch"; swatch.style.background = fill;
        entry.append(swatch, text);
        return entry;
      }));
    }
    p.svg.append(make("path", { d: `M${p.px(0) - 7},${p.py(0)}h14M${p.px(0)},${p.py(0) - 7}v14`, stroke: "var(--floor)", "stroke-width": 2 }));
    p.targets.push([p.px(0), p.py(0), "the origin"]);
  };
  const layers = () => {
    if (!data.layers) return;
    const kinds = { token: "var(--c0)", pooled: "var(--c3)" }, count = data.layers.token.length;
    const p = plot("layers", "Mean cosine by layer", v => v / Math.max(1, count - 1), v => v, [...Array(count).keys()], [0, .25, .5, .75, 1], "layer: grey tokens, blue pooled", "mean cosine");
    for (const [kind, stroke] of Object.entries(kinds)) {
      const points = data.layers[kind].map(entry => [entry.layer, Math.max(0, entry.mean_cosine ?? 0)]);
      line(p, points, stroke);
      for (const [k, v] of points) p.targets.push([p.px(k), p.py(v), `${kind}, layer ${k}: ${short(v)}`]);
    }
  };
  const draw = () => { spectrum(); cosines(); projection(); };
  const field = document.getElementById("chosen");
  for (const name of names) {
    const label = document.createElement("label"), box = document.createElement("input"), swatch = document.createElement("span");
    box.type = "checkbox"; box.checked = shown.has(name); box.name = "shown"; box.value = name;
    swatch.className = "swatch"; swatch.style.background = colour(name);
    box.addEventListener("change", () => { shown.delete(name); if (box.checked) shown.add(name); draw(); });
    label.append(box, swatch, name);
    field.append(label);
  }
  draw();
  layers();
})();
