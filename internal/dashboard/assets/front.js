// Keeps the two numbers of the front page live: how many events came since the last look.
const rate = document.getElementById("rate"), tip = document.getElementById("tip");
let last;
async function look() {
  try {
    const answer = await fetch("/xrpc/network.cistern.getStream");
    const { newest } = await answer.json();
    const now = { seq: newest?.seq ?? 0, at: performance.now() };
    tip.textContent = now.seq.toLocaleString("en-US");
    if (last && now.seq >= last.seq) rate.textContent = ((now.seq - last.seq) / ((now.at - last.at) / 1000)).toFixed(1);
    last = now;
  } catch { /* the relay restarts: the next look may find it */ }
}
look();
setInterval(() => document.hidden || look(), 5000);
