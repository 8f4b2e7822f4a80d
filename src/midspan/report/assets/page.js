(() => {
  // A closed claim would print without its rule.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll(".claims details")) details.open = true;
  });

  const form = document.getElementById("transcript-filter");
  if (!form) return;
  const all = [...document.querySelectorAll(".transcripts details")];
  const fields = [...form.querySelectorAll("[data-field]")];
  const count = document.getElementById("transcript-count");
  const button = document.getElementById("transcript-open");
  const texts = all.map((details) => details.textContent.toLowerCase());

  const isWanted = (details, index) =>
    fields.every(({ value, dataset: { field } }) =>
      !value || (field === "text" ? texts[index].includes(value.toLowerCase()) : details.dataset[field] === value));

  const filter = () => {
    const wanted = all.map(isWanted);
    all.forEach((details, index) => { details.hidden = !wanted[index]; });
    count.textContent = `${wanted.filter(Boolean).length} of ${all.length}`;
  };

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Close all" : "Open all";
    for (const details of all) if (!details.hidden) details.open = open;
  });
  form.hidden = false;
  filter();
})();
