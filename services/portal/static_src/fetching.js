/* データ取得: every file is fetched, its SHA-256 compared, handed to the browser's save, and only then confirmed (済).
   Where the browser cannot count SHA-256 (no secure context), the forms do the same by pages. */
"use strict";

(() => {
  const form = document.getElementById("take");
  if (!form || !window.crypto || !window.crypto.subtle) return;

  const AT_ONCE = 4;
  const BYTES_MAX = 1024 * 1024 * 1024; /* more than that is fetched by the page without a script */
  const ENDINGS = /\.csv$/i;
  const proof = form.elements._form.value;

  /* What the server says of a refusal; null when nothing came at all. */
  class Refused extends Error {
    constructor(what, todo) {
      super(what);
      this.what = what;
      this.todo = todo;
    }
  }

  async function post(address, fields) {
    const body = new URLSearchParams(fields);
    const answer = await fetch(address, { method: "POST", body, headers: { "Todoke-Form": proof } });
    if (answer.redirected) location.reload(); /* the session has ended: to the login and back */
    if (answer.ok) return answer;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const heading = page.querySelector("main h1");
    throw new Refused(heading ? heading.textContent : "", heading ? page.querySelector("main h1 + div p").textContent : "");
  }

  async function bytes(message, file) {
    const answer = await post(`/messages/${message.id}/files/${file.n}`, []);
    const data = new Uint8Array(await answer.arrayBuffer());
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const sha256 = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (sha256 !== file.sha256) throw new Error("other bytes");
    return data;
  }

  /* Runs `work` for every one of `things`, a few at a time. */
  async function each(things, work) {
    const left = [...things];
    const hands = Array.from({ length: AT_ONCE }, async () => {
      while (left.length) await work(left.shift());
    });
    await Promise.all(hands);
  }

  /* --- ZIP (APPNOTE 6.3.3): stored, names in UTF-8 ------------------------------------------------------------ */

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    let value = n;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value >>> 0;
  });

  function crc32(data) {
    let value = 0xffffffff;
    for (let at = 0; at < data.length; at += 1) value = CRC[(value ^ data[at]) & 0xff] ^ (value >>> 8);
    return (value ^ 0xffffffff) >>> 0;
  }

  function header(signature, size, fields) {
    const view = new DataView(new ArrayBuffer(size));
    view.setUint32(0, signature, true);
    for (const [at, width, value] of fields) width === 2 ? view.setUint16(at, value, true) : view.setUint32(at, value, true);
    return new Uint8Array(view.buffer);
  }

  function zip(entries) {
    const now = new Date();
    const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
    const day = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
    const pieces = [];
    const directory = [];
    let at = 0;
    let listed = 0;
    for (const { path, data } of entries) {
      const name = new TextEncoder().encode(path);
      const crc = crc32(data);
      const common = (from) => [
        [from, 2, 20], [from + 2, 2, 0x0800], [from + 6, 2, time], [from + 8, 2, day], [from + 10, 4, crc],
        [from + 14, 4, data.length], [from + 18, 4, data.length], [from + 22, 2, name.length],
      ];
      const local = header(0x04034b50, 30, common(4));
      pieces.push(local, name, data);
      const entry = header(0x02014b50, 46, [[4, 2, 20], ...common(6), [42, 4, at]]);
      directory.push(entry, name);
      at += local.length + name.length + data.length;
      listed += entry.length + name.length;
    }
    const count = entries.length;
    const end = header(0x06054b50, 22, [[8, 2, count], [10, 2, count], [12, 4, listed], [16, 4, at]]);
    return new Blob([...pieces, ...directory, end], { type: "application/zip" });
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  /* --- one press ---------------------------------------------------------------------------------------------- */

  async function take(fields, button) {
    const words = button.querySelector("span");
    const before = words.textContent;
    const buttons = [...form.querySelectorAll("button")].map((each) => [each, each.disabled]);
    buttons.forEach(([each]) => (each.disabled = true));
    words.textContent = "取得しています…";
    form.setAttribute("aria-busy", "true");
    window.todoke.say("");
    try {
      const plan = await (await post("/received/plan", fields)).json();
      const size = plan.messages.flatMap((each) => each.files).reduce((sum, file) => sum + file.size, 0);
      if (size > BYTES_MAX) return void form.submit();
      const { done, refused, archived } = await bring(plan, (n) => (words.textContent = `取得しています… ${n} / ${plan.messages.length}`));
      tell(done, refused, archived);
    } catch (trouble) {
      broken(trouble, () => take(fields, button));
    } finally {
      buttons.forEach(([each, was]) => (each.disabled = was));
      words.textContent = before;
      form.removeAttribute("aria-busy");
      await window.todoke.refresh([...ids(fields)]);
    }
    return undefined;
  }

  const ids = (fields) => new Set(fields.filter(([name]) => name === "id").map(([, value]) => value));

  /* Fetches everything, saves it once, and confirms message by message; what its sender took back is left out. */
  async function bring(plan, progress) {
    const got = new Map();
    const refused = [];
    let count = 0;
    await each(plan.messages, async (message) => {
      try {
        const files = [];
        for (const file of message.files) files.push({ file, data: await bytes(message, file) });
        got.set(message, files);
      } catch (trouble) {
        if (!(trouble instanceof Refused)) throw trouble;
        refused.push(trouble);
      }
      count += 1;
      progress(count);
    });
    const messages = plan.messages.filter((message) => got.has(message));
    const entries = messages.flatMap((message) =>
      got.get(message).map(({ file, data }) => ({ path: `${message.folder}/${file.name}`, name: file.name, data })),
    );
    const alone = entries.length === 1 && messages.length === 1 && ENDINGS.test(entries[0].name);
    if (alone) save(new Blob([entries[0].data]), entries[0].name);
    else if (entries.length) save(zip(entries), plan.archive);
    const done = [];
    await each(messages, async (message) => {
      try {
        await post(`/messages/${message.id}/receipt`, message.files.map((file) => ["sha256", file.sha256]));
        done.push(message.id);
      } catch (trouble) {
        if (!(trouble instanceof Refused)) throw trouble;
        refused.push(trouble);
      }
    });
    return { done, refused, archived: entries.length > 0 && !alone };
  }

  function tell(done, refused, archived) {
    const troubles = refused.map((trouble) => sentence("say-broken", trouble.what, trouble.todo));
    const result = done.length
      ? [sentence("say-done", `取得しました（${done.length}件${archived ? "、ZIP 1つ" : ""}）。`, "「済」になりました。")]
      : [];
    document.getElementById("said").replaceChildren(...result, ...troubles);
    for (const id of done) window.todoke.chosen.delete(id);
    window.todoke.repaint();
    void window.todoke.refresh(done);
    if (done.some((id) => !document.getElementById(`m-${id}`))) void window.todoke.count();
  }

  /* A sentence of the page with other words. */
  function sentence(name, what, todo) {
    const made = document.getElementById(name).content.cloneNode(true);
    const [first, second] = made.querySelectorAll("p");
    first.firstElementChild.textContent = what;
    second.textContent = todo;
    return made;
  }

  /* E-405: everything is still 未, and もう一度 tries again. */
  function broken(trouble, again) {
    const banner = trouble instanceof Refused
      ? sentence("say-broken", trouble.what, trouble.todo)
      : document.getElementById("say-broken").content.cloneNode(true);
    const button = document.getElementById("say-again").content.cloneNode(true);
    button.firstElementChild.addEventListener("click", again);
    banner.firstElementChild.append(button);
    document.getElementById("said").replaceChildren(banner);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter || document.getElementById("take-chosen");
    const fixed = [...form.querySelectorAll("input[name=id]")].map((each) => each.value);
    const wanted = fixed.length ? fixed : [...window.todoke.chosen];
    if (button.value === "chosen" && !wanted.length) {
      window.todoke.say("say-none");
      return;
    }
    const fields = [["what", button.value], ...(button.value === "chosen" ? wanted.map((id) => ["id", id]) : [])];
    void take(fields, button);
  });

  /* A single file by its name: saved; the message is 済 once every file of it was saved so. */
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[href*='/files/']");
    const found = link && link.pathname.match(/^\/messages\/([0-9a-f-]+)\/files\/(\d+)$/);
    if (!found || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const [, id, n] = found;
    try {
      const plan = await (await post("/received/plan", [["what", "chosen"], ["id", id]])).json();
      const message = plan.messages[0];
      const file = message.files.find((each) => String(each.n) === n);
      save(new Blob([await bytes(message, file)]), file.name);
      const place = `todoke-saved-${id}`;
      const saved = new Set(JSON.parse(sessionStorage.getItem(place) || "[]")).add(file.n);
      sessionStorage.setItem(place, JSON.stringify([...saved]));
      if (!message.files.every((each) => saved.has(each.n))) return;
      await post(`/messages/${id}/receipt`, message.files.map((each) => ["sha256", each.sha256]));
      tell([id], [], false);
    } catch (trouble) {
      broken(trouble, () => link.click());
    }
  });
})();
