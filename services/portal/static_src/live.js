/* What changes in the lists appears by itself: rows are shown anew, arrivals are announced, never pushed in between. */
"use strict";

(() => {
  const place = document.getElementById("lists");
  if (!place) return;
  const kind = place.dataset.live;
  const PAUSE_MS = 200;
  const BROKEN_AFTER_MS = 3000;
  const ROWS_AT_ONCE = 50;

  const row = (id) => document.getElementById(`m-${id}`);

  /* Shows some messages as they are now, wherever they stand on this page. */
  async function refresh(ids) {
    const here = ids.filter(row);
    if (kind === "message" && ids.includes(place.dataset.message)) await renew();
    for (let at = 0; at < here.length; at += ROWS_AT_ONCE) {
      const asked = here.slice(at, at + ROWS_AT_ONCE).map((id) => `id=${id}`);
      const page = await read(`/${kind}/rows?${asked.join("&")}`);
      if (!page) return;
      replace(page);
      count(page);
    }
    window.todoke.repaint();
  }

  /* The rows of this page that also stand on that one; a row that is no longer among them stays as it was (S-29.2). */
  function replace(page) {
    for (const fresh of page.querySelectorAll("tr[id]")) {
      const old = document.getElementById(fresh.id);
      if (!old || old.dataset.state === fresh.dataset.state && old.textContent === fresh.textContent) continue;
      const focused = old.contains(document.activeElement);
      old.replaceWith(fresh);
      if (focused) (fresh.querySelector("input") || fresh.querySelector("a")).focus();
    }
  }

  /* Anything may have changed: the page is read once more, and its rows are shown anew where they stand. */
  async function refreshAll() {
    if (kind === "message") return void (await renew());
    const page = await read(location.href);
    if (page) replace(page);
    window.todoke.repaint();
    if (kind === "received") await news();
    return undefined;
  }

  /* The message's own page: its state and its steps, not what somebody is writing there. */
  async function renew() {
    const page = await read(location.pathname);
    for (const part of ["#state", ".td-facts"]) {
      const fresh = page && page.querySelector(part);
      if (fresh) document.querySelector(part).replaceWith(fresh);
    }
  }

  async function news() {
    const bar = document.getElementById("news");
    if (!bar) return;
    const page = await read(`/received/news?after=${bar.dataset.after}`);
    if (!page) return;
    bar.replaceChildren(...[...page.body.children].filter((each) => each.id !== "unread-now"));
    count(page);
  }

  function count(page) {
    const now = page.getElementById("unread-now");
    const badge = document.getElementById("unread");
    if (!now) return;
    const number = now.getAttribute("value");
    badge.hidden = number === "0";
    badge.childNodes[1].textContent = number;
    const every = document.getElementById("take-all");
    if (!every || every.closest("[aria-busy]")) return;
    every.disabled = number === "0";
    every.querySelector("span").textContent = `一括取得（未 ${number}件）`;
  }

  /* The page asks by itself: nobody's session lasts longer for it. */
  async function read(address) {
    try {
      const answer = await fetch(address, { headers: { "Todoke-Unattended": "yes" } });
      if (!answer.ok || answer.redirected) return null;
      return new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return null; /* the stream says that it is broken */
    }
  }

  window.todoke.refresh = refresh;
  window.todoke.count = news;

  /* --- the stream ---------------------------------------------------------------------------------------------- */

  const changed = new Set();
  let everything = false;
  let pause = 0;
  let broken = 0;

  function later() {
    clearTimeout(pause);
    pause = setTimeout(async () => {
      const ids = [...changed];
      const all = everything;
      everything = false;
      changed.clear();
      if (all) await refreshAll();
      else await refresh(ids);
      if (!all && kind === "received" && ids.some((id) => !row(id))) await news();
    }, PAUSE_MS);
  }

  function heard(event) {
    const { message_id: id } = JSON.parse(event.data);
    if (id) changed.add(id);
    else everything = true;
    later();
  }

  const source = new EventSource(`/live?since=${place.dataset.since}`);
  source.addEventListener("list-changed", heard);
  source.addEventListener("message-state", heard);
  source.addEventListener("open", () => {
    clearTimeout(broken);
    broken = 0;
    document.getElementById("live-broken").replaceChildren();
  });
  source.addEventListener("error", () => {
    if (broken) return;
    broken = setTimeout(() => {
      if (source.readyState === EventSource.OPEN) return;
      const words = document.getElementById("say-live-broken").content.cloneNode(true);
      document.getElementById("live-broken").replaceChildren(words);
    }, source.readyState === EventSource.CLOSED ? 0 : BROKEN_AFTER_MS);
  });
  window.addEventListener("pagehide", () => source.close());

  /* A list that was read again is up to date: what was announced is in it. */
  place.addEventListener("todoke:read", () => {
    const bar = document.getElementById("news");
    const list = document.getElementById("list");
    if (!bar || !list || !(Number(list.dataset.newest) > Number(bar.dataset.after))) return;
    bar.dataset.after = list.dataset.newest;
    void news();
  });
})();
