"use strict";
(() => {
  const PAGE = 200;
  const $ = (id) => document.getElementById(id);
  const about = JSON.parse($("about").textContent);
  const at = Object.fromEntries(about.columns.map((name, index) => [name, index]));
  const words = new Set(about.words), times = new Set(about.times), numbers = new Set(about.numbers);
  const group = about.columns.length;
  const heads = Array.from(document.querySelectorAll("th[data-sort]"));
  const columns = heads.map((head) => head.dataset.sort);
  const named = (name) => about.headings[name] || name;
  const state = $("filter-state"), text = $("filter-text"), body = $("lines");
  let rows = [], shown = [], page = 0, wantedGroup = null, sorted = null, falling = false, local = false, waiting = 0;

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const pad = (number) => String(number).padStart(2, "0");
  const timeOf = (seconds) => {
    const time = new Date(seconds * 1000);
    if (!local) return time.toISOString().slice(0, 16).replace("T", " ");
    const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
    return `${day} ${pad(time.getHours())}:${pad(time.getMinutes())}`;
  };

  const make = (tag, className, content) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (content !== undefined) made.textContent = content;
    return made;
  };
  const shownValue = (row, name) => {
    const value = row[at[name]];
    if (times.has(name)) return value ? timeOf(value) : "";
    return String(value);
  };
  const linkOf = (value) => {
    if (!value.startsWith("https://")) return make("bdi", "", value);
    const link = make("a", "", value);
    link.href = value;
    link.rel = "noopener noreferrer";
    return link;
  };

  const fill = (cell, row, name) => {
    if (name === "state") {
      cell.append(make("span", `badge fill-${row[at.state]}`, row[at.state]));
      if (row[at.result]) cell.append(` ${row[at.result]}`);
    } else if (name === "link") {
      cell.append(linkOf(row[at.link]));
    } else if (name === "expires_at") {
      const next = shownValue(row, "next_at");
      cell.textContent = shownValue(row, "expires_at") || (next && `goes on ${next}`);
    } else {
      cell.append(make("bdi", "", shownValue(row, name)));
    }
    if (name === "error" || name === "action" || name === "customer_id") cell.title = shownValue(row, name);
  };

  const lineOf = (row) => {
    const line = make("tr");
    line.setAttribute("role", "row");
    for (const name of columns) {
      const cell = make(name === "row" ? "th" : "td", `c-${name}`);
      cell.setAttribute("role", name === "row" ? "rowheader" : "cell");
      if (name === "row") {
        cell.scope = "row";
        const open = make("button", "open", String(row[at.row]));
        open.type = "button";
        open.setAttribute("aria-expanded", "false");
        open.setAttribute("aria-label", `Row ${row[at.row]}, details`);
        cell.append(open);
      } else {
        fill(cell, row, name);
        cell.dataset.label = named(name);
      }
      if (!cell.textContent) cell.classList.add("empty");
      line.append(cell);
    }
    line.at = row;
    return line;
  };

  const detailsOf = (row) => {
    const line = make("tr", "details"), cell = make("td"), list = make("dl");
    line.setAttribute("role", "row");
    cell.setAttribute("role", "cell");
    cell.colSpan = columns.length;
    for (const name of about.columns) {
      const value = shownValue(row, name);
      if (value === "" || name === "row") continue;
      const pair = make("div"), what = make("dd");
      what.append(name === "link" ? linkOf(value) : make("bdi", "", value));
      pair.append(make("dt", "", named(name)), what);
      list.append(pair);
    }
    cell.append(list);
    line.append(cell);
    return line;
  };

  const toggle = (line) => {
    const button = line.querySelector("button.open");
    const isOpen = button.getAttribute("aria-expanded") === "true";
    if (isOpen) line.nextElementSibling.remove();
    else line.after(detailsOf(line.at));
    button.setAttribute("aria-expanded", String(!isOpen));
  };

  const draw = () => {
    const first = page * PAGE, part = shown.slice(first, first + PAGE);
    body.replaceChildren(...part.map(lineOf));
    const many = (number) => number.toLocaleString("en");
    $("filter-count").textContent = `${many(shown.length)} of ${many(rows.length)} rows`;
    $("page").textContent = shown.length ? `${many(first + 1)} to ${many(first + part.length)} of ${many(shown.length)}` : "";
    $("pages").hidden = shown.length <= PAGE;
    $("before").disabled = page === 0;
    $("after").disabled = first + PAGE >= shown.length;
  };

  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    const searched = about.columns.map((name, index) => [name, index]).filter(([name]) => !times.has(name) && !numbers.has(name));
    const found = new Map();  // the same few words come again in most rows
    const has = (value, name) => {
      if (!words.has(name)) return value.toLowerCase().includes(wanted);
      if (!found.has(value)) found.set(value, value.toLowerCase().includes(wanted));
      return found.get(value);
    };
    shown = rows.filter((row) =>
      (!state.value || row[at.state] === state.value) &&
      (wantedGroup === null || row[group] === wantedGroup) &&
      (!wanted || String(row[at.row]) === wanted || searched.some(([name, index]) => has(row[index], name))));
    if (sorted !== null) {
      const by = at[sorted], sign = falling ? -1 : 1;
      shown.sort((one, other) => sign * (one[by] < other[by] ? -1 : one[by] > other[by] ? 1 : one[at.row] - other[at.row]));
    }
    page = 0;
    draw();
  };

  const turn = (by) => {
    page += by;
    draw();
    $("rows").scrollIntoView();
  };

  const numbersOf = (ranges) => ranges.split(", ").flatMap((range) => {
    const [first, last] = range.split("-").map(Number);
    return Array.from({ length: (last || first) - first + 1 }, (_, index) => first + index);
  });
  const copy = async (button) => {
    const source = $(`numbers-${button.dataset.copy}`), before = button.textContent;
    try {
      await navigator.clipboard.writeText(numbersOf(source.textContent).join(", "));
      button.textContent = "Copied";
    } catch {
      // No clipboard here: the numbers are selected, so that a key copies them.
      const around = source.closest("details");
      if (around) around.open = true;
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  };

  const showZone = () => {
    for (const element of document.querySelectorAll("time")) {
      element.textContent = `${timeOf(Date.parse(element.dateTime) / 1000)}${local ? "" : " UTC"}`;
    }
    $("zone").textContent = local ? "Show times in UTC" : `Show times in ${zone}`;
  };

  const listen = () => {
    $("filter").addEventListener("submit", (event) => event.preventDefault());
    $("filter").addEventListener("reset", () => setTimeout(() => { wantedGroup = null; apply(); }));
    state.addEventListener("change", () => { wantedGroup = null; apply(); });
    text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 100); });
    $("before").addEventListener("click", () => turn(-1));
    $("after").addEventListener("click", () => turn(1));
    body.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (!line || !line.at || event.target.closest("a") || String(getSelection())) return;
      toggle(line);
    });
    document.querySelectorAll("a[data-state]").forEach((link) => link.addEventListener("click", () => {
      state.value = link.dataset.state;
      text.value = "";
      wantedGroup = null;
      apply();
    }));
    document.querySelectorAll("button[data-show-group]").forEach((button) => button.addEventListener("click", () => {
      state.value = text.value = "";
      wantedGroup = Number(button.dataset.showGroup);
      apply();
      $("rows").focus();
      $("rows").scrollIntoView();
    }));
    document.querySelectorAll("button[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
    document.querySelectorAll(".tools").forEach((tools) => { tools.hidden = false; });
    heads.forEach((head) => {
      if (head.dataset.sort === "link") return;
      const button = make("button", "sort", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        falling = sorted === head.dataset.sort && !falling;
        sorted = head.dataset.sort;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        apply();
      });
    });
    if (zone && zone !== "UTC") {
      $("zone").hidden = false;
      $("zone").addEventListener("click", () => { local = !local; showZone(); draw(); });
      showZone();
    }
  };

  const load = async () => {
    const places = about.columns.map((name, index) => [name, index]).filter(([name]) => words.has(name)).map(([, index]) => index);
    const chunks = Array.from(document.querySelectorAll("script.chunk"));
    for (const [number, chunk] of chunks.entries()) {
      const { w, r } = JSON.parse(chunk.textContent);
      for (const row of r) for (const place of places) row[place] = w[row[place]];
      rows.push(...r);
      chunk.remove();
      // The page answers while the rows are read.
      if (number % 10 === 9) await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.classList.add("live");
    $("filter").hidden = false;
    $("partial")?.remove();
    listen();
    apply();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  };
  load();
})();
