// What the pages do beyond links and forms. Without it every page works; it only adds.
"use strict";

(() => {
  const stale = document.querySelector(".stale");

  // Says so when the live part gets no answer, so that nobody takes old numbers for new ones.
  function answered(well) {
    if (!stale) return;
    stale.hidden = well;
    document.body.classList.toggle("is-stale", !well);
  }
  document.addEventListener("htmx:after:request", (event) => {
    const response = event.detail.ctx && event.detail.ctx.response;
    answered(Boolean(response) && response.status < 400);
  });
  document.addEventListener("htmx:error", () => answered(false));
  // A refused answer is no new content.
  document.addEventListener("htmx:before:swap", (event) => {
    const response = event.detail.ctx && event.detail.ctx.response;
    if (response && response.status >= 400) event.preventDefault();
  });

  // Times come in UTC. Here they are those of the reader's clock, as exact as they came, with UTC in the title.
  const two = (number) => String(number).padStart(2, "0");
  function localTimes() {
    const today = new Date().toDateString();
    for (const one of document.querySelectorAll("time[datetime]")) {
      const came = one.textContent;
      const at = new Date(one.dateTime);
      if (came === one.dataset.local || Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
      const isDated = /\d{4}-/.test(came) || at.toDateString() !== today;
      const seconds = /\d:\d\d:\d\d/.test(came) ? `:${two(at.getSeconds())}` : "";
      one.title = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      one.textContent = `${isDated ? day : ""}${two(at.getHours())}:${two(at.getMinutes())}${seconds}`;
      one.dataset.local = one.textContent;
    }
  }
  const zone = document.getElementById("zone");
  if (zone) {
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    zone.textContent = `Times are those of your clock (${name}). Point at one to see UTC.`;
  }
  localTimes();
  document.addEventListener("htmx:after:swap", localTimes);

  // <input type="file" data-most="MIB"> says at once that a file is too large, which else shows when it has all been sent.
  document.addEventListener("change", (event) => {
    const field = event.target.closest("[data-most]");
    if (!field) return;
    const most = Number(field.dataset.most);
    const isTooLarge = field.files.length > 0 && field.files[0].size > most * 2 ** 20;
    field.setCustomValidity(isTooLarge ? `The file has more than ${most} MiB. Send larger lists with onboard run.` : "");
    field.reportValidity();
  });

  // <button data-copy="ID"> copies the text of the element with this id.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button || !navigator.clipboard) return;
    const from = document.getElementById(button.dataset.copy);
    if (!from) return;
    await navigator.clipboard.writeText(from.textContent.trim());
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1500);
  });
  for (const one of document.querySelectorAll("[data-copy][hidden]")) one.hidden = !navigator.clipboard;
})();
