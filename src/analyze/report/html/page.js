// Sorting, filtering, folding, the theme and times in the reader's zone. The
// page is whole without it.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("scripted");

  // Light and dark: as the system says until the button is pressed.
  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-pressed", String(isDark()));
    theme.setAttribute("aria-label", isDark() ? "Switch to the light theme" : "Switch to the dark theme");
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  dark.addEventListener("change", showTheme);
  showTheme();

  // Times are UTC; pointing at one also says it in the reader's zone.
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  document.addEventListener("pointerover", (event) => {
    const time = event.target.closest?.("time[datetime]");
    if (time && !time.dataset.local) {
      time.dataset.local = "1";
      time.title = time.dateTime + "\n" + zone.format(new Date(time.dateTime)) + " (your time zone)";
    }
  });

  // A row and the one beneath that it opens stay together.
  const rows = (body) =>
    all(":scope > tr:not(.sub):not(.group)", body).map((row) => {
      const sub = row.nextElementSibling;
      return { row, sub: sub?.classList.contains("sub") ? sub : null };
    });
  const put = (body, list) => {
    const parts = list.flatMap(({ row, sub }) => (sub ? [row, sub] : [row]));
    body.append(...parts);
  };

  const value = (row, column, kind) => {
    const cell = row.cells[column];
    return kind === "num" ? Number(cell.dataset.v ?? NaN) : cell.textContent.trim();
  };
  const compare = (column, kind, sign) => (a, b) => {
    const [x, y] = [value(a.row, column, kind), value(b.row, column, kind)];
    if (kind === "text") return sign * x.localeCompare(y);
    // What is not known comes last, whichever way.
    const [unknownX, unknownY] = [!(x >= 0), !(y >= 0)];
    return unknownX || unknownY ? unknownX - unknownY : sign * (x - y);
  };
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const kind = head.dataset.sort;
      if (!kind) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = kind === "num" ? "descending" : "ascending";
        const now = before === first ? (first === "descending" ? "ascending" : "descending") : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", now);
        put(body, rows(body).sort(compare(column, kind, now === "ascending" ? 1 : -1)));
        refresh.get(table)?.();
      });
    });
  }

  // Which endpoints are shown, and under which heading.
  const refresh = new Map();
  for (const input of all("input[data-filter]")) {
    const table = document.getElementById(input.dataset.filter);
    const body = table.tBodies[0];
    const group = document.querySelector(`input[data-group="${table.id}"]`);
    const failing = document.querySelector(`input[data-failing="${table.id}"]`);
    const shown = document.querySelector(`output[data-shown="${table.id}"]`);
    const folded = new Set();
    const show = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const list = rows(body);
      all(":scope > tr.group", body).forEach((row) => row.remove());
      let count = 0;
      for (const { row, sub } of list) {
        const text = row.cells[0].textContent.toLowerCase();
        const matches = words.every((word) => text.includes(word)) && (!failing.checked || row.classList.contains("bad"));
        const hidden = !matches || (group.checked && folded.has(row.dataset.g));
        row.dataset.out = matches ? "" : "1";
        row.hidden = hidden;
        if (sub) sub.hidden = hidden;
        count += matches;
      }
      if (group.checked) grouped(list);
      shown.textContent = count === list.length ? "" : `${count} of ${list.length} shown`;
    };
    const grouped = (list) => {
      const groups = new Map();
      for (const entry of list) {
        const name = entry.row.dataset.g;
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(entry);
      }
      for (const [name, entries] of groups) {
        const matching = entries.filter(({ row }) => !row.dataset.out);
        if (matching.length) {
          const row = body.insertRow();
          row.className = "group";
          const head = document.createElement("th");
          head.scope = "rowgroup";
          head.colSpan = table.tHead.rows[0].cells.length;
          const button = document.createElement("button");
          button.type = "button";
          button.setAttribute("aria-expanded", String(!folded.has(name)));
          const sum = matching.reduce((sum, { row }) => sum + Number(row.cells[1].dataset.v), 0);
          const failed = matching.reduce((sum, { row }) => sum + Number(row.cells[3].dataset.v), 0);
          const plural = matching.length === 1 ? "endpoint" : "endpoints";
          button.textContent =
            `${folded.has(name) ? "▸" : "▾"} ${name}: ${matching.length} ${plural}, ${sum.toLocaleString("en")} transactions, ` +
            `${failed.toLocaleString("en")} failed`;
          button.addEventListener("click", () => {
            folded.has(name) ? folded.delete(name) : folded.add(name);
            show();
            all(":scope > tr.group button", body).find((other) => other.dataset.name === name)?.focus();
          });
          button.dataset.name = name;
          head.append(button);
          row.append(head);
        }
        put(body, entries);
      }
    };
    refresh.set(table, show);
    for (const control of [input, group, failing]) control.addEventListener("input", show);
  }

  for (const button of all("button[data-open], button[data-close]")) {
    const section = document.getElementById(button.dataset.open ?? button.dataset.close);
    button.addEventListener("click", () => {
      all("details.tx", section).forEach((card) => (card.open = "open" in button.dataset));
    });
  }

  // What a step of a chart says, at the pointer and without the browser's wait.
  const tip = document.getElementById("tip");
  for (const group of all("g.hit")) {
    const texts = new Map();
    for (const rect of all("rect", group)) {
      texts.set(rect, rect.querySelector("title").textContent);
      rect.querySelector("title").remove();
      rect.setAttribute("aria-label", texts.get(rect));
    }
    group.addEventListener("pointermove", (event) => {
      const text = texts.get(event.target);
      if (!text) return;
      tip.textContent = text;
      tip.hidden = false;
      const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      const above = event.clientY - tip.offsetHeight - 12;
      tip.style.left = Math.max(8, left) + "px";
      tip.style.top = (above < 8 ? event.clientY + 18 : above) + "px";
    });
    group.addEventListener("pointerleave", () => (tip.hidden = true));
  }

  // Everything that is folded is opened for printing.
  addEventListener("beforeprint", () => all("details.fold, details.tx").forEach((d) => (d.open = d.open || d.matches(".fold"))));
})();
