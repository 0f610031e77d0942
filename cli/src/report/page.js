"use strict";
(() => {
  const all = (query, of = document) => [...of.querySelectorAll(query)];
  const value = (cell) => cell.dataset.v ?? cell.textContent.trim();
  for (const table of all("table.sorts")) {
    all("thead th", table).forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row.cells[index]), row]);
        const numbers = rows.every(([text]) => text === "" || !Number.isNaN(Number(text)));
        rows.sort(([a], [b]) => {
          if (a === "" || b === "") return (a === "") - (b === "");
          const order = numbers ? Number(a) - Number(b) : a.localeCompare(b, "en");
          return down ? -order : order;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
  const filters = document.getElementById("filters");
  if (!filters) return;
  const field = (name) => document.getElementById(`filter-${name}`);
  const rows = all("#image-table tbody tr");
  const shown = document.getElementById("shown");
  const apply = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [state, team, severity] = ["state", "team", "severity"].map((name) => field(name).value);
    let number = 0;
    for (const row of rows) {
      const data = row.dataset;
      const fits = (state === "" || (state === "action" ? data.action === "1" : data.state === state))
        && (team === "" || data.team === team)
        && (severity === "" || data.severity === severity)
        && (words.length === 0 || words.every((word) => row.textContent.toLowerCase().includes(word)));
      row.hidden = !fits;
      number += fits ? 1 : 0;
    }
    shown.textContent = `${number.toLocaleString("en")} shown.`;
  };
  let later = 0;
  filters.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(apply, 120);
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  for (const card of all("a.card[data-filter]")) {
    card.addEventListener("click", () => {
      field("state").value = card.dataset.filter;
      apply();
    });
  }
  filters.hidden = false;
  field("state").value = rows.some((row) => row.dataset.action === "1") && !location.hash.startsWith("#i-") ? "action" : "";
  apply();
})();
