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

  // Times are UTC; the reader's own time is in the title.
  function localTimes() {
    for (const one of document.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(one.dateTime);
      if (!Number.isNaN(at.getTime())) one.title = `${at.toLocaleString()} (your time)`;
    }
  }
  localTimes();
  document.addEventListener("htmx:after:swap", localTimes);

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
