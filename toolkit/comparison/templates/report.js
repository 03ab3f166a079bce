"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // Theme: the system's, until the reader chooses.
  const theme = one("#theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // Table: sort, filter, show intervals and ratios.
  const table = one("#rows");
  const body = table.tBodies[0];
  const headings = all("thead tr:last-child th", table);
  const value = (row, index) => {
    const cell = row.cells[index];
    if (index === 0) return one(".title", cell).textContent.toLowerCase();
    return cell === undefined || cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  const sort = (index, way) => {
    const sign = way === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((p, q) => {
      const a = value(p, index), b = value(q, index);
      if (a === null || b === null) return (a === null) - (b === null); // rows without the figure stay last
      return sign * compare(a, b);
    });
    body.append(...rows);
    headings.forEach((heading, i) => heading.setAttribute("aria-sort", i === index ? way : "none"));
  };
  headings.forEach((heading, index) => {
    const button = one("button", heading);
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const first = button.dataset.better === "higher" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      sort(index, now === first ? second : first);
    });
  });

  const filter = one("#filter"), front = one("#front"), shown = one("#shown");
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const families = all(".family:checked").map((box) => box.value);
    let count = 0;
    for (const row of body.rows) {
      const text = (row.cells[0].textContent + row.dataset.facts).toLowerCase();
      const keep = words.every((word) => text.includes(word)) && families.includes(row.dataset.family) &&
        !(front && front.checked && !row.dataset.front);
      row.hidden = !keep;
      count += keep;
    }
    shown.textContent = `${count} of ${body.rows.length} rows`;
  };
  one(".tools").hidden = false;
  one(".tools").addEventListener("submit", (event) => event.preventDefault());
  one(".tools").addEventListener("input", apply);
  for (const name of ["intervals", "ratios"]) {
    const box = one("#" + name);
    if (box) box.addEventListener("change", () => table.classList.toggle(name, box.checked));
  }
  apply();

  // Tooltips: the text a mark or cell already carries for assistive technology, split at "; ".
  const tip = one("#tip");
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18) + "px";
  };
  const show = (text, title, x, y) => {
    const lines = text.split("; ");
    tip.replaceChildren(...lines.map((line, index) => {
      const part = document.createElement(title && index === 0 ? "strong" : "span");
      part.textContent = line;
      return part;
    }));
    tip.hidden = false;
    place(x, y);
  };
  const hide = () => { tip.hidden = true; };
  const told = (target) => target.closest && (target.closest(".chart svg [aria-label][role='graphics-symbol']") || target.closest("[data-tip]"));
  const text = (mark) => mark.dataset.tip || mark.getAttribute("aria-label");
  document.addEventListener("pointerover", (event) => {
    const mark = told(event.target);
    if (mark) show(text(mark), !mark.dataset.tip, event.clientX, event.clientY);
    else hide();
  });
  document.addEventListener("pointermove", (event) => { if (!tip.hidden && told(event.target)) place(event.clientX, event.clientY); });
  document.addEventListener("focusin", (event) => {
    const mark = event.target.closest && event.target.closest(".chart svg a");
    if (!mark) return hide();
    const inner = one("[aria-label]", mark), box = inner.getBoundingClientRect();
    show(text(inner), true, box.right, box.bottom);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // The mark's row: bring it into view even where a filter hid it, and say so to the keyboard.
  const go = () => {
    const row = location.hash.startsWith("#row-") && document.getElementById(location.hash.slice(1));
    if (!row) return;
    row.hidden = false;
    row.focus({ preventScroll: true });
  };
  addEventListener("hashchange", go);

  // Paper has no summaries to click.
  let closed = [];
  addEventListener("beforeprint", () => { closed = all("details:not([open])"); closed.forEach((item) => { item.open = true; }); });
  addEventListener("afterprint", () => { closed.forEach((item) => { item.open = false; }); });

  // Navigation: which section is in view.
  const links = new Map(all(".bar a").map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (link && entry.isIntersecting) {
        links.forEach((other) => other.removeAttribute("aria-current"));
        link.setAttribute("aria-current", "true");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  all("main > section").forEach((section) => watch.observe(section));
})();
