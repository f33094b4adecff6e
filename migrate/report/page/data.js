// The rows, by column. A cell holds the number of its text, so that equal texts are kept
// and searched once.

function decode(json) {
  const raw = JSON.parse(json);
  const rows = raw.lines.filter(Array.isArray);
  const data = { of: raw.of, count: rows.length, columns: new Map(), facts: new Map() };
  raw.columns.forEach((name, at) => data.columns.set(name, readColumn(rows, at)));
  for (const line of raw.lines) {
    if (!Array.isArray(line)) data.facts.set(line.repository, line.facts);
  }
  return data;
}

// A cell is a new text, which gets the next number, or the number of an earlier one.
function readColumn(rows, at) {
  const sent = [];
  const texts = [];
  const numbers = new Map();
  const cells = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    let cell = rows[i][at];
    if (typeof cell === "string") {
      let number = numbers.get(cell);
      if (number === undefined) {
        number = texts.push(cell) - 1;
        numbers.set(cell, number);
      }
      cell = sent.push(number) - 1;
    }
    cells[i] = sent[cell];
  }
  return { texts, cells, numbers };
}

const sameDigest = "=";

function textOf(data, name, row) {
  const column = data.columns.get(name);
  const text = column ? column.texts[column.cells[row]] : "";
  return name === "registry" && text === sameDigest ? textOf(data, "digest", row) : text;
}

// countTexts tells how many rows have each text of a column.
function countTexts(column) {
  const counts = new Int32Array(column.texts.length);
  for (const cell of column.cells) counts[cell]++;
  return counts;
}

// rank sorts a column's texts once; the result is each text's place.
const natural = new Intl.Collator("en", { numeric: true });
const standings = ["problem", "unknown", "skipped", "ok"];

function rank(column, name) {
  if (column.rank) return column.rank;
  const order = column.texts.map((_, i) => i);
  if (name === "standing") {
    order.sort((a, b) => standings.indexOf(column.texts[a]) - standings.indexOf(column.texts[b]));
  } else if (name === "digest" || name === "registry") {
    order.sort((a, b) => (column.texts[a] < column.texts[b] ? -1 : 1));
  } else {
    order.sort((a, b) => natural.compare(column.texts[a], column.texts[b]) || a - b);
  }
  column.rank = new Int32Array(order.length);
  order.forEach((text, place) => { column.rank[text] = place; });
  return column.rank;
}

// sorted are all rows by a column; rows with equal texts stay in the order of the result.
function sorted(data, name, descending) {
  const column = data.columns.get(name);
  const places = rank(column, name);
  const keys = new Float64Array(data.count);
  for (let i = 0; i < data.count; i++) {
    const place = places[column.cells[i]];
    keys[i] = (descending ? places.length - place : place) * data.count + i;
  }
  keys.sort();
  return Int32Array.from(keys, (key) => key % data.count);
}
