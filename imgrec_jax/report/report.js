"use strict";

// Charts: the values of all curves at the step below the pointer, or chosen by the arrow keys.
// Where steps stand for places, of those curves alone that have a value there.
for (const figure of document.querySelectorAll("[data-chart]")) {
  follow(figure.querySelector(".plot"), JSON.parse(figure.dataset.chart));
}

function follow(plot, chart) {
  const [left, top, right, bottom] = chart.box;
  const line = add(plot, "cursor");
  const dots = chart.curves.map((curve) => add(plot, `dot series-${curve.color}`));
  const tip = add(plot, "tip");
  const steps = [...new Set(chart.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  let shown = -1;
  line.style.top = percent(top);
  line.style.height = percent(bottom - top);
  hide();

  function show(place) {
    shown = Math.min(Math.max(place, 0), steps.length - 1);
    const step = steps[shown];
    const across = left + (right - left) * part(step, chart.x);
    line.style.left = percent(across);
    const head = chart.places ? chart.places[step] : `step ${step.toLocaleString("en")}`;
    tip.replaceChildren(text("div", head, "faint"));
    chart.curves.forEach((curve, number) => {
      const k = nearest(curve.x, step);
      const there = curve.x[k] === step;
      dots[number].hidden = Boolean(chart.places) && !there;
      if (dots[number].hidden) return;
      const spread = curve.spread ? ` ± ${number4(curve.spread[k])}` : "";
      const away = there ? "" : ` (step ${curve.x[k].toLocaleString("en")})`;
      const row = text("div", `${curve.name} ${number4(curve.y[k])}${spread}${away}`, "");
      row.className = `series-${curve.color}`;
      tip.append(row);
      dots[number].style.left = percent(left + (right - left) * part(curve.x[k], chart.x));
      dots[number].style.top = percent(bottom - (bottom - top) * part(curve.y[k], chart.y));
    });
    tip.style.left = across < 0.5 ? percent(across + 0.02) : "auto";
    tip.style.right = across < 0.5 ? "auto" : percent(1 - across + 0.02);
    plot.classList.add("followed");
  }

  function hide() {
    plot.classList.remove("followed");
    shown = -1;
  }

  function point(event) {
    const box = plot.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width - left) / (right - left);
    show(nearest(steps, chart.x[0] + across * (chart.x[1] - chart.x[0])));
  }

  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    show(shown < 0 ? steps.length - 1 : shown + move);
  });
}

function add(parent, className) {
  return parent.appendChild(text("div", "", className));
}

function text(name, content, className) {
  const element = document.createElement(name);
  element.textContent = content;
  element.className = className;
  return element;
}

function nearest(sorted, value) {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle;
    else high = middle;
  }
  return value - sorted[low] <= sorted[high] - value ? low : high;
}

function part(value, [from, to]) {
  return (value - from) / (to - from);
}

function percent(value) {
  return `${100 * value}%`;
}

function number4(value) {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}
