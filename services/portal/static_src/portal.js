/* Behaviour that every page shares. Without it all pages work: these are comforts. */
"use strict";

(() => {
  const FILE_MS = 5000;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  /* 表示: shows a password while it is pressed in. */
  function passwords(within) {
    for (const button of all("[data-shows]", within)) {
      button.hidden = false;
      button.addEventListener("click", () => {
        const field = document.getElementById(button.dataset.shows);
        const shown = field.type === "text";
        field.type = shown ? "password" : "text";
        button.setAttribute("aria-pressed", String(!shown));
      });
    }
  }

  /* A typed ID is still there after a look at another page (S-01.6); it never leaves this tab. */
  function kept(within) {
    for (const field of all("[data-keep]", within)) {
      const place = `todoke-${field.dataset.keep}`;
      if (!field.value) field.value = sessionStorage.getItem(place) || "";
      field.addEventListener("input", () => sessionStorage.setItem(place, field.value));
    }
  }

  /* Dialogs: data-opens="ID" opens, data-closes closes; focus goes to the heading. */
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      event.preventDefault();
      window.todoke.open(document.getElementById(opener.dataset.opens));
    }
    const closer = event.target.closest("[data-closes]");
    if (closer) {
      event.preventDefault();
      closer.closest("dialog").close();
    }
  });

  window.todoke = {
    open(dialog) {
      if (!dialog.open) dialog.showModal();
      const heading = dialog.querySelector("h2");
      if (heading) heading.focus();
    },
  };

  /* Without a line nothing is sent: the page stays, with all that was typed, and says so. */
  function line() {
    const band = document.getElementById("offline");
    if (band) band.hidden = navigator.onLine;
    return band;
  }
  window.addEventListener("online", line);
  window.addEventListener("offline", line);
  document.addEventListener(
    "submit",
    (event) => {
      if (navigator.onLine) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const band = line();
      if (band) band.focus();
    },
    true,
  );

  /* コピー: puts a text into the clipboard and says so. */
  function copies(within) {
    for (const button of all("[data-copies]", within)) {
      button.hidden = !navigator.clipboard;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent.trim());
        button.querySelector("span").textContent = "コピーしました";
      });
    }
  }

  /* A form that was sent says so; a second press does nothing (the server would answer with the first result). */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sending) {
      event.preventDefault();
      return;
    }
    if (form.method !== "post" || event.defaultPrevented) return;
    form.dataset.sending = "yes";
    form.setAttribute("aria-busy", "true");
    /* An answer that is a file leaves this page where it is. */
    if ("file" in form.dataset) setTimeout(() => rest(form), FILE_MS);
  });
  window.addEventListener("pageshow", () => all("form[data-sending]").forEach(rest));
  function rest(form) {
    delete form.dataset.sending;
    form.removeAttribute("aria-busy");
  }

  /* The session: a page that nobody touches asks how long it lasts, warns, and says goodbye by itself. Another tab may
     have been used meanwhile, so the server is asked before anybody is warned. */
  function staying(dialog) {
    const warning = Number(dialog.dataset.warningSeconds);
    const site = dialog.dataset.site;
    let timer = 0;

    const later = (seconds) => {
      clearTimeout(timer);
      timer = setTimeout(ask, Math.max(1, seconds) * 1000);
    };
    async function ask() {
      let answer;
      try {
        answer = await fetch(`${site}/session/left`, { headers: { Accept: "application/json" }, redirect: "manual" });
      } catch {
        return later(30); /* offline: nothing is lost by waiting */
      }
      if (!answer.ok) return over();
      told((await answer.json()).seconds);
    }
    function told(seconds) {
      if (seconds <= 0) return over();
      if (seconds > warning) {
        if (dialog.open) dialog.close();
        return later(seconds - warning);
      }
      dialog.querySelector("[data-minutes]").textContent = String(Math.max(1, Math.ceil(seconds / 60)));
      if (!dialog.open) window.todoke.open(dialog);
      return later(Math.min(30, seconds + 1));
    }
    function over() {
      /* Whoever keeps drafts does so before this, every 20 seconds. A form with data-late in which something was
         typed is sent to the page that shows it again: that keeps it until the same person has logged in. */
      const form = all("form[data-late]").find((each) => !each.dataset.sending && isTyped(each));
      if (form) return send(form);
      location.assign(`${site}/login?ended=1&next=${encodeURIComponent(location.pathname + location.search)}`);
    }
    function isTyped(form) {
      const changed = (box) =>
        box.type === "radio" || box.type === "checkbox"
          ? box.checked !== box.defaultChecked
          : "defaultValue" in box && box.value !== box.defaultValue;
      return "typed" in form.dataset || [...form.elements].some(changed);
    }
    function send(form) {
      const back = Object.assign(document.createElement("input"), { type: "hidden", name: "back", value: "yes" });
      form.append(back);
      form.action = form.dataset.late;
      form.submit();
    }
    const stays = dialog.querySelector("[data-stays]");
    async function stay() {
      const headers = { "Todoke-Form": stays.dataset.stays };
      const answer = await fetch(`${site}/session/on`, { method: "POST", headers, redirect: "manual" });
      if (!answer.ok) return over();
      dialog.close();
      told((await answer.json()).seconds);
    }
    stays.addEventListener("click", stay);
    dialog.addEventListener("cancel", stay); /* Esc is the harmless button */
    later(Number(dialog.dataset.idleSeconds) - warning);
  }

  /* Dialogs that the server opened: without a script they lie over the page, here they are modal. Esc is the harmless
     button (data-focus), or leads to data-back. */
  function openedByServer(within) {
    for (const dialog of all("dialog[data-modal]", within)) {
      dialog.close();
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        if (!dialog.hasAttribute("data-holds")) {
          const ok = dialog.querySelector("[data-focus]");
          if (ok) ok.click();
          else if (dialog.dataset.back) location.assign(dialog.dataset.back);
        }
      });
      window.todoke.open(dialog);
      const wrong = dialog.querySelector("[autofocus]");
      if (wrong) wrong.focus();
    }
  }

  /* 印刷: only a browser with scripts can be told to. */
  function prints(within) {
    for (const button of all("[data-prints]", within)) {
      button.hidden = false;
      button.addEventListener("click", () => window.print());
    }
  }

  function begin(within) {
    openedByServer(within);
    prints(within);
    passwords(within);
    kept(within);
    copies(within);
    const summary = within.querySelector("[data-takes-focus]");
    if (summary) summary.focus();
  }
  begin(document);
  line();
  const warns = document.getElementById("staying");
  if (warns) staying(warns);
})();
