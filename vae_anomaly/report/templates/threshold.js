"use strict";
// Moves the threshold of the page. All counts were computed before.
(() => {
  const box = document.getElementById("threshold");
  if (!box) return;
  const steps = JSON.parse(box.dataset.steps);
  const slider = box.querySelector("input");
  const shown = box.querySelectorAll("[data-show]");
  const total = steps.n_normal + (steps.n_anomalies ?? 0);

  const count = (n) => n.toLocaleString("en-US");

  // Round half to even, as `rounded` of report/formatting.py does.
  const rounded = (value, digits) =>
    value.toLocaleString("en-US", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      roundingMode: "halfEven",
    });

  const nats = (value) =>
    Math.abs(value) < 1e6 ? rounded(value, 1) : value.toPrecision(3);

  // Only 0 and 1 are written as 0 % and 100 %.
  const percent = (hits, of) => {
    if (!of) return "not defined";
    const share = hits / of;
    let text = "";
    for (const digits of [1, 2, 3, 4]) {
      text = rounded(100 * share, digits);
      if (share === 0 || share === 1 || ![0, 100].includes(Number(text))) break;
    }
    return `${Number(text)} %`;
  };

  const numbers = (i) => {
    const found = steps.found[i];
    const alarms = steps.alarms[i];
    const flagged = found + alarms;
    const values = {
      threshold: nats(steps.thresholds[i]),
      flagged: count(flagged),
      unflagged: count(total - flagged),
      share: percent(flagged, total),
      found: count(found),
      alarms: count(alarms),
      passed: count(steps.n_normal - alarms),
      rate: percent(alarms, steps.n_normal),
      precision: percent(found, flagged),
    };
    if (steps.n_anomalies !== null) {
      values.missed = count(steps.n_anomalies - found);
      values.recall = percent(found, steps.n_anomalies);
    }
    if (steps.nominal) {
      const nominal = steps.nominal[i];
      values.nominal = percent(nominal, 1);
      values.false = percent(Math.min(nominal * total, flagged), flagged);
    }
    return values;
  };

  const show = () => {
    const values = numbers(Number(slider.value));
    for (const place of shown) place.textContent = values[place.dataset.show];
    slider.setAttribute("aria-valuetext", `${values.threshold} nats`);
  };

  slider.addEventListener("input", show);
  box.querySelector("button").addEventListener("click", () => {
    slider.value = steps.start;
    show();
  });
  // A browser may restore the previous position of the slider.
  slider.value = steps.start;
  show();
  box.querySelector(".controls").hidden = false;
})();
