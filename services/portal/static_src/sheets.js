/* Writing and sending: dropping files, choosing rows, checking while one types, progress. All of it works without. */
"use strict";

(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const TYPING_MS = 300;
  const LOOK_MS = 1000;
  const SAY_MS = 5000;
  const KEEP_MS = 20000;

  /* --- pages that are sent as a whole ---------------------------------------------------------------------------- */

  /* After a button the page is where it was. */
  const place = `todoke-scroll-${location.pathname}`;
  for (const form of all("form[data-stays]")) {
    form.addEventListener("submit", () => sessionStorage.setItem(place, String(scrollY)));
  }
  const was = sessionStorage.getItem(place);
  if (was !== null && !location.hash && !document.querySelector("[autofocus]")) scrollTo(0, Number(was));
  sessionStorage.removeItem(place);

  /* --- dropping and choosing files -------------------------------------------------------------------------------- */

  async function filesOf(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    if (!entries.some((entry) => entry && entry.isDirectory)) return [...transfer.files];
    const found = [];
    const walk = async (entry) => {
      if (entry.isFile) {
        found.push(await new Promise((good, bad) => entry.file(good, bad)));
        return;
      }
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((good, bad) => reader.readEntries(good, bad));
        if (!some.length) return;
        for (const each of some) await walk(each);
      }
    };
    for (const entry of entries.filter(Boolean)) await walk(entry);
    return found;
  }

  function chosen(field) {
    const list = document.querySelector(`[data-chosen="${field.id}"]`);
    if (list) {
      list.replaceChildren(
        ...[...field.files].map((file) => {
          const line = document.createElement("li");
          line.textContent = `${file.name}（「更新」で入ります）`;
          return line;
        }),
      );
    }
    const sender = document.getElementById(field.dataset.sends || "");
    if (sender && field.files.length) {
      field.closest(".td-drop").setAttribute("aria-busy", "true");
      field.closest("form").requestSubmit(sender);
    }
  }

  function drops(within) {
    for (const box of all("[data-drop]", within)) {
      const field = box.querySelector("input[type=file]");
      if (field.parentElement.hasAttribute("data-js")) continue;
      field.parentElement.setAttribute("data-js", "");
      field.addEventListener("change", () => chosen(field));
      box.addEventListener("dragover", (event) => {
        event.preventDefault();
        box.setAttribute("data-over", "");
      });
      box.addEventListener("dragleave", () => box.removeAttribute("data-over"));
      box.addEventListener("drop", async (event) => {
        event.preventDefault();
        box.removeAttribute("data-over");
        const given = new DataTransfer();
        for (const file of await filesOf(event.dataTransfer)) given.items.add(file);
        field.files = given.files;
        chosen(field);
      });
      if (field.files.length) chosen(field); /* chosen before this script was there */
    }
    for (const button of all("[data-without-js]", within)) button.hidden = true;
  }

  /* --- rows -------------------------------------------------------------------------------------------------------- */

  for (const table of all("table[data-rows]")) {
    const boxes = all("input[name=row]", table);
    let last = null;
    const show = () => {
      for (const box of boxes) box.closest("tr").toggleAttribute("data-picked", box.checked);
      for (const count of all("[data-picked-count]")) count.textContent = boxes.filter((box) => box.checked).length;
    };
    const pick = (box, checked, extend) => {
      const from = extend && last ? boxes.indexOf(last) : boxes.indexOf(box);
      const to = boxes.indexOf(box);
      for (const each of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) each.checked = checked;
      last = box;
      show();
    };
    table.addEventListener("click", (event) => {
      const row = event.target.closest("tbody tr");
      const box = row && row.querySelector("input[name=row]");
      if (!box) return;
      if (event.target === box) return pick(box, box.checked, event.shiftKey);
      if (event.target.closest("a, button, label")) return;
      if (String(getSelection())) return;
      pick(box, !box.checked, event.shiftKey);
    });
    table.addEventListener("keydown", (event) => {
      const at = boxes.indexOf(event.target);
      if (at < 0) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        const next = boxes[at + (event.key === "ArrowDown" ? 1 : -1)];
        if (!next) return;
        if (event.shiftKey) pick(next, boxes[at].checked, false);
        next.focus();
      } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        for (const box of boxes) box.checked = true;
        show();
      } else if (event.key === "Enter") {
        event.preventDefault();
        const edit = event.target.closest("tr").querySelector("td:last-child a, td:last-child button");
        if (edit) edit.click();
      }
    });
    for (const button of all("[data-picks]")) {
      button.addEventListener("click", (event) => {
        event.preventDefault();
        for (const box of boxes) box.checked = button.dataset.picks === "all";
        show();
      });
    }
    for (const button of all("[data-copies]")) {
      button.addEventListener("click", () => {
        const picked = boxes.filter((box) => box.checked);
        if (picked.length === 1 && navigator.clipboard) {
          navigator.clipboard.writeText(picked[0].dataset.text).catch(() => {});
        }
      });
    }
    show();
  }

  /* --- characters left, leaving with changes ----------------------------------------------------------------------- */

  for (const area of all("[data-counts]")) {
    const left = document.getElementById(area.dataset.counts).querySelector("[data-left]");
    area.addEventListener("input", () => {
      left.textContent = area.maxLength - area.value.length;
    });
  }
  for (const form of all("form[data-guards]")) {
    let changed = false;
    form.addEventListener("input", () => {
      changed = true;
    });
    for (const link of all(`[data-leaves="${form.dataset.guards}"]`)) {
      link.addEventListener("click", (event) => {
        if (!changed) return;
        event.preventDefault();
        window.todoke.open(document.getElementById(form.dataset.guards));
      });
    }
  }

  /* --- a form that is checked and kept while one writes -------------------------------------------------------------- */

  function replace(page) {
    for (const part of all("[data-part]", page)) {
      const here = document.getElementById(part.id);
      if (!here) continue;
      if (part.id === "version") here.value = part.value;
      else here.replaceWith(document.importNode(part, true));
    }
    for (const field of all("[data-part-value]", page)) {
      const here = document.getElementById(field.id);
      if (here && here !== document.activeElement && !here.value) here.value = field.value;
      if (here) here.toggleAttribute("aria-invalid", field.hasAttribute("aria-invalid"));
    }
    drops(document);
  }

  for (const form of all("form[data-live]")) {
    let timer = 0;
    let turn = Promise.resolve();
    let asked = 0;
    let checking = false;
    let changed = false;
    let left = false;

    /* One after the other: each names the version that the one before it has made. `more` goes along with the form. */
    const ask = (action, more = [], sent = () => {}) => {
      clearTimeout(timer);
      const check = action === form.dataset.live;
      if (check && checking) return; /* the one that waits its turn will take what is there then */
      if (check) checking = true;
      asked += 1;
      turn = turn
        .then(() => {
          if (check) checking = false;
          return left ? undefined : post(action, more, sent);
        })
        .finally(() => {
          asked -= 1;
        });
    };
    const post = async (action, more, sent) => {
      const body = new FormData(form);
      body.delete("files");
      for (const [name, value] of more) body.append(name, value);
      document.getElementById("findings").setAttribute("aria-busy", "true");
      changed = false;
      try {
        const answer = await fetch(action, {
          method: "POST",
          body,
          headers: { "Todoke-Form": form.elements._form.value, "Todoke-Live": "1" },
        });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (answer.redirected || !page.getElementById("compose")) {
          left = true;
          if (answer.redirected) location.assign(answer.url);
          else document.documentElement.replaceWith(document.importNode(page.documentElement, true));
          return;
        }
        if (location.pathname !== new URL(form.action).pathname.replace("/save", "")) {
          history.replaceState(null, "", new URL(form.action).pathname.replace("/save", ""));
        }
        sent();
        replace(page);
      } catch {
        changed = true;
      } finally {
        const now = document.getElementById("findings");
        if (now) now.removeAttribute("aria-busy");
        if (asked === 1) for (const box of all(".td-drop[aria-busy]", form)) box.removeAttribute("aria-busy");
      }
    };

    form.addEventListener("input", (event) => {
      if (event.target.type === "file") return;
      changed = true;
      clearTimeout(timer);
      timer = setTimeout(() => ask(form.dataset.live), TYPING_MS);
    });
    setInterval(() => {
      if (changed && !asked) ask(form.dataset.live);
    }, KEEP_MS);
    for (const leave of all('form[action="/logout"]')) {
      leave.addEventListener("submit", (event) => {
        if (!changed && !asked) return;
        event.preventDefault(); /* what was written in the last moment is kept first */
        if (changed) ask(form.dataset.live);
        turn.then(() => leave.submit());
      });
    }
    form.addEventListener("submit", (event) => {
      const button = event.submitter;
      const action = button ? button.formAction : form.action;
      const path = new URL(action).pathname;
      if (path.endsWith("/files") && button) {
        event.preventDefault();
        const field = document.querySelector(`[data-sends="${button.id}"]`);
        const files = field.files; /* another list as soon as something else is chosen */
        ask(action, [...files].map((file) => ["files", file]), () => {
          if (field.files === files) field.value = "";
        });
      } else if (/\/(remove\/[^/]+|forget|undo)$/.test(path)) {
        event.preventDefault();
        ask(action, button && button.name ? [[button.name, button.value]] : []);
      } else {
        clearTimeout(timer);
        if (!asked) return;
        /* What is being kept now has to be there first: the page would otherwise be older than its own draft. */
        event.preventDefault();
        turn.then(() => {
          if (left) return;
          const same = all("button").find((each) => each.form === form && each.formAction === action);
          if (!button) form.requestSubmit();
          else if (same && !same.disabled) form.requestSubmit(same); /* it may be another one than before */
        });
      }
    }, true);
  }

  /* --- a message on its way ------------------------------------------------------------------------------------------ */

  async function look() {
    const here = document.querySelector("[data-again]");
    if (!here) return;
    try {
      const answer = await fetch(here.dataset.again, { headers: { "Todoke-Unattended": "yes" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!page.getElementById("result")) {
        location.reload();
        return;
      }
      replace(page);
    } catch {
      /* the next look tells */
    }
    setTimeout(look, LOOK_MS);
  }
  if (document.querySelector("[data-again]")) setTimeout(look, LOOK_MS);

  const running = document.querySelector("dialog[data-run]");
  if (running) {
    const said = document.getElementById("progress-said");
    let told = 0;
    const step = async () => {
      try {
        const answer = await fetch(running.dataset.run);
        if (!answer.ok || answer.redirected) {
          location.reload();
          return;
        }
        const focused = document.activeElement && document.activeElement.closest("form[data-quiet]");
        const scrolled = running.querySelector(".td-dialog__body").scrollTop;
        running.innerHTML = await answer.text();
        running.querySelector(".td-dialog__body").scrollTop = scrolled;
        const ended = answer.headers.get("Todoke-Ended") === "yes";
        if (Date.now() - told >= SAY_MS || ended) {
          told = Date.now();
          said.textContent = running.querySelector("[data-line]").textContent;
        }
        if (ended) {
          running.removeAttribute("data-holds");
          running.querySelector("[data-focus]").focus();
          return;
        }
        if (focused) (running.querySelector("form[data-quiet] button:not(:disabled)") || running.querySelector("h2")).focus();
      } catch {
        /* the next step tells */
      }
      setTimeout(step, LOOK_MS);
    };
    if (running.hasAttribute("data-holds")) setTimeout(step, LOOK_MS);
    running.addEventListener("submit", async (event) => {
      const form = event.target.closest("form[data-quiet]");
      if (!form) return;
      event.preventDefault();
      event.stopPropagation();
      const body = new URLSearchParams(new FormData(form));
      form.querySelector("button").disabled = true;
      await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {});
    });
  }

  drops(document);
})();
