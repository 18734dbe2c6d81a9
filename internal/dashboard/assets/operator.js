// Keeps the page live: numbers and curves by server-sent events, sections by asking for them
// again, and buttons by calling the admin API.
const $ = (q, from = document) => [...from.querySelectorAll(q)];

const write = {
  count: (n) => Math.round(n).toLocaleString("en-US"),
  rate: (n) => (n >= 100 ? write.count(n) : n.toFixed(1)),
  bytes: (n) => {
    let i = 0;
    for (; n >= 1024 && i < 5; i++) n /= 1024;
    return i ? `${n.toFixed(1)} ${"KMGTP"[i - 1]}iB` : `${n.toFixed(0)} B`;
  },
};

const samples = 300, fewest = 30; // points of a curve
const history = JSON.parse(document.getElementById("charts").dataset.history) ?? [];

function draw() {
  for (const svg of $(".spark")) {
    const values = history.map((h) => h[svg.dataset.of]);
    const most = Math.max(1, ...values);
    const step = 300 / Math.max(fewest, values.length), first = 300 - step * (values.length - 1);
    const points = values.map((v, i) => `${(first + i * step).toFixed(1)},${(58 - (56 * v) / most).toFixed(1)}`);
    svg.querySelector(".line").setAttribute("d", points.length ? `M${points.join("L")}` : "");
    svg.querySelector(".area").setAttribute("d", points.length ? `M${first.toFixed(1)},60L${points.join("L")}L300,60Z` : "");
  }
}

const badge = document.getElementById("live");
function live() {
  const source = new EventSource("/admin/live");
  source.onmessage = (e) => {
    const now = JSON.parse(e.data);
    badge.textContent = "live";
    badge.className = "badge on";
    for (const el of $("[data-live]")) el.textContent = write[el.dataset.as](now[el.dataset.live]);
    history.push(now);
    history.splice(0, history.length - samples);
    draw();
  };
  source.onerror = () => {
    badge.textContent = "lost";
    badge.className = "badge off";
    if (source.readyState === EventSource.CLOSED) setTimeout(live, 5000);
  };
}

async function part(name) {
  const box = document.querySelector(`[data-part="${name}"]`);
  if (!box) return; // not on this relay's page
  const typing = box.contains(document.activeElement) && document.activeElement.matches("input, select");
  if (typing) return;
  const answer = await fetch(`/admin/part/${name}${location.search}`);
  if (answer.ok) box.innerHTML = await answer.text();
}

const every = { tiers: 5, relays: 5, consumers: 5, hosts: 10, drops: 60, heat: 60 };
for (const [name, seconds] of Object.entries(every)) setInterval(() => document.hidden || part(name).catch(() => {}), seconds * 1000);
if (document.querySelector("[data-part=heat] tbody:empty")) setTimeout(() => ["heat", "drops"].forEach(part), 2000);

const said = document.getElementById("said");
function say(text) {
  said.textContent = text;
  said.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (said.hidden = true), 6000);
}

async function call(path, body) {
  const answer = await fetch(`/admin/${path}`, { method: "POST", body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {} });
  if (answer.ok) return say("done");
  const { message } = await answer.json().catch(() => ({ message: answer.statusText }));
  say(message);
}

const acts = {
  block: ({ host }) => confirm(`Block ${host}? It is no longer read.`) && call(`pds/block?host=${encodeURIComponent(host)}`),
  unblock: ({ host }) => call(`pds/unblock?host=${encodeURIComponent(host)}`),
  limits: ({ host, limit }) => {
    const n = prompt(`How many accounts may ${host} have? 0 for any number.`, limit);
    return n !== null && call("pds/changeLimits", { host, repo_limit: Number(n) });
  },
  reverse: ({ did }) => confirm(`Reverse the takedown of ${did}?`) && call("repo/reverseTakedown", { did }),
  unban: ({ domain }) => call("subs/unbanDomain", { domain }),
};

document.addEventListener("click", async (e) => {
  const act = acts[e.target.dataset?.do];
  if (!act) return;
  await act(e.target.dataset);
  part(e.target.closest("[data-part]").dataset.part);
});

const forms = {
  takedown: ({ did }) => confirm(`Take ${did} down?`) && call("repo/takeDown", { did }),
  ban: ({ domain }) => confirm(`Ban ${domain} and all below it?`) && call("subs/banDomain", { domain }),
  crawl: ({ hostname }) => call("pds/requestCrawl", { hostname }),
  perday: ({ limit }) => call(`subs/setPerDayLimit?limit=${limit}`),
};

document.addEventListener("submit", async (e) => {
  const send = forms[e.target.dataset.form];
  if (!send) return;
  e.preventDefault();
  await send(Object.fromEntries(new FormData(e.target)));
  document.activeElement.blur();
  part("decisions");
});

draw();
live();
