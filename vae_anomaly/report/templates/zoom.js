"use strict";
// Zooms into the figures of series. All time steps, or spans of them, are in the page.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MISSING = 65535;
  const MARGIN = 6;
  const HEIGHT = 70;
  const TITLE = 16;
  const LANE = 12;
  const LEAST_COLUMNS = 12;
  const DAY = 86400000;
  const STEPS = [
    ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
    ...[1, 2, 5, 10, 15, 30].map((seconds) => 1000 * seconds),
    ...[1, 2, 5, 10, 15, 30].map((minutes) => 60000 * minutes),
    ...[1, 2, 3, 6, 12].map((hours) => 3600000 * hours),
    ...[1, 2, 7, 14, 28, 91, 182, 365].map((days) => DAY * days),
  ];

  const numbers = (text) => {
    const raw = atob(text);
    return Array.from(
      { length: raw.length / 2 },
      (_, i) => raw.charCodeAt(2 * i) + 256 * raw.charCodeAt(2 * i + 1),
    );
  };

  const node = (name, attributes, text = "") => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  const short = (value) => Number(value.toPrecision(4)).toLocaleString("en-US");

  const start = (figure) => {
    const data = JSON.parse(figure.dataset.zoom);
    const frame = figure.querySelector(".frame");
    const whole = frame.querySelector("svg");
    const controls = figure.querySelector(".controls");
    const status = controls.querySelector("[role=status]");
    const events = controls.querySelector("select");
    const column = (data.end - data.start) / Math.max(1, data.columns - 1);
    const rows = data.rows.map((row) => {
      const least = numbers(row.least);
      return { ...row, least, most: row.most ? numbers(row.most) : least };
    });
    let view = [data.start, data.end];
    let drawn = null;

    const isWhole = () => view[0] <= data.start && view[1] >= data.end;

    const timeOf = (value, step) => {
      if (!data.time) return Math.round(value).toLocaleString("en-US");
      const text = new Date(value).toISOString().replace("T", " ").replace("Z", "");
      if (step >= DAY) return text.slice(0, 10);
      if (step >= 60000) return text.slice(0, 16);
      return step >= 1000 ? text.slice(0, 19) : text;
    };

    const ticks = (width) => {
      const wanted = (view[1] - view[0]) / Math.max(2, width / 130);
      const power = 10 ** Math.floor(Math.log10(Math.max(1, wanted)));
      const round = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
      const step = (data.time && STEPS.find((one) => one >= wanted)) || round;
      const found = [];
      for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) found.push(at);
      return { step, found };
    };

    const line = (row, first, last, place, level) => {
      let path = "";
      let down = false;
      for (let i = first; i <= last; i += 1) {
        if (row.least[i] === MISSING) continue;
        const x = place(data.start + i * column).toFixed(1);
        path += `${down ? "L" : "M"}${x} ${level(row.least[i]).toFixed(1)}`;
        if (row.most[i] !== row.least[i]) path += `L${x} ${level(row.most[i]).toFixed(1)}`;
        else if (!down) path += "h.5";
        down = row.least[i + 1] !== MISSING;
      }
      return path;
    };

    const shade = (svg, spans, place, y, height, fill, opacity) => {
      for (const [from, to] of spans) {
        if (to < view[0] || from > view[1]) continue;
        const x = Math.max(place(from), place(view[0])) - 1;
        const width = Math.max(2, Math.min(place(to), place(view[1])) - x + 1);
        svg.append(node("rect", { x, y, width, height, fill, "fill-opacity": opacity }));
      }
    };

    const draw = () => {
      const width = Math.max(300, frame.clientWidth - 26);
      const inner = width - 2 * MARGIN;
      const lanes = data.labels.length ? 2 : 1;
      const height = rows.length * (HEIGHT + TITLE) + lanes * LANE + 24;
      const svg = node("svg", {
        viewBox: `0 0 ${width} ${height}`,
        class: "plot",
        role: "img",
        "aria-label": `Part of the series: ${describe()}.`,
      });
      const place = (at) => MARGIN + ((at - view[0]) / (view[1] - view[0])) * inner;
      const first = Math.max(0, Math.floor((view[0] - data.start) / column));
      const last = Math.min(data.columns - 1, Math.ceil((view[1] - data.start) / column));
      const clip = `clip-${Math.random().toString(36).slice(2)}`;
      const path = node("clipPath", { id: clip });
      path.append(node("rect", { x: MARGIN, y: 0, width: inner, height }));
      svg.append(path);
      let top = 0;
      for (const row of rows) {
        const unit = (row.high - row.low) / (MISSING - 1) || 1;
        const isScore = row === rows.at(-1);
        let low = Infinity;
        let high = -Infinity;
        for (let i = first; i <= last; i += 1) {
          if (row.least[i] === MISSING) continue;
          low = Math.min(low, row.low + unit * row.least[i]);
          high = Math.max(high, row.low + unit * row.most[i]);
        }
        if (low > high) [low, high] = [0, 0];
        const range = `${short(low)} to ${short(isScore && high > 1 ? Math.exp(high - 1) : high)}`;
        if (isScore) [low, high] = [0, Math.max(1.3, 1.05 * high)];
        if (low === high) [low, high] = [low - 1, high + 1];
        const base = top + TITLE + HEIGHT;
        const level = (code) =>
          base - 2 - ((row.low + unit * code - low) / (high - low)) * (HEIGHT - 4);
        const title = isScore ? `${row.name}, threshold at 1; ${range}` : `${row.name}; ${range}`;
        const words = { x: MARGIN, y: top + 12, fill: "currentColor", "font-size": 11 };
        svg.append(node("text", words, title));
        shade(svg, data.events, place, top + TITLE, HEIGHT, "var(--orange)", 0.22);
        shade(svg, data.gaps, place, top + TITLE, HEIGHT, "var(--grey)", 0.3);
        const stroke = isScore ? "currentColor" : "var(--blue)";
        const marks = { fill: "none", stroke, "stroke-width": 1.1, "clip-path": `url(#${clip})` };
        svg.append(node("path", { d: line(row, first, last, place, level), ...marks }));
        if (isScore) {
          const y = base - 2 - ((1 - low) / (high - low)) * (HEIGHT - 4);
          const dashed = { stroke: "var(--orange)", "stroke-dasharray": "4 3" };
          svg.append(node("line", { x1: MARGIN, x2: width - MARGIN, y1: y, y2: y, ...dashed }));
        }
        top += HEIGHT + TITLE;
      }
      shade(svg, data.events, place, top + 3, LANE - 4, "var(--orange)", 1);
      if (lanes > 1) {
        shade(svg, data.labels, place, top + LANE + 2, LANE - 4, "currentColor", 1);
      }
      top += lanes * LANE;
      const { step, found } = ticks(width);
      let free = 0; // left of it there are other words
      for (const at of found) {
        const x = place(at);
        svg.append(node("line", { x1: x, x2: x, y1: top, y2: top + 4, stroke: "var(--grey)" }));
        const words = timeOf(at, step);
        const half = 3.3 * words.length;
        if (x - half < free || x + half > width) continue;
        free = x + half;
        const style = { fill: "currentColor", "font-size": 11, "text-anchor": "middle" };
        svg.append(node("text", { x, y: top + 16, ...style }, words));
      }
      return svg;
    };

    const describe = () => {
      const step = (view[1] - view[0]) / 100;
      return `${timeOf(view[0], step)} to ${timeOf(view[1], step)}`;
    };

    const show = (from, to) => {
      const least = Math.min(LEAST_COLUMNS * column, data.end - data.start);
      const size = Math.min(Math.max(to - from, least), data.end - data.start);
      const middle = (from + to) / 2;
      const begin = Math.min(Math.max(middle - size / 2, data.start), data.end - size);
      view = [begin, begin + size];
      drawn?.remove();
      drawn = isWhole() ? null : draw();
      whole.toggleAttribute("hidden", drawn !== null);
      if (drawn) frame.append(drawn);
      status.textContent = isWhole() ? "the whole series" : describe();
    };

    const size = () => view[1] - view[0];
    const zoom = (factor) => {
      const middle = (view[0] + view[1]) / 2;
      show(middle - (factor * size()) / 2, middle + (factor * size()) / 2);
    };
    const move = (share) => show(view[0] + share * size(), view[1] + share * size());
    const actions = {
      in: () => zoom(0.5),
      out: () => zoom(2),
      earlier: () => move(-0.5),
      later: () => move(0.5),
      whole: () => show(data.start, data.end),
    };
    const keys = {
      "+": "in",
      "=": "in",
      "-": "out",
      ArrowLeft: "earlier",
      ArrowRight: "later",
      0: "whole",
      Home: "whole",
    };

    // The axes of the whole figure are as wide as the rectangle that cuts their lines.
    const area = () => {
      if (drawn) {
        const width = drawn.viewBox.baseVal.width;
        return { svg: drawn, x: MARGIN, width: width - 2 * MARGIN };
      }
      const axes = whole.querySelector("clipPath rect");
      if (!axes) return null;
      return { svg: whole, x: axes.x.baseVal.value, width: axes.width.baseVal.value };
    };

    const timeAt = (event, { svg, x, width }) => {
      const box = svg.getBoundingClientRect();
      const user = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const share = Math.min(Math.max((user - x) / width, 0), 1);
      return { at: view[0] + share * size(), x: x + share * width };
    };

    frame.addEventListener("pointerdown", (event) => {
      const axes = event.pointerType === "touch" || event.button !== 0 ? null : area();
      if (!axes) return;
      const from = timeAt(event, axes);
      const height = axes.svg.viewBox.baseVal.height;
      const mark = node("rect", { y: 0, height, fill: "var(--blue)", "fill-opacity": 0.2 });
      axes.svg.append(mark);
      const drag = (moved) => {
        const to = timeAt(moved, axes);
        mark.setAttribute("x", Math.min(from.x, to.x));
        mark.setAttribute("width", Math.abs(to.x - from.x));
      };
      const drop = (dropped) => {
        window.removeEventListener("pointermove", drag);
        mark.remove();
        if (dropped.type !== "pointerup" || Math.abs(dropped.clientX - event.clientX) < 8) return;
        const to = timeAt(dropped, axes);
        show(Math.min(from.at, to.at), Math.max(from.at, to.at));
      };
      window.addEventListener("pointermove", drag);
      window.addEventListener("pointerup", drop, { once: true });
      event.preventDefault();
      frame.focus({ preventScroll: true });
    });
    frame.addEventListener("dblclick", actions.whole);
    frame.addEventListener("keydown", (event) => {
      const name = keys[event.key];
      if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.startsWith("Arrow") && isWhole()) return;
      actions[name]();
      event.preventDefault();
    });
    for (const button of controls.querySelectorAll("button")) {
      button.addEventListener("click", actions[button.dataset.action]);
    }
    events?.addEventListener("change", () => {
      const found = data.events[Number(events.value)];
      if (!found) return actions.whole();
      const around = Math.max(2 * (found[1] - found[0]), 60 * column);
      return show(found[0] - around, found[1] + around);
    });
    window.addEventListener("resize", () => drawn && show(...view));
    show(data.start, data.end);
    controls.hidden = false;
  };

  for (const figure of document.querySelectorAll("[data-zoom]")) start(figure);
})();
