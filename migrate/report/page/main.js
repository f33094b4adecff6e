// main puts the parts together. Until it has come to its end, the list of the worst rows
// is shown in place of the table.

const page = {
  data: decode(document.getElementById("data").textContent),
  field: (id) => document.getElementById(id),
};

function fillSelect(id, name) {
  const column = page.data.columns.get(name);
  const select = page.field(id);
  const counts = column ? countTexts(column) : [];
  select.append(new Option("all", ""));
  if (!column || column.texts.length > 5000) {
    select.parentNode.hidden = true; // too many to choose from: the search finds them
    return;
  }
  const places = rank(column, name);
  const order = column.texts.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  for (const i of order) {
    select.append(new Option(column.texts[i] + " (" + counts[i].toLocaleString("en") + ")", column.texts[i]));
  }
}

function fillStandings() {
  const column = page.data.columns.get("standing");
  const counts = column ? countTexts(column) : [];
  for (const standing of standings) {
    const number = column && column.numbers.get(standing);
    if (number === undefined) continue;
    const button = element("button", "chip");
    button.type = "button";
    button.dataset.standing = standing;
    button.append(element("span", "mark is-" + standing, marks[standing]), standing + " " + counts[number].toLocaleString("en"));
    button.firstChild.setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => {
      if (!page.state.standing.delete(standing)) page.state.standing.add(standing);
      changed();
    });
    page.field("standings").append(button);
  }
}

// changed shows what the state says, and puts it into the address.
function changed() {
  try {
    history.replaceState(null, "", "#" + writeState(page.state));
  } catch {
    // Some viewers of files do not let pages change their address.
  }
  refresh();
}

function refresh() {
  const state = page.state;
  const key = state.sort + state.descending;
  if (page.orderKey !== key) {
    page.order = page.data.columns.has(state.sort) ? sorted(page.data, state.sort, state.descending) : new Int32Array(0);
    page.orderKey = key;
  }
  const rows = matching(page.data, page.order, state);
  page.table.show(rows, state);
  const number = (n) => n.toLocaleString("en");
  page.field("count").textContent = number(rows.length) + " of " + number(page.data.count) + " rows";
  if (page.field("search").value !== state.q) page.field("search").value = state.q;
  page.field("class").value = state.class;
  page.field("repository").value = state.repository;
  for (const chip of page.field("standings").children) {
    chip.setAttribute("aria-pressed", state.standing.has(chip.dataset.standing));
  }
}

function sortBy(name) {
  page.state.descending = page.state.sort === name && !page.state.descending;
  page.state.sort = name;
  changed();
}

function listen() {
  let wait;
  page.field("search").addEventListener("input", (event) => {
    clearTimeout(wait);
    wait = setTimeout(() => {
      page.state.q = event.target.value;
      changed();
    }, 120);
  });
  page.field("search").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "Enter") return;
    event.preventDefault();
    page.table.table.focus({ preventScroll: true });
  });
  for (const id of ["class", "repository"]) {
    page.field(id).addEventListener("change", (event) => {
      page.state[id] = event.target.value;
      changed();
    });
  }
  page.field("clear").addEventListener("click", () => {
    page.state = emptyState();
    changed();
    page.field("search").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    event.preventDefault();
    page.field("search").focus();
    page.field("search").select();
  });
  // The charts above are links to what they count.
  addEventListener("hashchange", () => {
    if (location.hash === "#search") return; // the link to the rows
    page.state = readState(location.hash, page.data);
    refresh();
    page.field("rows").scrollIntoView();
  });
}

page.state = readState(location.hash, page.data);
page.table = new Table(page.data, sortBy, () => page.details.open());
page.details = new Details(page.data, page.table);
fillStandings();
fillSelect("class", "class");
fillSelect("repository", "repository");
listen();
document.documentElement.classList.add("scripted");
refresh();
