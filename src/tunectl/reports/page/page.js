"use strict";
(() => {
  const STEP = 100; // rows
  const PANEL = 220; // pixels that a panel needs, and a name on an axis
  const NAME = 110;
  const PAPER = 940; // pixels, of which two figures fit on a page
  const NARROW = 600;
  const HOVERS = matchMedia("(hover: hover)").matches;
  const MANY = 20; // columns, more than paper takes
  const byId = (id) => document.getElementById(id);

  async function unpack(id) {
    const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  // -- figures ----------------------------------------------------------------------------------

  const nextFrame = () => new Promise((done) => setTimeout(done, 0));

  // More than two panels side by side need some room each; where there is less, the figure scrolls by itself.
  function narrowest(layout) {
    const axes = Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key));
    const starts = axes.map((key) => ((layout[key] || {}).domain || [0])[0].toFixed(3));
    const panels = new Set(starts).size;
    const names = ((layout.xaxis || {}).ticktext || []).length;
    return Math.max(panels > 2 ? panels * PANEL : 0, names > 4 ? names * NAME : 0);
  }

  function breakTitles(layout) {
    for (const [key, axis] of Object.entries(layout)) {
      const title = /^xaxis\d*$/.test(key) && axis.title && axis.title.text;
      if (title && title.length > 30) axis.title.text = title.replace(" (", "<br>(");
    }
  }

  async function drawFigures() {
    const figures = JSON.parse(await unpack("data-figures"));
    if (!figures.length) return;
    const library = element("script");
    library.textContent = await unpack("data-library");
    document.head.append(library);
    for (const one of figures) {
      const plot = byId(one.id).querySelector(".plot");
      // Fingers move the page, not what is in the figure.
      const options = { responsive: true, displaylogo: false, displayModeBar: HOVERS && "hover" };
      if (!HOVERS) one.layout.dragmode = false;
      plot.style.minWidth = `${narrowest(one.layout)}px`;
      if (plot.clientWidth < NARROW) breakTitles(one.layout);
      await Plotly.newPlot(plot, one.data, one.layout, options);
      await nextFrame();
    }
    for (const one of figures) await addPicture(byId(one.id).querySelector(".plot"));
  }

  // Paper has another width than the window, and takes no canvas of the graphics card.
  async function addPicture(plot) {
    const height = plot._fullLayout.height;
    const address = await Plotly.toImage(plot, { format: "png", width: PAPER, height, scale: 2 });
    const picture = element("img");
    picture.alt = plot.getAttribute("aria-label");
    picture.src = address;
    plot.append(picture);
    await picture.decode();
    await nextFrame();
  }

  // -- the table of trials ----------------------------------------------------------------------

  const UNENDING = { inf: Infinity, "-inf": -Infinity, nan: NaN };

  function significant(value, digits) {
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
    const [mantissa, exponent] = value.toPrecision(digits).split("e");
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return exponent === undefined ? short : `${short}e${exponent}`;
  }

  function durationText(seconds) {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60) % 60;
    const hours = Math.floor(whole / 3600);
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }

  function shown(value, kind) {
    if (value === null) return "";
    if (kind === "duration") return durationText(value);
    return significant(value, kind === "number" ? 5 : 4);
  }

  function rank(value) {
    return typeof value === "string" && value in UNENDING ? UNENDING[value] : value;
  }

  function compare(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    if (typeof one === "number") return -1;
    if (typeof other === "number") return 1;
    return String(one).localeCompare(String(other), undefined, { numeric: true });
  }

  class Table {
    constructor({ columns, rows, best }) {
      this.columns = columns;
      this.rows = rows.map((cells) => ({
        cells,
        texts: cells.map((cell, index) => shown(cell, columns[index].kind)),
      }));
      for (const row of this.rows) row.searched = row.texts.join("\n").toLowerCase();
      this.best = new Set(best);
      this.sortedBy = 0;
      this.isDescending = false;
      this.limit = STEP;
      this.hidden = new Set();
      this.makeHead();
      this.makeStates();
      byId("filter").addEventListener("input", () => this.show());
      byId("more").addEventListener("click", () => this.show(this.limit + STEP));
      byId("all").addEventListener("click", () => this.show(this.rows.length));
      this.show();
    }

    makeHead() {
      const line = element("tr");
      this.columns.forEach(({ name, kind }, index) => {
        const head = element("th", undefined, this.look(kind));
        head.scope = "col";
        const button = element("button", name);
        button.type = "button";
        button.addEventListener("click", () => this.sortBy(index));
        head.append(button);
        line.append(head);
      });
      byId("table").tHead.append(line);
      byId("table").classList.toggle("many", this.columns.length > MANY);
      this.heads = [...line.children];
    }

    makeStates() {
      const counts = new Map();
      for (const { cells } of this.rows) counts.set(cells[1], (counts.get(cells[1]) || 0) + 1);
      for (const [state, count] of counts) {
        const label = element("label");
        const box = element("input");
        box.type = "checkbox";
        box.checked = true;
        box.value = state;
        box.addEventListener("change", () => {
          if (box.checked) this.hidden.delete(state);
          else this.hidden.add(state);
          this.show();
        });
        label.append(box, " ", element("span", `${count} ${state}`, `state ${state}`));
        byId("states").append(label);
      }
    }

    look(kind, text) {
      if (kind === "value") return "right param";
      if (kind === "text") return text ? "text" : "";
      return kind === "number" || kind === "duration" ? "right" : kind;
    }

    sortBy(index) {
      this.isDescending = this.sortedBy === index && !this.isDescending;
      this.sortedBy = index;
      this.show();
    }

    chosen() {
      const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = this.rows.filter(
        (row) => !this.hidden.has(row.cells[1]) && words.every((word) => row.searched.includes(word))
      );
      const sign = this.isDescending ? -1 : 1;
      return found.sort((one, other) => {
        const [a, b] = [rank(one.cells[this.sortedBy]), rank(other.cells[this.sortedBy])];
        if (a === null || b === null) return (a === null) - (b === null); // last, either way round
        return sign * compare(a, b) || one.cells[0] - other.cells[0];
      });
    }

    show(limit = this.limit) {
      this.limit = limit;
      const chosen = this.chosen();
      const body = document.createDocumentFragment();
      for (const row of chosen.slice(0, limit)) body.append(this.line(row));
      byId("table").tBodies[0].replaceChildren(body);
      this.heads.forEach((head, index) => {
        const order = this.isDescending ? "descending" : "ascending";
        if (index === this.sortedBy) head.setAttribute("aria-sort", order);
        else head.removeAttribute("aria-sort");
      });
      const seen = Math.min(limit, chosen.length);
      byId("count").textContent = `${seen} of ${chosen.length} shown`;
      byId("left-out").textContent = this.onPaper(seen);
      byId("more").hidden = byId("all").hidden = seen === chosen.length;
    }

    // What whoever has only the paper should know.
    onPaper(seen) {
      const rows = seen < this.rows.length ? `${this.rows.length - seen} trials` : "";
      const columns = this.columns.length > MANY ? "the parameters" : "";
      const missing = [rows, columns].filter(Boolean).join(" and ");
      return missing && `Left out on paper: ${missing}.`;
    }

    line({ cells, texts }) {
      const line = element("tr");
      this.columns.forEach(({ kind }, index) => {
        if (kind === "state") {
          const cell = element("td");
          cell.append(element("span", texts[index], `state ${texts[index]}`));
          line.append(cell);
          return;
        }
        const star = index === 0 && this.best.has(cells[0]) ? "★ " : "";
        line.append(element("td", star + texts[index], this.look(kind, texts[index])));
      });
      return line;
    }
  }

  async function start() {
    if (!("DecompressionStream" in window)) {
      const note = "This browser is too old for the figures and the table of trials.";
      byId("figures").append(element("p", note, "note warn"));
      return;
    }
    if (byId("table")) new Table(JSON.parse(await unpack("data-table")));
    await drawFigures();
  }

  // Whoever looks at the page from a program sees here when it is whole.
  start().then(
    () => { document.documentElement.dataset.state = "whole"; },
    (error) => {
      document.documentElement.dataset.state = "broken";
      console.error(error);
    }
  );
})();
