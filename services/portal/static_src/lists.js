/* Lists: selecting rows, row heights, what happens while a list is read again. Without it lists are pages and forms. */
"use strict";

(() => {
  const PATIENCE_MS = 400;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const table = () => document.getElementById("rows");

  /* Says something above the list: the content of a template of the page, with what stands behind it. */
  function say(name, ...more) {
    const place = document.getElementById("said");
    const template = document.getElementById(name);
    place.replaceChildren(...(template ? [template.content.cloneNode(true)] : []), ...more);
  }

  const chosen = new Set();
  const listeners = [];
  window.todoke.chosen = chosen;
  window.todoke.say = say;
  window.todoke.repaint = () => listeners.forEach((paint) => paint());

  document.addEventListener("alpine:init", () => {
    window.Alpine.data("rowSelection", () => ({
      anchor: null,

      init() {
        listeners.push(() => this.paint());
        this.$root.addEventListener("click", (event) => this.clicked(event));
        this.$root.addEventListener("change", (event) => this.changed(event));
        this.$root.addEventListener("keydown", (event) => this.pressed(event));
        this.$root.addEventListener("mousedown", (event) => {
          if (event.shiftKey && event.target.closest("#rows tbody")) event.preventDefault();
        });
        for (const box of this.boxes()) if (box.checked) chosen.add(box.value);
        this.paint();
      },

      boxes() {
        return all("tbody input[type=checkbox]", table() || document.createElement("table"));
      },

      paint() {
        const boxes = this.boxes();
        for (const box of boxes) {
          box.checked = chosen.has(box.value);
          box.closest("tr").toggleAttribute("data-picked", box.checked);
        }
        const every = document.querySelector("[data-all]");
        if (every) {
          every.checked = boxes.length > 0 && boxes.every((box) => box.checked);
          every.indeterminate = !every.checked && boxes.some((box) => box.checked);
        }
        const count = document.getElementById("chosen");
        if (count) {
          count.hidden = chosen.size === 0;
          count.querySelector("b").textContent = `${chosen.size}件`;
        }
      },

      set(box, on) {
        if (on) chosen.add(box.value);
        else chosen.delete(box.value);
      },

      extend(box) {
        const boxes = this.boxes();
        const from = Math.max(0, boxes.indexOf(this.anchor));
        const to = boxes.indexOf(box);
        for (const each of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) this.set(each, true);
      },

      clicked(event) {
        const row = event.target.closest("#rows tbody tr");
        const box = row && row.querySelector("input[type=checkbox]");
        if (!box || event.target.closest("a, button, summary")) return;
        if (event.target.closest("label") && !event.shiftKey) {
          this.anchor = box;
          return; /* the browser toggles it, and `changed` hears of it */
        }
        if (event.shiftKey && this.anchor) {
          event.preventDefault();
          this.extend(box);
          setTimeout(() => this.paint()); /* the browser takes back what it did to the box itself */
        } else {
          this.set(box, !chosen.has(box.value));
        }
        this.anchor = box;
        this.paint();
      },

      changed(event) {
        if (event.target.matches("[data-all]")) {
          for (const box of this.boxes()) this.set(box, event.target.checked);
        } else if (event.target.matches("#rows tbody input[type=checkbox]")) {
          this.set(event.target, event.target.checked);
        } else return;
        this.paint();
      },

      pressed(event) {
        if (!event.target.closest("#rows, .td-scroll")) return;
        if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          for (const box of this.boxes()) this.set(box, true);
          this.paint();
          return;
        }
        if (!event.target.matches("#rows tbody input[type=checkbox]")) return;
        if (event.key === "Enter") {
          event.preventDefault();
          event.target.closest("tr").querySelector("a[data-details]").click();
        }
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const boxes = this.boxes();
        const next = boxes[boxes.indexOf(event.target) + step];
        if (!next) return;
        if (event.shiftKey) {
          this.anchor = this.anchor || event.target;
          this.set(event.target, true);
          this.set(next, true);
          this.paint();
        } else this.anchor = next;
        next.focus();
      },
    }));
  });

  /* 行の高さ: at once; the form tells the server for next time. */
  document.addEventListener("change", (event) => {
    if (event.target.name !== "height" || !table()) return;
    table().toggleAttribute("data-height", false);
    if (event.target.value === "narrow") table().setAttribute("data-height", "narrow");
  });

  /* A list that is read again says so, if it takes long. */
  let waiting = 0;
  document.addEventListener("htmx:before:request", (event) => {
    const list = event.detail.ctx.target;
    if (!list || list.id !== "list") return;
    list.setAttribute("aria-busy", "true");
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const word = document.createElement("p");
      word.className = "td-panel";
      word.textContent = "読み込んでいます…";
      list.replaceChildren(word);
    }, PATIENCE_MS);
  });
  document.addEventListener("htmx:finally:request", () => clearTimeout(waiting));
  document.addEventListener("htmx:response:error", () => location.reload());
  document.addEventListener("htmx:error", () => {
    const list = document.getElementById("list");
    if (list) list.removeAttribute("aria-busy");
    say("say-live-broken");
  });

  /* A link with data-dialog opens its page in the page's dialog. */
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    const dialog = document.getElementById("dialog");
    if (!link || !dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const answer = await fetch(link.href);
    const content = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("dialog-content");
    if (!content) {
      location.assign(link.href);
      return;
    }
    const heading = content.querySelector("h1");
    const title = document.createElement("h2");
    title.id = heading.id;
    title.tabIndex = -1;
    title.textContent = heading.textContent;
    heading.replaceWith(title);
    content.removeAttribute("class");
    for (const leaving of all("[data-leaves]", content)) leaving.dataset.closes = "";
    document.getElementById("dialog-body").replaceChildren(content);
    window.todoke.open(dialog);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-prints]")) window.print();
  });

  /* What only a script can do appears with it. */
  function shown() {
    for (const each of all("[data-script]")) each.hidden = false;
  }
  shown();

  /* Whoever has read the list again: the choice is painted on the new rows. */
  const place = document.getElementById("lists");
  if (place) {
    new MutationObserver(() => {
      window.todoke.repaint();
      shown();
      place.dispatchEvent(new Event("todoke:read"));
    }).observe(place, { childList: true });
  }
})();
