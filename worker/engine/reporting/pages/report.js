"use strict";
(() => {
  const form = document.getElementById("filter");
  const state = document.getElementById("filter-state");
  const text = document.getElementById("filter-text");
  const count = document.getElementById("filter-count");
  const rows = Array.from(document.getElementById("lines").rows);
  // Read once: reading the text of thousands of cells at every key press is slow.
  const words = rows.map((row) => row.textContent.toLowerCase());
  let waiting = 0;

  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = (!state.value || row.dataset.state === state.value) && (!wanted || words[index].includes(wanted));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  state.addEventListener("change", apply);
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 100);
  });
  document.querySelectorAll("a.tile-link").forEach((link) => {
    link.addEventListener("click", () => {
      state.value = link.dataset.state;
      text.value = "";
      apply();
    });
  });
  apply();
})();
