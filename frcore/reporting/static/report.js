"use strict";
// Sorting, filtering and the theme; the page is complete without any of it.

const numberIn = (text) => {
  const found = text.replaceAll(",", "").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : NaN;
};

const shown = (cell) => (cell.querySelector(".value") ?? cell).textContent.trim();

function sort(table, column, heading) {
  const descending = heading.ariaSort === "ascending";
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const numeric = heading.classList.contains("number");
  const key = (row) => (numeric ? numberIn(shown(row.cells[column])) : shown(row.cells[column]));
  const compare = (a, b) => {
    // Cells without a number come last, whichever way the column is sorted.
    if (numeric && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b);
    const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
    return descending ? -order : order;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
}

function columnOf(heading) {
  // With a spanner row, headings that span both rows come first in the first row.
  const [first, second] = heading.closest("thead").rows;
  if (!second) return heading.cellIndex;
  const tall = [...first.cells].filter((cell) => cell.rowSpan > 1);
  return heading.rowSpan > 1 ? tall.indexOf(heading) : tall.length + heading.cellIndex;
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  for (const heading of table.tHead.querySelectorAll(".column")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(table, columnOf(heading), heading));
    heading.replaceChildren(button);
  }
}

for (const canvas of document.querySelectorAll("[data-filter]")) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  label.className = "filter";
  input.type = "search";
  label.append("Filter rows", input);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of canvas.querySelectorAll("tbody tr"))
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  });
  canvas.before(label);
}

// The page may be shared without the files next to it: a figure is saved from the page itself.
const onPaper = (figure) => {
  const svg = figure.querySelector("svg").cloneNode(true);
  const { width, height } = svg.viewBox.baseVal;
  svg.setAttribute("width", `${width}pt`);
  svg.setAttribute("height", `${height}pt`);
  // The page's colours are variables that fall back to the figure's own.
  return new XMLSerializer()
    .serializeToString(svg)
    .replace(/var\(--c[0-9a-f]+, (#[0-9a-f]+)\)/g, "$1");
};
const hand = (link, blob) => {
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
};
for (const link of document.querySelectorAll("[data-svg]")) {
  const figure = link.closest("figure");
  link.download = `${figure.dataset.name}.svg`;
  link.addEventListener("click", () =>
    hand(link, new Blob([onPaper(figure)], { type: "image/svg+xml" })),
  );
}
const dotsPerPoint = 200 / 72;
for (const button of document.querySelectorAll("[data-png]")) {
  const figure = button.closest("figure");
  const link = document.createElement("a");
  link.download = `${figure.dataset.name}.png`;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const { width, height } = figure.querySelector("svg").viewBox.baseVal;
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(onPaper(figure))}`;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * dotsPerPoint);
    canvas.height = Math.round(height * dotsPerPoint);
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    hand(link, await new Promise((resolve) => canvas.toBlob(resolve)));
    link.click();
  });
}

// Print everything: on paper nothing can be expanded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.folded = "";
  }
});
addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("[data-folded]")) {
    folded.open = false;
    delete folded.dataset.folded;
  }
});

const themes = ["auto", "light", "dark"];
const theme = document.getElementById("theme");
theme.hidden = !CSS.supports("color", "light-dark(#000, #fff)");
theme.addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % 3];
  document.documentElement.dataset.theme = next;
  theme.textContent = `Theme: ${next}`;
});
