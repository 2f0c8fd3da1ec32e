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

  // The token is exchanged for a session, which stays in this tab. Without one the buttons are disabled.
  const session = () => sessionStorage.getItem("outbox-session") || "";
  const unlock = $("unlock");
  const arm = () => parts.querySelectorAll("button[data-action]").forEach((b) => (b.disabled = !session()));
  const remember = (text) => {
    if (text) sessionStorage.setItem("outbox-session", text);
    else sessionStorage.removeItem("outbox-session");
    unlock.querySelector("button").textContent = session() ? "Lock" : "Unlock";
    $("token").disabled = session() !== "";
    arm();
  };

  // A header takes bytes: a character for each of its UTF-8.
  const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

  // post returns the answer, or null after it said what failed.
  const post = async (action, body, secret) => {
    try {
      const r = await fetch("actions/" + action, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: "Bearer " + bytes(secret) },
        body: JSON.stringify(body),
      });
      const answer = await r.json();
      if (r.status === 401) remember("");
      if (r.ok) return answer;
      say(answer.error, true);
    } catch (err) {
      say("No answer; it may not have been done.", true);
    }
    return null;
  };

  if (unlock) {
    remember(session());
    unlock.addEventListener("submit", async (e) => {
      e.preventDefault();
      const text = $("token").value.trim();
      $("token").value = "";
      if (session()) {
        remember("");
        say("Locked.");
        return;
      }
      const answer = text && (await post("unlock", {}, text));
      if (answer) {
        remember(answer.session);
        say("Unlocked.");
      }
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

  // Where the focus is stays, also when what had it is gone: then on what took its place.
  const reach = "button, a, [tabindex]";
  const focused = () => {
    const e = document.activeElement;
    const section = parts.contains(e) && e.closest("section");
    if (!section) return null;
    return { id: e.id, label: section.getAttribute("aria-labelledby"), index: [...section.querySelectorAll(reach)].indexOf(e) };
  };
  const focus = (was) => {
    if (!was) return;
    const section = parts.querySelector(`section[aria-labelledby="${was.label}"]`);
    const all = section ? [...section.querySelectorAll(reach)] : [];
    const e = (was.id && $(was.id)) || all[Math.min(was.index, all.length - 1)];
    if (e) e.focus({ preventScroll: true });
  };

  // Nothing is replaced under a finger, while somebody is asked, or while text is selected, to copy it.
  let pressed = false;
  addEventListener("pointerdown", () => (pressed = true));
  for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, () => (pressed = false));
  const inUse = () => {
    const s = getSelection();
    return $("confirm").open || pressed || (!s.isCollapsed && parts.contains(s.anchorNode));
  };

  const refresh = async () => {
    try {
      const [html, columns] = await Promise.all([
        fetch("parts" + location.search).then((r) => (r.ok ? r.text() : Promise.reject(new Error(r.status)))),
        fetch("history.json").then((r) => (r.ok ? r.json() : Promise.reject(new Error(r.status)))),
      ]);
      if (!inUse()) {
        const was = focused();
        const scrolled = [...parts.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
        parts.innerHTML = html;
        parts.querySelectorAll(".scroll").forEach((e, i) => (e.scrollLeft = scrolled[i] || 0));
        arm();
        focus(was);
      }
      history = columns;
      plots.forEach(draw);
      if (state.classList.contains("failed")) say("");
    } catch (e) {
      say("No answer; trying again.", true);
    }
  };

  // The event that says that the dialog was closed may come after the next question was asked, which it must not answer.
  let answer = () => {};
  $("confirm").addEventListener("close", () => {
    const dialog = $("confirm");
    if (!dialog.open) answer(dialog.returnValue === "yes" ? { reason: $("reason").value } : null);
  });

  const ask = (question, withReason) => {
    answer(null);
    return new Promise((resolve) => {
      answer = resolve;
      const dialog = $("confirm");
      $("question").textContent = question;
      $("reason").value = "";
      $("reason-label").hidden = !withReason;
      dialog.returnValue = "no";
      dialog.showModal();
      if (withReason) $("reason").focus();
    });
  };

  $("cancel").addEventListener("click", () => $("confirm").close("no"));

  let busy = false;
  parts.addEventListener("click", async (e) => {
    const button = e.target.closest("button[data-action]");
    if (!button || busy) return;
    const { action, count, ...body } = button.dataset;
    const what = body.seq ? `event ${body.seq} to ${body.target}` : body.name ? `${body.kind} ${body.name}` : `${count} dead letters of ${body.destination}`;
    const yes = await ask(`${button.textContent.trim()}: ${what}?`, action === "pause");
    if (!yes) return;
    if (body.seq) body.seq = Number(body.seq);
    if (action === "pause" && yes.reason) body.reason = yes.reason;
    busy = true;
    const done = await post(action, body, session());
    busy = false;
    if (!done) return;
    say(`Done: ${action} (${done.count || 0}).`);
    refresh();
  });

  refresh();
  setInterval(() => {
    if (!document.hidden) refresh();
  }, every);
})();
