// The details of a row: all that is known of it, and of its repository.

const labels = [
  ["standing", "Standing"], ["class", "Class"], ["cause", "Cause"], ["reason", "Reason"], ["tags", "Tags"],
  ["digest", "Digest"], ["registry", "Digest that the tag has in the registry"], ["role", "Role"], ["key", "Key"],
  ["platform", "Platform"], ["index", "In the index"], ["bound", "A trusted signature binds the tag"],
  ["expires", "Certificate expires"], ["notes", "Notes"],
];
const digests = ["digest", "registry", "index"];

class Details {
  constructor(data, table) {
    this.data = data;
    this.table = table;
    this.dialog = document.getElementById("details");
    document.getElementById("close").addEventListener("click", () => this.dialog.close());
    document.getElementById("previous").addEventListener("click", () => this.step(-1));
    document.getElementById("next").addEventListener("click", () => this.step(1));
    this.dialog.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (by) {
        event.preventDefault();
        this.step(by);
      }
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
    this.dialog.addEventListener("close", () => table.table.focus({ preventScroll: true }));
  }

  open() {
    this.fill();
    this.dialog.showModal();
    document.getElementById("details-title").focus(); // not a button: Enter opened it, and may be held
  }

  step(by) {
    this.table.move(this.table.active + by);
    this.fill();
  }

  fill() {
    const row = this.table.rows[this.table.active];
    const repository = textOf(this.data, "repository", row);
    document.getElementById("details-title").textContent = repository;
    const facts = document.getElementById("facts");
    facts.replaceChildren();
    for (const [name, label] of labels) this.add(facts, label, textOf(this.data, name, row), name);
    for (const [label, text] of this.data.facts.get(repository) || []) this.add(facts, "Repository: " + label, text, "");
    this.dialog.scrollTop = 0;
  }

  add(facts, label, text, name) {
    if (!text) return;
    const value = element("dd", digests.includes(name) ? "digest" : "", name === "standing" ? marks[text] + " " + text : text);
    facts.append(element("dt", "", label), value);
  }
}
