"use strict";
(() => {
  // The slider is of no use without this script, so it is hidden until here.
  const slider = document.getElementById("opacity");
  const value = document.getElementById("opacity-value");
  const show = () => {
    document.documentElement.style.setProperty("--heat", slider.value / 100);
    value.textContent = slider.value + " %";
  };
  slider.addEventListener("input", show);
  slider.closest(".opacity").hidden = false;
  show();

  // Paper cannot be unfolded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
})();
