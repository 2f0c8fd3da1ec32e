"use strict";
(() => {
  const every = 5000;
  const $ = (id) => document.getElementById(id);
  const state = $("state");
  const parts = $("parts");

  const say = (text, failed = false) => {
    state.textContent = text;
    state.classList.toggle("failed", failed);
  };

  // The token stays in this tab.
  const token = () => sessionStorage.getItem("outbox-token") || "";
  const unlock = $("unlock");
  const showToken = () => {
    if (unlock) unlock.querySelector("button").textContent = token() ? "Forget" : "Unlock";
  };
  if (unlock) {
    showToken();
    unlock.addEventListener("submit", (e) => {
      e.preventDefault();
      if (token()) sessionStorage.removeItem("outbox-token");
      else sessionStorage.setItem("outbox-token", $("token").value.trim());
      $("token").value = "";
      showToken();
    });
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

  const plots = [
    { box: $("plot-backlog"), columns: ["backlog"], colours: ["--accent"] },
    { box: $("plot-rates"), columns: ["in", "out"], colours: ["--second", "--accent"] },
  ];
  let history = null;

  const draw = (p) => {
    const data = [history.time, ...p.columns.map((c) => history[c])];
    if (p.plot) {
      p.plot.setData(data);
      return;
    }
    const axis = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } });
    p.plot = new uPlot(
      {
        width: p.box.clientWidth,
        height: 180,
        cursor: { y: false },
        scales: { y: { range: (u, lo, hi) => [0, Math.max(1, hi * 1.05)] } },
        axes: [axis(), { ...axis(), size: 55, values: (u, list) => list.map((v) => short.format(v)) }],
        series: [
          {},
          ...p.columns.map((c, i) => ({ label: c, stroke: colour(p.colours[i]), width: 2, value: (u, v) => (v == null ? "–" : number.format(v)) })),
        ],
      },
      data,
      p.box,
    );
  };
  const redraw = () => {
    if (!history) return;
    for (const p of plots) {
      if (p.plot) p.plot.destroy();
      p.plot = null;
      draw(p);
    }
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  for (const p of plots) {
    new ResizeObserver(() => {
      if (p.plot && p.box.clientWidth > 0) p.plot.setSize({ width: p.box.clientWidth, height: 180 });
    }).observe(p.box);
  }

  const refresh = async () => {
    try {
      const [html, columns] = await Promise.all([
        fetch("parts" + location.search).then((r) => (r.ok ? r.text() : Promise.reject(new Error(r.status)))),
        fetch("history.json").then((r) => (r.ok ? r.json() : Promise.reject(new Error(r.status)))),
      ]);
      if (!$("confirm").open) {
        const focused = parts.contains(document.activeElement) ? document.activeElement.id : "";
        const scrolled = [...parts.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
        parts.innerHTML = html;
        parts.querySelectorAll(".scroll").forEach((e, i) => (e.scrollLeft = scrolled[i] || 0));
        if (focused && $(focused)) $(focused).focus({ preventScroll: true });
      }
      history = columns;
      plots.forEach(draw);
      if (state.classList.contains("failed")) say("");
    } catch (e) {
      say("No answer; trying again.", true);
    }
  };

  const ask = (question, withReason) =>
    new Promise((resolve) => {
      const dialog = $("confirm");
      $("question").textContent = question;
      $("reason").value = "";
      $("reason-label").hidden = !withReason;
      dialog.returnValue = "no";
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? { reason: $("reason").value } : null), { once: true });
      dialog.showModal();
    });

  parts.addEventListener("click", async (e) => {
    const button = e.target.closest("button[data-action]");
    if (!button) return;
    const { action, count, ...rest } = button.dataset;
    if (!token()) {
      say("Enter the action token first.", true);
      $("token").focus();
      return;
    }
    const what = rest.seq ? `event ${rest.seq} to ${rest.target}` : rest.name ? `${rest.kind} ${rest.name}` : `${count} dead letters of ${rest.destination}`;
    const yes = await ask(`${button.textContent.trim()}: ${what}?`, action === "pause");
    if (!yes) return;
    const body = { ...rest };
    if (body.seq) body.seq = Number(body.seq);
    if (action === "pause" && yes.reason) body.reason = yes.reason;
    button.disabled = true;
    try {
      const r = await fetch("actions/" + action, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: "Bearer " + token() },
        body: JSON.stringify(body),
      });
      const answer = await r.json();
      if (r.status === 401) {
        sessionStorage.removeItem("outbox-token");
        showToken();
      }
      say(r.ok ? `Done: ${action} (${answer.count || 0}).` : answer.error, !r.ok);
    } catch (err) {
      say("No answer; nothing may have been done.", true);
    }
    button.disabled = false;
    const failed = state.classList.contains("failed");
    if (!failed) refresh();
  });

  refresh();
  setInterval(() => {
    if (!document.hidden) refresh();
  }, every);
})();
