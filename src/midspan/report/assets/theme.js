"use strict";
(() => {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let dark = system.matches;

  const label = () => {
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    dark = !dark;
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    label();
  });
  system.addEventListener("change", () => {
    dark = system.matches;
    document.documentElement.style.colorScheme = "";
    label();
  });
  label();
  button.hidden = false;
})();
