"use strict";
// Sorts, filters and saves the list of flagged records. All of it is in the page.
(() => {
  const box = document.getElementById("flagged");
  if (!box) return;
  const heads = [...box.querySelectorAll("thead th")];
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const search = box.querySelector("input");
  const status = box.querySelector("[role=status]");

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent;
  };

  const number = (text) => Number(text.replaceAll(",", ""));

  const compare = (a, b) => {
    const difference = number(a) - number(b);
    return Number.isNaN(difference)
      ? a.localeCompare(b, "en", { numeric: true })
      : difference;
  };

  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    status.textContent = `${shown.toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")} shown`;
  };

  const sort = (head) => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    const column = heads.indexOf(head);
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const sign = ascending ? 1 : -1;
    rows.sort((a, b) => sign * compare(valueOf(a, column), valueOf(b, column)));
    body.append(...rows);
  };

  const quoted = (text) =>
    /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

  const csv = () => {
    const lines = [heads.map((head) => head.textContent)];
    for (const row of rows) {
      if (!row.hidden) lines.push(heads.map((_, i) => valueOf(row, i)));
    }
    return lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  };

  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "flagged.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head));
    head.replaceChildren(button);
  }
  search.addEventListener("input", filter);
  box.querySelector(".controls button").addEventListener("click", save);
  search.value = "";
  filter();
  box.querySelector(".controls").hidden = false;
})();
