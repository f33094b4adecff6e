// The table has only those rows in the page that can be seen: their heights are all the
// same, and a row above and one below take the room of the others.

const marks = { ok: "✓", problem: "✕", unknown: "?", skipped: "–" };
const shown = [
  ["standing", "Standing"], ["class", "Class"], ["cause", "Cause"], ["repository", "Repository"], ["tags", "Tags"],
  ["digest", "Digest"], ["registry", "Registry has"], ["role", "Role"], ["key", "Key"], ["reason", "Reason"],
];

const rowHeight = 34;
const beyond = 8; // rows that are kept ready above and below

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function filler() {
  const row = element("tr", "filler");
  row.setAttribute("aria-hidden", "true");
  row.append(element("td"));
  return row;
}

// tells is whether a column says anything: a role or key that all rows have is in their details.
function tells(column, name) {
  return (name !== "role" && name !== "key") || column.texts.filter((text) => text).length > 1;
}

// commonFolder is what all repositories begin with, up to a slash.
function commonFolder(column) {
  if (!column || column.texts.length < 2) return "";
  let folder = column.texts[0];
  for (const text of column.texts) {
    while (folder && !text.startsWith(folder)) folder = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  }
  return folder.slice(0, folder.lastIndexOf("/") + 1);
}

// short is enough of a digest to tell it from others; the details have all of it.
function short(digest) {
  return digest.replace(/^sha256:/, "").slice(0, 12);
}

// middle shows a name so that where there is no room its middle is left out: names differ at their ends.
const kept = 10; // characters at the end

function middle(cell, text) {
  const letters = Array.from(text);
  if (letters.length < kept + 4) {
    cell.textContent = text;
    return;
  }
  const both = element("div", "middle");
  both.append(element("span", "begin", letters.slice(0, -kept).join("")), element("span", "end", letters.slice(-kept).join("")));
  cell.replaceChildren(both);
}

class Table {
  constructor(data, onSort, onOpen) {
    this.data = data;
    this.rows = new Int32Array(0);
    this.active = 0;
    this.columns = shown.filter(([name]) => data.columns.has(name) && tells(data.columns.get(name), name));
    this.prefix = commonFolder(data.columns.get("repository"));
    this.scroll = document.getElementById("scroll");
    this.table = document.getElementById("table");
    this.body = document.getElementById("body");
    this.none = document.getElementById("none");
    this.above = filler();
    this.below = filler();
    this.body.append(this.above, this.below);
    this.pool = [];
    this.heads = new Map();
    this.makeHeads(onSort);
    this.scroll.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(this.scroll);
    this.table.addEventListener("keydown", (event) => this.key(event, onOpen));
    this.table.addEventListener("focus", () => this.draw());
    this.body.addEventListener("click", (event) => this.click(event, onOpen));
  }

  makeHeads(onSort) {
    for (const [name, label] of this.columns) {
      const head = element("th", "col-" + name);
      head.scope = "col";
      const button = element("button", "", label);
      button.type = "button";
      button.addEventListener("click", () => onSort(name));
      head.append(button);
      this.heads.set(name, head);
      document.getElementById("heads").append(head);
    }
  }

  show(rows, state) {
    this.rows = rows;
    this.active = 0;
    this.scroll.scrollTop = 0;
    this.none.hidden = rows.length > 0;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    for (const [name, head] of this.heads) {
      const order = state.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", name === state.sort ? order : "none");
    }
    this.draw();
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  // draw fills the rows that can be seen.
  draw() {
    const height = this.scroll.clientHeight;
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / rowHeight) - beyond);
    const last = Math.min(this.rows.length, Math.ceil((this.scroll.scrollTop + height) / rowHeight) + beyond);
    const wanted = Math.max(0, last - first);
    while (this.pool.length < wanted) this.pool.push(this.makeRow());
    this.pool.forEach((row, i) => {
      row.hidden = i >= wanted;
      if (i < wanted) this.fill(row, first + i);
    });
    this.above.firstChild.style.height = first * rowHeight + "px";
    this.below.firstChild.style.height = Math.max(0, this.rows.length - last) * rowHeight + "px";
    const seen = this.active >= first && this.active < last;
    if (seen) this.table.setAttribute("aria-activedescendant", "row-" + this.active);
    else this.table.removeAttribute("aria-activedescendant");
  }

  makeRow() {
    const row = element("tr");
    for (const [name] of this.columns) row.append(element("td", "col-" + name));
    row.firstChild.append(element("span", "mark"), element("span", "word"));
    this.below.before(row);
    return row;
  }

  fill(row, at) {
    const number = this.rows[at];
    row.id = "row-" + at;
    row.dataset.at = at;
    row.setAttribute("aria-rowindex", at + 2);
    row.setAttribute("aria-selected", at === this.active);
    row.classList.toggle("odd", at % 2 === 1);
    if (row.dataset.row === String(number)) return;
    row.dataset.row = number;
    this.columns.forEach(([name], i) => {
      const cell = row.children[i];
      const text = this.cell(name, number);
      if (name !== "standing") {
        if (name === "repository" || name === "tags") middle(cell, text);
        else cell.textContent = text;
        cell.title = textOf(this.data, name, number);
        return;
      }
      cell.firstChild.className = "mark is-" + text;
      cell.firstChild.textContent = marks[text];
      cell.firstChild.setAttribute("aria-hidden", "true");
      cell.lastChild.textContent = text;
    });
  }

  cell(name, row) {
    const text = textOf(this.data, name, row);
    switch (name) {
      case "tags":
        return text || (textOf(this.data, "digest", row) ? "" : "(trust data)");
      case "repository":
        return this.prefix && text.startsWith(this.prefix) ? "…" + text.slice(this.prefix.length - 1) : text;
      case "registry":
        return text && text === textOf(this.data, "digest", row) ? "the same" : short(text);
      case "digest":
        return short(text);
    }
    return text;
  }

  // move makes another row the active one and brings it into sight.
  move(to) {
    if (this.rows.length === 0) return;
    this.active = Math.max(0, Math.min(this.rows.length - 1, to));
    const top = this.active * rowHeight;
    const room = this.scroll.clientHeight - rowHeight - 2; // the head stays above
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + rowHeight > this.scroll.scrollTop + room) this.scroll.scrollTop = top + rowHeight - room;
    this.draw();
  }

  key(event, onOpen) {
    if (event.target !== this.table || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / rowHeight) - 2);
    switch (event.key) {
      case "ArrowDown": this.move(this.active + 1); break;
      case "ArrowUp": this.move(this.active - 1); break;
      case "PageDown": this.move(this.active + page); break;
      case "PageUp": this.move(this.active - page); break;
      case "Home": this.move(0); break;
      case "End": this.move(this.rows.length - 1); break;
      case "Enter": if (this.rows.length) onOpen(); break;
      default: return;
    }
    event.preventDefault();
  }

  // A click opens a row, unless it ended a selection of text.
  click(event, onOpen) {
    const row = event.target.closest("tr[data-at]");
    if (!row || !getSelection().isCollapsed) return;
    this.active = Number(row.dataset.at);
    this.draw();
    onOpen();
  }
}
