"use strict";
(() => {
  const all = (query, of = document) => [...of.querySelectorAll(query)];
  // Whatever comes from outside is text, or an address that begins with https:// or http://.
  const node = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== ""));
    return made;
  };
  const compare = (numbers, down) => ([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = numbers ? Number(a) - Number(b) : a.localeCompare(b, "en");
    return down ? -order : order;
  };
  // Makes buttons of a table's heads. `keyed` gives pairs of a key and an item for a column; `put` takes the items in their order.
  const sorts = (table, keyed, put) => all("thead th", table).forEach((head, index) => {
    const button = node("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const pairs = keyed(index);
      const numbers = pairs.every(([key]) => key === "" || !Number.isNaN(Number(key)));
      put(pairs.sort(compare(numbers, down)).map(([, item]) => item));
    });
  });
  for (const table of all("table.sorts")) {
    const body = table.tBodies[0];
    const value = (cell) => cell.dataset.v ?? cell.textContent.trim();
    sorts(table, (index) => [...body.rows].map((row) => [value(row.cells[index]), row]), (rows) => body.append(...rows));
  }

  const holder = document.getElementById("image-data");
  const filters = document.getElementById("filters");
  if (!holder || !filters) return;
  const { made, states, severities, texts, places, findings, rows } = JSON.parse(holder.textContent);
  const images = rows.map(([place, facts, tag, digest, reason, since = 0, finding = 0, fix = 0, more = null]) => {
    const [flags, severity, state] = [facts % 8, Math.floor(facts / 8) % 8, Math.floor(facts / 64)];
    const [host, account, region, repository, team] = places[place].map((number) => texts[number]);
    const short = digest.slice(0, 12);
    return {
      host, repository, team, tag, digest, short, since, severity, fix: texts[fix], reason: texts[reason],
      rank: state, state: states[state] ?? "UNKNOWN", finding: findings[finding - 1] ?? null,
      action: (flags & 1) !== 0, overdue: (flags & 2) !== 0, scanned: (flags & 4) === 0,
      until: more?.[0] ?? null, asked: texts[more?.[1] ?? 0], details: more?.[2] ?? [],
      name: tag === "" ? `${repository}@sha256:${short}` : `${repository}:${tag}`,
      anchor: `i-${account}-${region}-${repository}@${short}`,
    };
  });
  const time = (minutes) => new Date((made + minutes * 60) * 1000).toISOString();
  const span = (minutes) => {
    const of = (number, unit) => `${number} ${unit}${number === 1 ? "" : "s"}`;
    if (minutes < 120) return of(Math.max(minutes, 0), "minute");
    return minutes < 2880 ? of(Math.floor(minutes / 60), "hour") : of(Math.floor(minutes / 1440), "day");
  };
  const idOf = ([id, , , , url]) => (/^https?:\/\//.test(texts[url]) ? node("a", { href: texts[url], rel: "noreferrer noopener" }, id) : id);
  const soft = (text, mono) => node("span", { class: mono ? "mono soft" : "soft" }, text);
  const below = (...children) => [node("br", {}), ...children];
  const detail = (number) => (number >= 0 ? texts[number] : node("span", {}, idOf(findings[-1 - number]), texts[findings[-1 - number][1]]));
  const details = (image) => {
    const uri = `${image.host}${image.repository}@sha256:${image.digest}`;
    const list = node("dl", {}, node("dt", {}, "Image"), node("dd", { class: "mono" }, uri));
    for (const [label, ...values] of image.details) {
      const parts = values.map(detail);
      list.append(node("dt", {}, texts[label]), node("dd", {}, ...(parts.length === 1 ? parts : [node("ul", {}, ...parts.map((part) => node("li", {}, part)))])));
    }
    list.append(node("dt", {}, "More"), node("dd", { class: "mono" }, `ecr-guard explain ${uri}`));
    return list;
  };
  const why = (image) => {
    if (image.details.length === 0) return image.reason;
    const opens = node("details", {}, node("summary", {}, image.reason));
    opens.addEventListener("toggle", () => opens.children.length > 1 || opens.append(details(image)));
    return opens;
  };
  const row = (image) => image.row ??= node("tr", { id: image.anchor },
    node("td", { class: `state s-${image.state.toLowerCase().replace(" ", "-")}` }, image.state),
    node("td", { class: "name" }, image.name, ...(image.tag === "" ? [] : below(soft(image.short, true)))),
    node("td", { class: "nowrap", "data-th": "Finding" }, ...(image.finding === null ? [image.scanned ? "none" : "unknown"]
      : [idOf(image.finding), ...below(soft(severities[image.finding[2]] + (texts[image.finding[3]] === "" ? "" : ` in ${texts[image.finding[3]]}`)))])),
    node("td", { class: "name", "data-th": "Fix" }, image.fix),
    node("td", { class: "why", "data-th": "Why" }, why(image), image.overdue ? node("b", {}, " It has waited too long.") : "",
      image.asked === "" ? "" : node("b", {}, ` Asked for since by ${image.asked}.`)),
    node("td", { "data-th": "Team" }, image.team),
    node("td", { class: "nowrap", "data-th": "Since" }, ...(image.since === null ? [] : [span(image.since), ...below(soft(time(-image.since).slice(0, 10)))]),
      ...(image.until === null ? [] : below(soft(`until ${time(image.until).slice(0, 16).replace("T", " ")} UTC`)))));
  const words = (image) => image.words ??= [image.name, image.digest, image.reason, image.team, image.fix, image.asked, image.state,
    ...(image.finding === null ? [] : [image.finding[0], texts[image.finding[3]]]),
    ...image.details.flatMap(([, ...values]) => values.map((number) => (number >= 0 ? texts[number] : findings[-1 - number][0] + texts[findings[-1 - number][1]]))),
  ].join("\n").toLowerCase();

  const SETTLED = ["ALLOWED", "NO IMAGE"];
  const table = document.getElementById("image-table");
  const field = (name) => document.getElementById(`filter-${name}`);
  const shown = document.getElementById("shown");
  let order = images;
  const apply = () => {
    const search = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [state, team, severity] = ["state", "team", "severity"].map((name) => field(name).value);
    const fitting = order.filter((image) => (state === "" || (state === "action" ? image.action : state === "open" ? !SETTLED.includes(image.state) : image.state === state))
      && (team === "" || image.team === team)
      && (severity === "" || severities[image.severity] === severity)
      && search.every((word) => words(image).includes(word)));
    const part = document.createDocumentFragment();
    for (const image of fitting) part.append(row(image));
    table.tBodies[0].replaceChildren(part);
    shown.textContent = `${fitting.length.toLocaleString("en")} shown.`;
  };
  const key = [(image) => image.rank, (image) => image.name, (image) => image.severity, (image) => image.fix, (image) => image.reason,
    (image) => image.team, (image) => (image.since === null ? "" : -image.since)];
  sorts(table, (index) => order.map((image) => [String(key[index](image)), image]), (sorted) => {
    order = sorted;
    apply();
  });
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
  // A link to an image shows its row, whatever the filters are.
  const wanted = () => {
    try {
      return decodeURIComponent(location.hash);
    } catch {
      return location.hash;
    }
  };
  const show = () => {
    const named = images.find((image) => `#${image.anchor}` === wanted());
    if (!named) return false;
    for (const name of ["search", "state", "team", "severity"]) field(name).value = "";
    apply();
    row(named).scrollIntoView();
    return true;
  };
  addEventListener("hashchange", show);
  if (!show()) {
    field("state").value = images.some((image) => !SETTLED.includes(image.state)) ? "open" : "";
    apply();
  }
})();
