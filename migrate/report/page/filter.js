// What is shown is a state that is also in the page's address, so that a link can be passed
// on: q, standing (several), class, repository, sort, descending.

function emptyState() {
  return { q: "", standing: new Set(), class: "", repository: "", sort: "standing", descending: false };
}

function readState(hash, data) {
  const from = new URLSearchParams(hash.slice(1));
  const state = emptyState();
  state.q = from.get("q") || "";
  state.class = from.get("class") || "";
  state.repository = from.get("repository") || "";
  for (const one of (from.get("standing") || "").split(",")) {
    if (standings.includes(one)) state.standing.add(one);
  }
  if (data.columns.has(from.get("sort"))) state.sort = from.get("sort");
  state.descending = from.get("descending") === "yes";
  return state;
}

function writeState(state) {
  const to = new URLSearchParams();
  if (state.q) to.set("q", state.q);
  if (state.standing.size) to.set("standing", [...state.standing].join(","));
  if (state.class) to.set("class", state.class);
  if (state.repository) to.set("repository", state.repository);
  if (state.sort !== "standing") to.set("sort", state.sort);
  if (state.descending) to.set("descending", "yes");
  return to.toString();
}

// matching are the rows of order that the state lets through. Each word of the search has
// to be somewhere in the row.
function matching(data, order, state) {
  const keep = new Uint8Array(data.count).fill(1);
  if (state.standing.size) restrict(data, "standing", keep, (text) => state.standing.has(text));
  if (state.class) restrict(data, "class", keep, (text) => text === state.class);
  if (state.repository) restrict(data, "repository", keep, (text) => text === state.repository);
  for (const word of state.q.toLowerCase().split(/\s+/)) {
    if (word) search(data, word, keep);
  }
  return order.filter((row) => keep[row] === 1);
}

function restrict(data, name, keep, fits) {
  const column = data.columns.get(name);
  const fit = column.texts.map(fits);
  for (let i = 0; i < keep.length; i++) {
    if (!fit[column.cells[i]]) keep[i] = 0;
  }
}

function search(data, word, keep) {
  const found = new Uint8Array(data.count);
  for (const column of data.columns.values()) {
    column.lower = column.lower || column.texts.map((text) => text.toLowerCase());
    let any = false;
    const fit = column.lower.map((text) => {
      const fits = text.includes(word);
      any = any || fits;
      return fits;
    });
    if (!any) continue;
    for (let i = 0; i < found.length; i++) {
      if (fit[column.cells[i]]) found[i] = 1;
    }
  }
  for (let i = 0; i < keep.length; i++) keep[i] &= found[i];
}
